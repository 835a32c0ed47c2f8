"""Roles with a model of two weights, whole federations of them in this process, and what is said there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import flame
from flame.channel.channel import Channel
from flame.mode.horizontal.top_aggregator import TopAggregator
from flame.mode.horizontal.trainer import Trainer
from flame.wire.message import Update

Array = np.ndarray


class Made:
    """What a program makes of any role: no call of the parent's constructor."""

    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset, self.dataset_size = config, None, None, 0

    def initialize(self) -> None:
        self.model = {"w": np.array([0.5, -1.0])}

    def evaluate(self) -> None: ...


class Site(Made):
    """Adds to the model what its data say: a number of samples, and a step that gets longer."""

    def load_data(self) -> None:
        self.dataset_size, self.step = self.data  # type: ignore[attr-defined]

    def train(self) -> None:
        self.model["w"] += np.array([self.step, self.step * self._round])  # type: ignore


class Server(Made, TopAggregator):
    def load_data(self) -> None: ...

    def train(self) -> None: ...


class Client(Site, Trainer): ...


class Said(NamedTuple):
    """An update that somebody has taken."""

    by: str
    of: str
    round: int
    samples: int
    weights: Array | None


def tapped(monkeypatch: pytest.MonkeyPatch) -> list[Said]:
    """Every update that is taken from a channel from now on, as it was sent."""
    updates: list[Said] = []
    take = Channel.take

    def taking(channel: Channel, end: str, *more: Any) -> Any:
        message = take(channel, end, *more)
        if isinstance(message, Update):
            weights = None if message.weights is None else message.weights.arrays()["w"].copy()
            updates.append(Said(channel.get_backend_id(), end, message.round, message.samples, weights))
        return message

    monkeypatch.setattr(Channel, "take", taking)
    return updates


def run(out: Path, trainer: type, aggregator: type | None, data: Any, rounds: int = 3, **more: Any) -> Any:
    given = {"roles": {"aggregator": aggregator}} if aggregator is not None else {}
    return flame.run(**{"trainer": trainer, **given, "data": data, "rounds": rounds, "hosts": 0, "out": out, **more})
