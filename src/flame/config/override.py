"""Settings from a command line: `hyperparameters.rounds=5` changes what the files say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flame.config.records import JSON_NAMES
from flame.errors import ConfigError, nearest

_CHOICE = ("sort", "kwargs")

#: What may be set in modelSpec.json, and the keys of each; None where the setting has no keys of its own.
_MODEL: dict[str, tuple[str, ...] | None] = {
    "hyperparameters": tuple(JSON_NAMES.values()),
    "selector": _CHOICE,
    "optimizer": _CHOICE,
    "gate": _CHOICE,
    "privacy": _CHOICE,
    "datasampler": _CHOICE,
    "registry": ("sort", "uri"),
    "baseModel": ("name", "version"),
    "dependencies": None,
}
#: The settings of a modelSpec.json.
MODEL_KEYS = (*_MODEL, "experiments")

#: The other name of each hyperparameter that has two: of `batchSize` it is `batch_size`, and the other way round.
_SPELLINGS = {one: other for pair in JSON_NAMES.items() for one, other in (pair, pair[::-1])}
_HYPERPARAMETERS = tuple(f"hyperparameters.{name}" for name in JSON_NAMES.values())

_JOB = ("name", "backend", "maxRunTime", "priority", "seed")


def override(job: dict[str, Any], model: dict[str, Any], changes: Mapping[str, str]) -> None:
    """Change the contents of job.json and modelSpec.json in place.

    A value is JSON if it can be read as such, otherwise text.

    Raises:
        ConfigError: a path that leads to no setting; it names the nearest one, and lists those that there are.
    """
    for path, text in changes.items():
        first, *rest = path.split(".")
        if first in _JOB and not rest:
            job[first] = _value(text)
        elif first in _MODEL:
            _set(model, path, [first, *rest], _value(text))
        else:
            raise _unknown(path, (*_JOB, *_MODEL), first, (*_JOB, *_MODEL, *_HYPERPARAMETERS))


def experiments(model: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of each experiment: those of modelSpec.json, with what `experiments` changes for its group.

    Raises:
        ConfigError: the table is none, or a path in it leads to no setting.
    """
    common = {key: value for key, value in model.items() if key != "experiments"}
    table = model.get("experiments", {})
    if not isinstance(table, Mapping) or not all(isinstance(changes, Mapping) for changes in table.values()):
        fix = 'write {"group": {"optimizer.sort": "fedadam"}, …}'
        raise ConfigError("modelSpec.json: experiments", "is no table of settings by group", fix)
    made = {}
    for group, changes in table.items():
        made[group] = json.loads(json.dumps(common))
        for path, value in changes.items():
            first, *rest = path.split(".")
            if first not in _MODEL:
                raise _unknown(path, tuple(_MODEL), first, (*_MODEL, *_HYPERPARAMETERS), f"experiments.{group}: ")
            _set(made[group], path, [first, *rest], value)
    return made


def _set(model: dict[str, Any], path: str, steps: list[str], value: Any) -> None:
    first, *rest = steps
    keys = _MODEL[first]
    if rest and keys is None:
        raise _unknown(path, (first,))
    there = model.get(first)
    content: dict[str, Any] = dict(there) if isinstance(there, Mapping) else {}
    known = _keys(keys or (), content)
    if rest and rest[0] not in (*known, *(_SPELLINGS if first == "hyperparameters" else ())):
        raise _unknown(path, [f"{first}.{key}" for key in known], rest[0], known)
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


def misspelt(model: Mapping[str, Any], source: str) -> list[str]:
    """Notes on keys of a modelSpec.json that nobody reads, and that are nearly the name of one that is not there.

    They are no errors: a program may read hyperparameters of its own, and other readers of the file other keys.
    """
    hyper = model.get("hyperparameters", {})
    places = [(model, MODEL_KEYS, ""), (hyper, tuple(_SPELLINGS), "hyperparameters.")]
    notes = []
    for content, known, path in places:
        for key in (content if isinstance(content, Mapping) else {}).keys() - {*known}:
            close = nearest(str(key), known, cutoff=0.85)
            if close and not {close, _SPELLINGS.get(close)} & content.keys():
                notes.append(f"{source}: {path}{key} is read by nobody but your programs; did you mean {path}{close}?")
    return sorted(notes)


def _keys(keys: Sequence[str], content: Mapping[str, Any]) -> list[str]:
    """Each key once, as the file spells it if it is there, and what else the file holds."""
    spelled = [_SPELLINGS[key] if _SPELLINGS.get(key) in content else key for key in keys]
    return list(dict.fromkeys([*spelled, *(key for key in content if _SPELLINGS.get(key) not in spelled)]))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _unknown(
    path: str, known: Sequence[str], step: str = "", names: Sequence[str] = (), source: str = "--set "
) -> ConfigError:
    """No such setting; `step` is the part of the path that nobody knows, `names` what it may have meant."""
    close = nearest(step, [name.rpartition(".")[2] for name in names])
    meant = next((name for name in names if name.rpartition(".")[2] == close), "")
    fix = f"there are: {', '.join(known)}"
    return ConfigError(f"{source}{path}", "no such setting", f"did you mean {meant}? {fix}" if meant else fix)
