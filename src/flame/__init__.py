"""Federated learning described as a graph of roles and channels.

The names below are loaded when they are first used, so that `import flame` is quick and imports no framework.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_DOOR = {
    "Composer": "flame.mode.composer",
    "Config": "flame.config",
    "Dataset": "flame.dataset",
    "FlameError": "flame.errors",
    "Loop": "flame.mode.tasklet",
    "MiddleAggregator": "flame.mode.aggregating",
    "Result": "flame.lab.result",
    "Role": "flame.mode.role",
    "Tasklet": "flame.mode.tasklet",
    "TopAggregator": "flame.mode.aggregating",
    "Trainer": "flame.mode.training",
    "WorkerFailed": "flame.errors",
    "receives": "flame.mode.function",
    "run": "flame.lab.run",
    "sends": "flame.mode.function",
}

__all__ = [*sorted(_DOOR), "tag"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name == "tag":
        return import_module("flame.tag")
    if name not in _DOOR:
        raise AttributeError(f"module 'flame' has no attribute {name!r}")
    return getattr(import_module(_DOOR[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
