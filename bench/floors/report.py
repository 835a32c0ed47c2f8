"""What a floor tells the bench: one JSON line at its end."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence


def say(marks: Sequence[float], **more: float) -> None:
    """Print the floor's result.

    Args:
        marks: wall-clock times (`time.time()`): the start of the first round and the end of every round.
        more: anything else that was measured, by name.
    """
    rounds = [after - before for before, after in itertools.pairwise(marks)]
    print(json.dumps({"first_round_at": marks[0], "rounds_s": rounds, "said_at": time.time(), **more}))
