"""How long something takes, among the metrics of a role."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any


def time_tasklet(func: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method of a role: its last call is `<name>.runtime`, in seconds, and `<name>.starttime`.

    The start is in seconds since the epoch. Tasklets of a role that has a registry are timed by themselves.
    """

    @wraps(func)
    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        start, began = time.time(), time.perf_counter()
        try:
            return func(self, *args, **kwargs)
        finally:
            self.mc.time(func.__name__, start, time.perf_counter() - began)

    return timed
