"""Rounds that do not wait for the slowest: who counts follows from the times, and nothing is waited for in vain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_async import Buffered, BufferedRegion, Site, Waiting, WaitingRegion, flat, gradient_step, settings, site, star
from test_simulated_time import HEAVY, SITES, durations, run, times

import flame
from flame.engine.gate import First, Within
from flame.errors import ConfigError, RecipeError, TooFewAnswers, WorkerFailed


def raced(out: Path, gate: dict[str, Any], *, time: Any = HEAVY, hosts: int = 0, rounds: int = 5, **more: Any) -> Any:
    chosen = {
        "optimizer": {"sort": "fedavg"},
        "gate": gate,
        "hyperparameters": {"rounds": rounds} | ({} if time is None else {"simulatedTime": time}),
    }
    return run(out, time, hosts=hosts, settings={**chosen, **more.pop("settings", {})}, **more)


def by_hand(out: Path, rounds: int, k: int, within: float = np.inf) -> tuple[list[float], np.ndarray]:
    """The times at which rounds close, and the model: of the idle all are asked, of the asked the first k count."""
    now, w, busy, closed = 0.0, np.zeros(6), dict[int, float](), []
    for number in range(1, rounds + 1):
        busy = {worker: at for worker, at in busy.items() if at > now}
        if len(busy) == SITES:
            now = min(busy.values())
            busy = {worker: at for worker, at in busy.items() if at > now}
        taken = durations(out, HEAVY, now, number)
        due = {worker: now + taken[worker] for worker in range(SITES) if worker not in busy}
        first = sorted(due, key=lambda worker: (due[worker], worker))
        counted = [worker for worker in first if due[worker] <= now + within][:k] or first[:1]
        step = {worker: gradient_step(w, site(worker)) for worker in counted}
        weigh = {worker: len(site(worker)[1]) for worker in counted}
        w = w + sum(weigh[worker] * step[worker] for worker in counted) / sum(weigh.values())
        met = len(counted) == min(k, len(due))
        now = max(due[worker] for worker in counted) if met else max(now + within, max(due[c] for c in counted))
        busy |= {worker: at for worker, at in due.items() if worker not in counted and at > now}
        closed.append(now)
    return closed, w


@pytest.mark.parametrize("k", [1, 2, 4, SITES, SITES + 3])
def test_the_first_count(tmp_path: Path, k: int) -> None:
    result = raced(tmp_path, {"sort": "first", "kwargs": {"k": k}}, rounds=8)
    closed, w = by_hand(tmp_path, 8, k)
    np.testing.assert_allclose(times(result), closed, rtol=1e-12)
    np.testing.assert_allclose(flat(result), w, rtol=1e-12)


@pytest.mark.parametrize("seconds", [2.5, 5.0, 1000.0])
def test_those_within_a_time_count(tmp_path: Path, seconds: float) -> None:
    result = raced(tmp_path, {"sort": "within", "kwargs": {"seconds": seconds}}, rounds=8)
    closed, w = by_hand(tmp_path, 8, SITES, seconds)
    np.testing.assert_allclose(times(result), closed, rtol=1e-12)
    np.testing.assert_allclose(flat(result), w, rtol=1e-12)


def test_the_first_of_all_is_everyone(tmp_path: Path) -> None:
    """A gate that lets nobody be late is the one that waits for everyone, but for the order of summing."""
    race = raced(tmp_path / "a", {"sort": "first", "kwargs": {"k": SITES}})
    wait = raced(tmp_path / "b", {"sort": "everyone"})
    np.testing.assert_allclose(flat(race), flat(wait), rtol=1e-12)
    assert times(race) == times(wait)


@pytest.mark.parametrize("time", [HEAVY, None], ids=["simulated", "equally-long"])
@pytest.mark.parametrize("sort", ["default", "random"])
def test_any_number_of_hosts_gives_the_same_bits(tmp_path: Path, time: Any, sort: str) -> None:
    gate = {"sort": "first", "kwargs": {"k": 2}}
    more = {"settings": {"selector": {"sort": sort, "kwargs": {"k": 4} if sort == "random" else {}}}}
    results = [raced(tmp_path / str(hosts), gate, time=time, hosts=hosts, **more) for hosts in (0, 1, 2, 4)]
    assert all(flat(result).tobytes() == flat(results[0]).tobytes() for result in results)
    assert all(times(result) == times(results[0]) for result in results)
    assert all(row.folded == 2 for row in results[0].history.top_rounds)


@pytest.mark.parametrize(("top", "region"), [(Waiting, WaitingRegion), (Buffered, WaitingRegion)])
@pytest.mark.parametrize("hosts", [0, 2])
def test_a_region_may_race(tmp_path: Path, top: type, region: type, hosts: int) -> None:
    class Racer(region):  # type: ignore[misc,valid-type]
        @classmethod
        def _closes(cls, config: Any) -> Any:
            return First(k=2)

    data = {"eu": [site(0), site(1), site(5)], "na": [site(2), site(3), site(4)]}
    roles = {"top-aggregator": top, "middle-aggregator": Racer}
    chosen = settings(2, 1, "fedbuff" if top is Buffered else "fedavg")
    chosen["hyperparameters"]["simulatedTime"] = HEAVY
    if top is Waiting:
        chosen["selector"] = {"sort": "default"}
    result = run(tmp_path, HEAVY, data=data, tag="hierarchical", roles=roles, settings=chosen, hosts=hosts)
    assert times(result) == sorted(times(result)) and np.isfinite(flat(result)).all()


def test_too_few_in_time_are_waited_for(tmp_path: Path) -> None:
    gate = {"sort": "within", "kwargs": {"seconds": 1e-3, "atLeast": 3}}
    result = raced(tmp_path, gate)
    assert [row.folded for row in result.history.top_rounds] == [3] * 5


def test_fewer_than_there_have_to_be_are_an_error(tmp_path: Path) -> None:
    class Empty(Site):
        def train(self) -> None:
            self.dataset_size = 0

    gate = {"sort": "within", "kwargs": {"seconds": 1e6, "atLeast": 1}}
    chosen = {"gate": gate, "hyperparameters": {"rounds": 1, "simulatedTime": HEAVY}}
    with pytest.raises(WorkerFailed, match=TooFewAnswers.__name__):
        flame.run(trainer=Empty, aggregator=Waiting, data=[site(0)], settings=chosen, hosts=0, out=tmp_path)


def test_time_is_needed_where_nobody_is_late(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"needs hyperparameters\.simulatedTime"):
        raced(tmp_path, {"sort": "within", "kwargs": {"seconds": 5}}, time=None)


@pytest.mark.parametrize("gate", [{"sort": "first", "kwargs": {"k": 2}}, {"sort": "within", "kwargs": {"seconds": 2}}])
def test_an_asynchronous_aggregator_does_not_race(tmp_path: Path, gate: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="its gate is goal"):
        star(tmp_path, settings={**settings(2, 2), "gate": gate})
    assert BufferedRegion is not Buffered


@pytest.mark.parametrize("kwargs", [{}, {"k": 0}, {"k": "2"}, {"k": True}, {"n": 2}])
def test_wrong_settings_of_first(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"gate\.kwargs"):
        First(**kwargs)


@pytest.mark.parametrize(
    "kwargs", [{}, {"seconds": 0}, {"seconds": "2"}, {"seconds": 1, "atLeast": -1}, {"seconds": 1, "k": 1}]
)
def test_wrong_settings_of_within(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"gate\.kwargs"):
        Within(**kwargs)
