"""What an optimizer's halves say to each other arrives, whoever is in between and wherever they run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.errors import RunError, WorkerFailed
from flame.extend import BUILT_IN
from flame.optimizer.halves import BySamples, Plain, Silent
from flame.weights.layout import Weights

ROUNDS = 3
STEPS = (1.0, 2.0, 4.0, 8.0, 16.0)


class Listener(Plain):
    """Counts who has spoken, and keeps the mean of what they say; tells both."""

    repeatable = False

    def __init__(self) -> None:
        self.count, self.ends, self.mean, self.layout = 0, 0, None, None

    def open(self, layout: Any) -> None:
        self.layout = layout
        self.mean = [np.zeros(segment.size) for segment in layout.segments]

    def tell(self, sent: Weights, averaged: Any) -> Mapping[str, Any]:
        if self.layout is None:
            return {}
        arrays = dict(zip(sent.arrays(), self.mean, strict=True))
        mean = Weights.pack({name: a.astype(np.float32) for name, a in arrays.items()}, layout=self.layout)
        said = {"count": self.count, "mean": mean}
        self.count = 0
        return said

    def hear(self, end: str, samples: int, said: Mapping[str, Any]) -> None:
        assert "mean" not in said and samples > 0
        self.count += said["count"]

    def gathered(self, ends: Any) -> None:
        self.ends = len(ends)

    def beside(self, name: str, segment: int, where: slice, mean: Any) -> None:
        assert name == "mean"
        self.mean[segment][where] = mean

    def relay(self) -> Mapping[str, Any]:
        count, self.count = self.count, 0
        return {"count": count}


class Speaker(Silent):
    """Says that it is one, and twice its update; keeps what it is told."""

    def __init__(self) -> None:
        self.told: Mapping[str, Any] = {}

    def begin(self, said: Mapping[str, Any], sent: Weights, adapter: Any) -> Weights:
        self.told = said
        return sent

    def finish(self, delta: Weights, trained: Any, adapter: Any) -> Mapping[str, Any]:
        double = {name: 2 * array for name, array in delta.arrays().items()}
        return {"count": 1, "mean": Weights.pack(double, layout=delta.layout)}


class Chatty:
    """Everybody counts the same."""

    name = "chatty"

    def __init__(self) -> None:
        self.step, self.regularizer = Listener(), Speaker()

    def weigh(self, samples: int, staleness: int, said: Mapping[str, Any]) -> tuple[float, float]:
        assert isinstance(said["mean"], Weights)
        return float(said["count"]), float(said["count"])


class Rude(Chatty):
    """Says what cannot be looked through by name."""

    name = "chatty"

    def __init__(self) -> None:
        super().__init__()
        self.regularizer.finish = lambda *_: ["nothing"]


class Gossip(Plain):
    """Keeps what it hears, as it hears it, and passes it on."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def hear(self, end: str, samples: int, said: Mapping[str, Any]) -> None:
        self.heard.append(said)

    def relay(self) -> Mapping[str, Any]:
        heard, self.heard = self.heard, []
        return {"heard": heard}


class Attentive(BySamples):
    """Its trainers say nothing."""

    name = "attentive"

    def __init__(self) -> None:
        self.step, self.regularizer = Gossip(), Silent()


class Site(flame.Trainer):
    """Moves by a step of its own, and measures what it was told."""

    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset_size = config, None, 1

    def initialize(self) -> None:
        self.dataset_size = int(self.data)
        self.model = {"w": np.zeros(SIZE[0], np.float32)}

    def train(self) -> None:
        told = self.regularizer.told
        if told:
            mean = told["mean"].arrays()["w"]
            assert (mean == mean[0]).all()
            self.update_metrics({"count": told["count"], "mean": mean[0]})
        self.model["w"] += np.float32(self.data)


class Top(flame.TopAggregator):
    """Leads."""

    def __init__(self, config: Any) -> None:
        self.config, self.model, self.dataset = config, None, None

    def initialize(self) -> None:
        self.model = {"w": np.zeros(SIZE[0], np.float32)}


SIZE = [5]
"""How many elements the model has."""


@pytest.fixture(params=[5, 40_000], ids=["small", "large"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN, ("optimizer", "chatty"), "test_extras:Chatty")
    monkeypatch.setitem(globals(), "SIZE", [request.param])


def told(out: Path, *, tree: bool, hosts: int) -> list[tuple[float, float]]:
    shape: dict[str, Any] = {"data": STEPS, "aggregator": Top}
    if tree:
        shape = {
            "tag": "hierarchical",
            "roles": {"top-aggregator": Top},
            "data": {"eu": STEPS[:2], "na": STEPS[2:]},
        }
    settings = {"optimizer": {"sort": "chatty"}}
    result = flame.run(trainer=Site, rounds=ROUNDS, settings=settings, hosts=hosts, out=out, **shape)
    mean = sum(STEPS) / len(STEPS)
    np.testing.assert_allclose(result.weights().arrays()["w"], ROUNDS * mean, rtol=1e-6)
    return sorted((r.round, r.worker, r.values["count"], r.values["mean"]) for r in result.metrics)


@pytest.mark.parametrize("tree", [False, True], ids=["star", "tree"])
@pytest.mark.parametrize("hosts", [0, 1, 2, 4])
@pytest.mark.usefixtures("size")
def test_everybody_is_told_what_all_have_said(tmp_path: Path, tree: bool, hosts: int) -> None:
    said = told(tmp_path, tree=tree, hosts=hosts)
    assert [number for number, *_ in said] == [2] * len(STEPS) + [3] * len(STEPS)
    assert {count for _, _, count, _ in said} == {len(STEPS)}
    for *_, mean in said:
        assert mean == pytest.approx(2 * sum(STEPS) / len(STEPS), rel=1e-6)


def test_what_is_not_values_by_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN, ("optimizer", "chatty"), "test_extras:Rude")
    with pytest.raises(WorkerFailed, match=r"said a list in extras\['chatty'\]"):
        told(tmp_path, tree=False, hosts=0)
    assert issubclass(WorkerFailed, RunError)


def test_what_was_heard_of_those_who_say_nothing_may_be_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUILT_IN, ("optimizer", "attentive"), "test_extras:Attentive")
    monkeypatch.setattr(Gossip, "gathered", lambda self, ends: rounds.append(list(self.heard)))
    rounds: list[list[Any]] = []
    job = {"tag": "hierarchical", "data": {"eu": [1.0, 2.0], "na": [5.0]}, "rounds": 1, "hosts": 0}
    chosen = {"optimizer.sort": "attentive"}

    def train(model: dict[str, Any], by: float) -> None:
        model["w"] += by

    flame.run(model=lambda: {"w": np.zeros(2)}, train=train, out=tmp_path, set=chosen, **job)
    assert rounds == [[{}, {}], [{}], [{"heard": [{}, {}]}, {"heard": [{}]}]]
