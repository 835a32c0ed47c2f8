"""Federations that choose whom to ask by what was answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_laws import flat, model, site, train
from test_simulated_time import HEAVY, times

import flame
from flame.engine.simulated import Work
from flame.errors import WorkerFailed
from flame.tag import template

SORTS = {"oort": {"aggr_num": 2}, "power-of-choice": {"k": 2, "d": 4}}


def run(out: Path, sort: str, *, time: Any = HEAVY, hosts: int = 0, rounds: int = 8, **more: Any) -> Any:
    settings = {
        "selector": {"sort": sort, "kwargs": SORTS[sort]},
        "hyperparameters": {"rounds": rounds} | ({} if time is None else {"simulatedTime": time}),
    }
    chosen = {"model": model, "train": train, "data": [site(number) for number in range(6)], **more}
    return flame.run(settings=settings, hosts=hosts, seed=5, out=out, **chosen)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("time", [HEAVY, None], ids=["simulated", "equally-long"])
def test_any_number_of_hosts_gives_the_same_bits(tmp_path: Path, sort: str, time: Any) -> None:
    results = [run(tmp_path / str(hosts), sort, time=time, hosts=hosts) for hosts in (0, 1, 2, 4)]
    assert all(flat(result).tobytes() == flat(results[0]).tobytes() for result in results)
    assert all(times(result) == times(results[0]) for result in results)
    assert {row.folded for row in results[0].history.top_rounds} == {2}


def test_oort_asks_more_than_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five are asked for four answers, as long as there are five that are idle."""
    monkeypatch.setitem(SORTS, "oort", {"aggr_num": 4})
    data = [site(number % 6) for number in range(12)]
    rows = run(tmp_path, "oort", data=data).history.top_rounds
    assert {(row.asked, row.folded) for row in rows} == {(5, 4)}


def test_oort_asks_for_a_slow_site_less_often(tmp_path: Path) -> None:
    """All lose the same; who is asked is a matter of time."""

    def still(net: Any, data: Any) -> dict[str, float]:
        return {"loss": 1.0}

    slow = {"seconds": 1.0, "perSample": 0.0, "workers": {"sort": "pareto", "alpha": 0.3}}
    result = run(tmp_path, "oort", time=slow, rounds=60, train=still, data=[site(0)] * 12)
    asked = {worker: len(curve) for worker, curve in result.series("loss", "trainer").items()}
    factors = {worker: Work(slow, 5, worker).factor for worker in asked}
    order = sorted(asked, key=lambda worker: factors[worker])
    assert sum(asked[worker] for worker in order[:6]) > 2 * sum(asked[worker] for worker in order[6:])


@pytest.mark.parametrize("sort", SORTS)
def test_regions_say_what_theirs_have_said(tmp_path: Path, sort: str) -> None:
    grouped = {"eu": [site(0), site(1)], "na": [site(2), site(3)], "asia": [site(4), site(5)]}
    tag = template("hierarchical", regions=("eu", "na", "asia"))
    results = [run(tmp_path / str(hosts), sort, data=grouped, tag=tag, hosts=hosts) for hosts in (0, 2)]
    assert flat(results[0]).tobytes() == flat(results[1]).tobytes() and np.abs(flat(results[0])).max() > 0


@pytest.mark.parametrize("sort", SORTS)
def test_who_measures_nothing_cannot_be_chosen_by_it(tmp_path: Path, sort: str) -> None:
    with pytest.raises(WorkerFailed, match="measured: "):
        run(tmp_path, sort, train=lambda net, data: {"accuracy": 1.0})


def test_power_of_choice_sees_to_those_who_lose_most(tmp_path: Path) -> None:
    """Sites with a law of their own are asked more often than the many that agree."""
    alike = [site(0)] * 8
    x, y = site(0)
    data = [*alike, (x, -y), (x, -y)]
    result = run(tmp_path, "power-of-choice", time=None, rounds=40, data=data)
    asked = {worker: len(curve) for worker, curve in result.series("loss", "trainer").items()}
    others = [asked.get(f"trainer/{number}", 0) for number in range(8)]
    assert min(asked["trainer/8"], asked["trainer/9"]) > max(others)
