"""What programs add of their own: selectors and registries by provider, analyzers by a file of the machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame import extend
from flame.common.constants import PROP_ROUND_END_TIME
from flame.datasampler import AbstractDataSampler
from flame.datasamplers import datasampler_provider
from flame.errors import ConfigError
from flame.plugin import PluginManager, PluginType
from flame.privacies import privacy_provider
from flame.privacy.default import DefaultPrivacy
from flame.registry.abstract import AbstractRegistryClient
from flame.selector import AbstractSelector

ASKED: list[tuple[int, list[str]]] = []
KEPT: list[tuple[int, dict[str, Any]]] = []
DATED: list[Any] = []


class Lowest(AbstractSelector):
    """Asks the k ends of the lowest ids that were asked least."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = kwargs["k"]

    def select(self, ends: dict[str, Any], channel_props: dict[str, Any]) -> dict[str, Any]:
        order = sorted(ends, key=lambda end: (ends[end].get_property("times") or 0, end))[: self.k]
        ASKED.append((channel_props.get("round", 0), order))
        DATED.extend(end.get_property(PROP_ROUND_END_TIME) for end in ends.values())
        return {end: ("times", (ends[end].get_property("times") or 0) + 1) for end in order}


class Remembering(AbstractRegistryClient):
    """Keeps the metrics in a list."""

    def __call__(self, config: Any) -> None: ...

    def setup_run(self) -> None: ...

    def save_metrics(self, epoch: int, metrics: Any) -> None:
        KEPT.append((epoch, dict(metrics)))

    def save_params(self, hyperparameters: Any) -> None: ...

    def save_model(self, name: str, model: Any) -> None: ...

    def load_model(self, name: str, version: int) -> None: ...


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extend, "_registered", {})
    ASKED.clear()
    KEPT.clear()
    DATED.clear()


def model() -> dict[str, np.ndarray]:
    return {"w": np.zeros(2)}


def train(net: dict[str, np.ndarray], data: Any) -> dict[str, float]:
    net["w"] += data
    return {"loss": float(data)}


def run(out: Path, **changes: Any) -> Any:
    return flame.run(model=model, train=train, data=[1.0, 2.0, 3.0, 4.0], hosts=0, rounds=4, out=out, set=changes)


def test_a_programs_own_selector_says_who_is_asked(tmp_path: Path) -> None:
    from flame.selectors import selector_provider

    selector_provider.register("lowest", Lowest)
    run(tmp_path, **{"selector.sort": "lowest", "selector.kwargs.k": 2})
    leader = [(round_, order) for round_, order in ASKED if len(order) == 2]
    turns = [set(order) for _, order in leader]
    assert len(turns) == 4
    assert {round_ for round_, _ in filter(None, DATED)} == {1, 2, 3}
    assert turns[0] != turns[1] and turns[0] | turns[1] == turns[2] | turns[3] and len(turns[0] | turns[1]) == 4


def test_a_programs_own_registry_is_given_the_metrics(tmp_path: Path) -> None:
    from flame.registries import registry_provider

    registry_provider.register("remembering", Remembering)
    run(tmp_path, **{"registry.sort": "remembering"})
    third = [(epoch, kept) for epoch, kept in KEPT if kept.get("loss") == 3.0]
    assert [epoch for epoch, _ in third] == [0, 1, 2, 3]
    for _, kept in third:
        assert kept["recv.bytes"] >= 16 and abs(kept["train.starttime"] - time.time()) < 60
        assert 0 <= kept["train.runtime"] < 60
    assert all(kept["send.bytes"] == 16 for _, kept in third[:3])


class Halving(DefaultPrivacy):
    """Sends half of every update; takes what it sees apart."""

    def __init__(self, by: float) -> None:
        self.by, self.seen = by, 0

    def apply_dp_fn(self, delta_weights: Any) -> Any:
        self.seen += 1
        return {name: array * self.by for name, array in delta_weights.items()}


class Odd(AbstractDataSampler):
    """Trains on the items that the aggregator's half lets it: those from its round on."""

    class Trains(AbstractDataSampler.AbstractTrainerDataSampler):
        first = 0

        def load_dataset(self, dataset: Any) -> Any:
            return list(dataset)

        def sample(self, dataset: Any, **kwargs: Any) -> Any:
            return dataset[self.first :]

        def get_metadata(self) -> dict[str, Any]:
            return {"left": self.first}

        def handle_metadata_from_aggregator(self, metadata: Any) -> None:
            self.first = metadata["first"]

    class Leads(AbstractDataSampler.AbstractAggregatorDataSampler):
        def get_metadata(self, round: int, ends: Any) -> dict[str, Any]:
            return {"first": round - 1}

        def handle_metadata_from_trainer(self, metadata: Any, end: str, channel: Any) -> None:
            (began, start), (ended, stop) = (
                channel.get_end_property(end, f"round_{at}_time") for at in ("start", "end")
            )
            assert began == ended == metadata["left"] + 1 and 0 <= (stop - start).total_seconds() < 60
            ASKED.append((metadata["left"], [end]))

    def __init__(self, **kwargs: Any) -> None:
        assert kwargs["epochs"] == 1 and kwargs["own"] == 7  # hyperparameters are among them
        self.trainer_data_sampler, self.aggregator_data_sampler = Odd.Trains(), Odd.Leads()


