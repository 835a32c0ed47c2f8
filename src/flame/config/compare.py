"""Are the settings of two runs the same, but for the number of rounds?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from flame.config.worker import Config

_OWN = ("taskid", "name", "groupAssociation", "dataset", "seed", "checkpoint")


def comparable(config: Config) -> dict[str, Any]:
    """What a worker shares with all of its role, as plain values, less the number of rounds."""
    settings: dict[str, Any] = plain({key: value for key, value in config.to_dict().items() if key not in _OWN})
    settings["hyperparameters"].pop("rounds", None)
    settings["datasampler"]["kwargs"].pop("rounds", None)  # it is given a copy of them
    return settings


def plain(value: object) -> Any:
    """A value as it would come out of JSON."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_words))


def difference(before: Any, now: Any, path: str) -> str | None:
    """The first thing in which two trees of plain values differ, in words; None if they are equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        found = (difference(before.get(key), now.get(key), f"{path}.{key}" if path else key) for key in keys)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        found = (difference(one, other, f"{path}[{at}]") for at, (one, other) in pairs)
    else:
        return None if before == now else f"{path} was {json.dumps(before)} and is {json.dumps(now)}"
    return next((each for each in found if each is not None), None)


def _words(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)
