"""Settings from a command line: `hyperparameters.rounds=5` changes what the files say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flame.config.records import JSON_NAMES
from flame.errors import ConfigError

_CHOICE = ("sort", "kwargs")

#: What may be set in modelSpec.json, and the keys of each; None where the setting has no keys of its own.
_MODEL: dict[str, tuple[str, ...] | None] = {
    "hyperparameters": (*JSON_NAMES, *JSON_NAMES.values()),
    "selector": _CHOICE,
    "optimizer": _CHOICE,
    "privacy": _CHOICE,
    "datasampler": _CHOICE,
    "registry": ("sort", "uri"),
    "baseModel": ("name", "version"),
    "dependencies": None,
}
#: The settings of a modelSpec.json.
MODEL_KEYS = tuple(_MODEL)

_JOB = ("name", "backend", "maxRunTime", "priority", "seed")


def override(job: dict[str, Any], model: dict[str, Any], changes: Mapping[str, str]) -> None:
    """Change the contents of job.json and modelSpec.json in place.

    A value is JSON if it can be read as such, otherwise text.

    Raises:
        ConfigError: a path that leads to no setting; it lists the ones that there are.
    """
    for path, text in changes.items():
        first, *rest = path.split(".")
        if first in _JOB and not rest:
            job[first] = _value(text)
        elif first in _MODEL:
            _set(model, path, [first, *rest], _value(text))
        else:
            raise _unknown(path, (*_JOB, *_MODEL))


def _set(model: dict[str, Any], path: str, steps: list[str], value: Any) -> None:
    first, *rest = steps
    keys = _MODEL[first]
    if rest and keys is None:
        raise _unknown(path, (first,))
    there = model.get(first)
    content: dict[str, Any] = dict(there) if isinstance(there, Mapping) else {}
    known = (*(keys or ()), *(key for key in content if key not in (keys or ())))
    if rest and rest[0] not in known:
        raise _unknown(path, [f"{first}.{key}" for key in known])
    if len(rest) > 1 and rest[0] != "kwargs":
        raise _unknown(path, [f"{first}.{rest[0]}"])
    if not rest:
        model[first] = value
        return
    model[first] = content
    if first == "hyperparameters":
        # Of the two names of a number only the one that is set now may count.
        for pair in JSON_NAMES.items():
            if rest[0] in pair:
                content = model[first] = {key: item for key, item in content.items() if key not in pair}
    for step in rest[:-1]:
        below = content.get(step)
        content[step] = dict(below) if isinstance(below, Mapping) else {}
        content = content[step]
    content[rest[-1]] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _unknown(path: str, known: list[str] | tuple[str, ...]) -> ConfigError:
    return ConfigError(f"--set {path}", "no such setting", f"there are: {', '.join(known)}")