def test_a_programs_own_filter_of_updates_and_its_own_sampler(tmp_path: Path) -> None:
    privacy_provider.register("halving", Halving)
    datasampler_provider.register("odd", Odd)
    halved = run(tmp_path / "halved", **{"privacy.sort": "halving", "privacy.kwargs.by": 0.5})
    assert halved.weights().arrays()["w"].tolist() == [5.0, 5.0]  # half of four rounds of 2.5

    class Site(flame.Trainer):
        def load_data(self) -> None:
            self.items = self.datasampler.load_dataset(self.data)
            self.dataset_size = len(self.items)

        def initialize(self) -> None:
            self.model = model()

        def train(self) -> None:
            self.model["w"] += sum(self.datasampler.sample(self.items))

    class Top(flame.TopAggregator):
        def initialize(self) -> None:
            self.model = model()

    chosen = {"datasampler.sort": "odd", "datasampler.kwargs.own": 7}
    sampled = flame.run(
        trainer=Site, aggregator=Top, data=[(1.0, 2.0, 4.0)], hosts=0, rounds=3, out=tmp_path / "odd", set=chosen
    )
    assert sampled.weights().arrays()["w"].tolist() == [7.0 + 6.0 + 4.0] * 2
    assert [left for left, _ in ASKED] == [0, 1, 2]


@pytest.mark.parametrize(
    ("kind", "own", "kwargs", "said"),
    [
        ("selector", Lowest, {}, r"selector\.kwargs: own does not take them: 'k'"),
        ("privacy", Halving, {"to": 1}, r"privacy\.kwargs: own does not take them: .*unexpected keyword argument 'to'"),
    ],
)
def test_settings_that_it_does_not_take(tmp_path: Path, kind: str, own: type, kwargs: Any, said: str) -> None:
    extend.register(kind, "own", own)
    with pytest.raises(ConfigError, match=said):
        run(tmp_path, **{f"{kind}.sort": "own", f"{kind}.kwargs": kwargs})


def test_what_nobody_registered_is_a_value_error() -> None:
    from flame.optimizers import optimizer_provider
    from flame.selectors import selector_provider

    assert optimizer_provider.get("fedavg").name == "fedavg"
    assert selector_provider.get("random", k=1).select(["a"], {}) == ["a"]
    with pytest.raises(ValueError, match="no optimizer named 'nosuch'"):
        optimizer_provider.get("nosuch")
    selector_provider.register("lowest", Lowest)
    assert isinstance(selector_provider.get("lowest", k=3), Lowest)


ANALYZER = """
from flame.analyzer import AbstractAnalyzer

class Norm(AbstractAnalyzer):
    def run(self, model, dataset):
        return {"norm": float((model["w"] ** 2).sum())}
"""


def test_an_analyzer_of_the_machine_looks_at_every_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "norm.yaml").write_text("class: Norm\npackage: my_analyzer\ntype: Analyzer\n")
    (tmp_path / "my_analyzer.py").write_text(ANALYZER)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert len(PluginManager(str(plugins)).get_plugins(PluginType.ANALYZER)) == 1
    monkeypatch.setattr(PluginManager.__init__, "__defaults__", (str(plugins),))
    result = run(tmp_path / "out")
    norms = [row.values["norm"] for row in result.metrics if "norm" in row.values]
    assert norms == pytest.approx([2 * 2.5**2 * round_**2 for round_ in range(1, 5)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class: A\ntype: analyzer\n", "does not say package"),
        ("class: A\npackage: os\ntype: other\n", "there is: analyzer"),
        ("class: A\npackage: os\ntype: analyzer\n", "names what is not there"),
        ("class: PathLike\npackage: os\ntype: analyzer\n", "PathLike"),
        ("[", "is no YAML"),
    ],
)
def test_a_file_that_names_no_plug_in_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises((ConfigError, TypeError), match=said):
        PluginManager(str(tmp_path))
    assert PluginManager(str(tmp_path / "none")).get_plugins(PluginType.ANALYZER) == []
