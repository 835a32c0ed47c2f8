"""Programs in the shape of upstream's fedbalancer_mnist example: in hosts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from upstream import PROGRAMS

import flame
from flame.errors import ConfigError
from flame.tag import template

SITES, ROUNDS = 2, 9
BALANCED = {"sort": "fedbalancer", "kwargs": {"w": 2, "lss": 0.3, "dss": 0.3, "p": 1.0, "noise_factor": 0.0}}
NUMBERS = {"rounds": ROUNDS, "epochs": 2, "batchSize": 8, "minPeers": SITES}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[type, type]]:
    monkeypatch.syspath_prepend(str(PROGRAMS))
    monkeypatch.chdir(tmp_path)
    from fedbalancer_aggregator import BalancedAggregator
    from fedbalancer_trainer import BalancedTrainer

    yield BalancedTrainer, BalancedAggregator
    for name in ("fedbalancer_aggregator", "fedbalancer_trainer"):
        sys.modules.pop(name)


def run(out: Path, programs: tuple[type, type], *, time: Any, hosts: int, sampler: Any = BALANCED, **more: Any) -> Any:
    numbers = {**NUMBERS, "rounds": 12} | ({} if time is None else {"simulatedTime": time})
    settings = {"datasampler": sampler, "hyperparameters": numbers}
    chosen = {"data": range(4), "aggregator": programs[1], **more}
    return flame.run(trainer=programs[0], settings=settings, hosts=hosts, out=out, **chosen)


HEAVY = {"seconds": 1.0, "perSample": 0.5, "workers": {"sort": "pareto", "alpha": 1.0}}


@pytest.mark.parametrize("time", [None, HEAVY], ids=["equally-long", "simulated"])
def test_the_same_programs_in_hosts(tmp_path: Path, programs: tuple[type, type], time: Any) -> None:
    """Whatever the program measures by a clock, any number of hosts gives the same bits."""
    results = [run(tmp_path / str(hosts), programs, time=time, hosts=hosts) for hosts in (0, 1, 2)]
    bits = [[a.tobytes() for a in result.weights().arrays().values()] for result in results]
    assert bits[0] == bits[1] == bits[2]
    sizes = {size for curve in results[0].series("size").values() for _, size in curve}
    assert 64 in sizes and min(sizes) < 64
    assert results[0].final("test-loss") < results[0].series("test-loss")["aggregator/0"][0][1]


def test_slow_trainers_have_fewer_samples_and_rounds_are_shorter(tmp_path: Path, programs: tuple[type, type]) -> None:
    everyone = {"sort": "default"}

    class Whole(programs[0]):  # type: ignore[name-defined,misc]
        def load_data(self) -> None:
            super().load_data()
            self.dataset = self.own.load_dataset(self.dataset)
            self.datasampler = self.own

        def internal_init(self) -> None:
            from flame.datasampler.fedbalancer import FedBalancer

            super().internal_init()
            self.own = FedBalancer(epochs=2, batchSize=8).trainer_data_sampler
            self.own.get_metadata = dict

    fair = run(tmp_path / "fair", programs, time=HEAVY, hosts=0)
    whole = run(tmp_path / "whole", (Whole, programs[1]), time=HEAVY, hosts=0, sampler=everyone)
    assert fair.history.top_rounds[-1].simulated_s < whole.history.top_rounds[-1].simulated_s


def test_through_tiers(tmp_path: Path, programs: tuple[type, type]) -> None:
    """What trainers tell goes through a middle aggregator; what they are told too."""
    tag = template("hierarchical", regions=("eu", "na"))
    roles = {"top-aggregator": programs[1]}
    more = {"aggregator": None, "roles": roles, "tag": tag, "data": {"eu": range(2), "na": range(2)}}
    results = [run(tmp_path / str(hosts), programs, time=HEAVY, hosts=hosts, **more) for hosts in (0, 2)]
    bits = [[a.tobytes() for a in result.weights().arrays().values()] for result in results]
    assert bits[0] == bits[1]
    assert min(size for curve in results[0].series("size").values() for _, size in curve) < 64


def test_a_setting_that_there_is_not(tmp_path: Path, programs: tuple[type, type]) -> None:
    wrong = {"sort": "fedbalancer", "kwargs": {"window": 20}}
    with pytest.raises(ConfigError, match=r"datasampler\.kwargs\.window"):
        run(tmp_path, programs, time=None, hosts=0, sampler=wrong)


def test_it_is_resumed(tmp_path: Path, programs: tuple[type, type]) -> None:
    """What samples lost, and where the deadline was, is kept."""
    whole = run(tmp_path / "whole", programs, time=HEAVY, hosts=0)
    part = tmp_path / "part"
    run(part, programs, time=HEAVY, hosts=2, rounds=7, checkpoint=1)
    resumed = run(part, programs, time=HEAVY, hosts=0, rounds=12, resume=part)
    assert resumed.weights().data.tobytes() == whole.weights().data.tobytes()
    assert resumed.series("size") == whole.series("size")
