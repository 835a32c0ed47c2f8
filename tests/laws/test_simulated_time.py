"""Simulated time: it follows from the seed and the durations alone, through any number of tiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_async import Buffered, BufferedRegion, Site, Waiting, WaitingRegion, flat, gradient_step, site

import flame
from flame.config import Config
from flame.engine.simulated import Work
from flame.errors import ConfigError
from flame.wire.message import Order

HEAVY = {"seconds": 2.0, "workers": {"sort": "pareto", "alpha": 1.1}, "rounds": {"sort": "lognormal", "sigma": 0.3}}
SITES = 6


def run(out: Path, time: Any, *, top: type = Waiting, hosts: int = 0, rounds: int = 5, **more: Any) -> Any:
    buffered = top is Buffered
    numbers = {"rounds": rounds, "aggGoal": 2} | ({} if time is None else {"simulatedTime": time})
    chosen: dict[str, Any] = {
        "data": [site(number) for number in range(SITES)],
        "settings": {
            "optimizer": {"sort": "fedbuff" if buffered else "fedavg", "kwargs": {}},
            "selector": {"sort": "fedbuff", "kwargs": {"c": SITES}} if buffered else {"sort": "default"},
            "hyperparameters": numbers,
        },
        **more,
    }
    roles = {"aggregator": top} if "roles" not in more else {}
    return flame.run(trainer=Site, hosts=hosts, seed=3, out=out, **chosen, **roles)


def times(result: Any) -> list[float]:
    return [row.simulated_s for row in result.history.top_rounds]


def durations(out: Path, time: dict[str, Any], at: float, number: int) -> list[float]:
    """What each trainer of a run would take for an order."""
    lines = [json.loads(line) for line in (out / "configs.jsonl").read_text().splitlines()]
    names = [line["name"] for line in lines if line["name"].startswith("trainer")]
    order = Order(number, extras={"simulated": at})
    return [Work(time, 3, name).done(order, 10) - at for name in names]


def test_a_round_takes_as_long_as_its_slowest_peer(tmp_path: Path) -> None:
    result = run(tmp_path, HEAVY)
    expected, now = [], 0.0
    for number in range(1, 6):
        now += max(durations(tmp_path, HEAVY, now, number))
        expected.append(now)
    np.testing.assert_allclose(times(result), expected, rtol=1e-12)
    assert [value for _, value in result.series("simulated_s")["aggregator/0"]] == times(result)
    assert "simulated" in (tmp_path / "report.html").read_text()


def test_time_changes_nothing_but_the_time_where_everyone_is_waited_for(tmp_path: Path) -> None:
    assert flat(run(tmp_path / "a", HEAVY)).tobytes() == flat(run(tmp_path / "b", None)).tobytes()


def test_without_the_setting_there_is_no_time(tmp_path: Path) -> None:
    result = run(tmp_path, None)
    assert times(result) == [None] * 5
    assert "simulated" not in (tmp_path / "timeline.json").read_text() + (tmp_path / "metrics.csv").read_text()


def test_equal_durations_are_no_durations(tmp_path: Path) -> None:
    """Whoever was asked first is heard first."""
    equal = run(tmp_path / "a", {"seconds": 3.0}, top=Buffered)
    assert flat(equal).tobytes() == flat(run(tmp_path / "b", None, top=Buffered)).tobytes()


@pytest.mark.parametrize("top", [Waiting, Buffered])
def test_any_number_of_hosts_gives_the_same_bits_and_times(tmp_path: Path, top: type) -> None:
    results = [run(tmp_path / str(hosts), HEAVY, top=top, hosts=hosts) for hosts in (0, 1, 2, 4)]
    assert all(flat(result).tobytes() == flat(results[0]).tobytes() for result in results)
    assert all(times(result) == times(results[0]) for result in results)


def test_asynchronous_answers_count_in_the_order_in_which_they_would_be_there(tmp_path: Path) -> None:
    """The paper's algorithm by hand, over a list of what is under way."""
    result = run(tmp_path, HEAVY, top=Buffered)
    data = [site(number) for number in range(SITES)]
    w, version, buffer, asked = np.zeros(6), 0, [], SITES
    under_way = [(taken, number, number, w, 0) for number, taken in enumerate(durations(tmp_path, HEAVY, 0.0, 1))]
    closed = []
    while version < 5:
        at, _, number, base, begun = first = min(under_way, key=lambda row: row[:2])
        under_way.remove(first)
        buffer.append(gradient_step(base, data[number]) / np.sqrt(1 + version - begun))
        if len(buffer) == 2:
            w, version, buffer = w + sum(buffer) / 2, version + 1, []
            closed.append(at)
        taken = durations(tmp_path, HEAVY, at, version + 1)[number]
        under_way.append((at + taken, asked, number, w, version))
        asked += 1
    np.testing.assert_allclose(times(result), closed, rtol=1e-12)
    np.testing.assert_allclose(flat(result), w, rtol=1e-12)


def test_a_tree_takes_as_long_as_a_star(tmp_path: Path) -> None:
    """A middle aggregator's answer takes as long as its own round took."""
    time = {"seconds": 1.0, "perSample": 0.1}
    sites = [site(number) for number in range(SITES)]
    grouped = {"eu": sites[:2], "na": sites[2:]}
    roles = {"top-aggregator": Waiting, "middle-aggregator": WaitingRegion}
    star = run(tmp_path / "star", time, data=sites)
    tree = run(tmp_path / "tree", time, data=grouped, tag="hierarchical", roles=roles)
    assert times(star) == times(tree) == pytest.approx([5.0 * number for number in range(1, 6)])


@pytest.mark.parametrize(
    ("top", "region"), [(Buffered, WaitingRegion), (Waiting, BufferedRegion), (Buffered, BufferedRegion)]
)
def test_time_passes_in_any_mix_of_tiers_and_hosts(tmp_path: Path, top: type, region: type) -> None:
    data = {"eu": [site(0), site(1)], "na": [site(2), site(3), site(4)]}
    settings = {
        "optimizer": {"sort": "fedbuff" if top is Buffered else "fedavg"},
        "selector": {"sort": "fedbuff", "kwargs": {"c": 3}},
        "hyperparameters": {"rounds": 6, "aggGoal": 1, "simulatedTime": HEAVY},
    }
    roles = {"top-aggregator": top, "middle-aggregator": region}
    runs = [
        run(tmp_path / str(hosts), HEAVY, data=data, tag="hierarchical", roles=roles, settings=settings, hosts=hosts)
        for hosts in (0, 2)
    ]
    assert times(runs[0]) == times(runs[1]) == sorted(times(runs[0]))
    assert flat(runs[0]).tobytes() == flat(runs[1]).tobytes()


def loss(w: np.ndarray) -> float:
    return float(sum(((x @ w - y) ** 2).mean() for x, y in (site(number) for number in range(SITES))))


class Judged:
    """Measures the model after every round."""

    def evaluate(self) -> None:
        self.update_metrics({"loss": loss(self.model["w"])})


class JudgedBuffered(Judged, Buffered):
    pass


class JudgedWaiting(Judged, Waiting):
    pass


def test_under_a_heavy_tail_fedbuff_is_sooner_at_a_loss(tmp_path: Path) -> None:
    """The reason for asynchronous aggregation: nobody waits for the slowest."""
    heavy = {"seconds": 1.0, "workers": {"sort": "pareto", "alpha": 0.5}}
    target = loss(np.zeros(6)) / 4

    def reached(top: type, sort: str, selector: dict[str, Any]) -> float:
        numbers = {"rounds": 60, "aggGoal": 2, "simulatedTime": heavy}
        settings = {"optimizer": {"sort": sort}, "selector": selector, "hyperparameters": numbers}
        result = run(tmp_path / sort, heavy, top=top, settings=settings)
        curve = dict(result.series("loss")["aggregator/0"])
        first = next(number for number, value in sorted(curve.items()) if value <= target)
        return times(result)[first - 1]

    sync = reached(JudgedWaiting, "fedavg", {"sort": "default"})
    buffered = reached(JudgedBuffered, "fedbuff", {"sort": "fedbuff", "kwargs": {"c": SITES}})
    assert buffered < sync / 2


@pytest.mark.parametrize(
    ("time", "where"),
    [
        ({"second": 1}, r"simulatedTime\.second: no such setting"),
        ({"seconds": -1}, r"simulatedTime\.seconds"),
        ({"seconds": "1"}, r"simulatedTime\.seconds"),
        ({"perSample": True}, r"simulatedTime\.perSample"),
        ({"workers": {"sort": "normal"}}, r"simulatedTime\.workers"),
        ({"workers": "pareto"}, r"simulatedTime\.workers"),
        ({"workers": {"sort": "pareto"}}, r"simulatedTime\.workers\.alpha"),
        ({"rounds": {"sort": "lognormal", "sigma": 11}}, r"simulatedTime\.rounds\.sigma"),
        ({"rounds": {"sort": "constant", "sigma": 1}}, r"simulatedTime\.rounds\.sigma"),
        (3, r"hyperparameters\.simulatedTime"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(tmp_path: Path, time: Any, where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        run(tmp_path, time)


def test_factors_have_the_distribution_that_they_are_said_to_have() -> None:
    """Median 1 for the lognormal one; for Pareto's, the share of more than x is x to the power of minus alpha."""
    pareto = np.array([Work(HEAVY, 0, f"trainer/{number}").factor for number in range(2000)])
    assert pareto.min() >= 1
    assert np.mean(pareto > 4) == pytest.approx(4**-1.1, abs=0.03)
    spread = {"workers": {"sort": "lognormal", "sigma": 1.0}}
    lognormal = np.array([Work(spread, 0, f"trainer/{number}").factor for number in range(2000)])
    assert np.median(np.log(lognormal)) == pytest.approx(0.0, abs=0.08)
    assert np.std(np.log(lognormal)) == pytest.approx(1.0, abs=0.08)


def test_settings_survive_a_config(tmp_path: Path) -> None:
    run(tmp_path, HEAVY, rounds=1)
    lines = [json.loads(line) for line in (tmp_path / "configs.jsonl").read_text().splitlines()]
    assert all(line["hyperparameters"]["simulatedTime"] == HEAVY for line in lines)
    (tmp_path / "config.json").write_text(json.dumps(lines[0]))
    assert Config(tmp_path / "config.json").hyperparameters.simulated_time == HEAVY
