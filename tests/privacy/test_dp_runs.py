"""Whole federations under client-level differential privacy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.errors import ConfigError, RecipeError
from flame.mode.horizontal.asyncfl.top_aggregator import TopAggregator
from flame.privacy.accountant import Accountant, Release
from flame.tag import Tag, template

SITES = 6
SIZE = 5000
GROUPS = {"eu": [0, 1], "na": [2, 3, 4, 5]}


def model() -> dict[str, np.ndarray]:
    return {"w": np.zeros(SIZE, np.float32), "v": np.zeros(7), "count": np.zeros(1, np.int64)}


def train(net: dict[str, np.ndarray], site: int) -> dict[str, float]:
    """Steps of norms that differ by site: 1 at site 0, then more."""
    step = np.full(SIZE, (1 + site) / math.sqrt(SIZE + 7))
    net["w"] += step.astype(np.float32)
    net["v"] += step[:7]
    net["count"] += 3
    return {"step": float(site)}


def run(
    out: Path, kwargs: Mapping[str, Any] | None, *, data: Any = None, tag: Tag | str = "two-tier", **more: Any
) -> Any:
    """A run with the privacy settings, or without any."""
    changes = dict(more.pop("set", {}))
    if kwargs is not None:
        changes |= {"privacy.sort": "dp", "privacy.kwargs": dict(kwargs)}
    given = {"rounds": 2, "hosts": 0, "seed": 3, **more}
    data = list(range(SITES)) if data is None else data
    return flame.run(model=model, train=train, data=data, tag=tag, out=out, set=changes, **given)


def flat(result: Any) -> np.ndarray:
    arrays = result.weights().arrays()
    return np.concatenate([arrays["w"], arrays["v"]]).astype(float)


def tree() -> Tag:
    return template("hierarchical", regions=("eu", "na"))


class AsyncTop(TopAggregator):
    def initialize(self) -> None:
        self.model = model()


def run_async(out: Path, rounds: int, **privacy: Any) -> Any:
    """A step for every two updates, both of the one trainer that there is."""
    changes = {"optimizer.sort": "fedbuff", "selector.sort": "fedbuff", "selector.kwargs": {"c": 1}}
    kwargs = {"clip_threshold": 1, "noise_multiplier": 4.0, "at": "server", **privacy}
    changes |= {"hyperparameters.aggGoal": 2, "privacy.sort": "dp", "privacy.kwargs": kwargs}
    given = {"model": model, "train": train, "aggregator": AsyncTop, "data": [0], "hosts": 0}
    return flame.run(**given, rounds=rounds, out=out, set=changes)


def expected(z: float, times: int, delta: float = 1e-5) -> float:
    accountant = Accountant(delta)
    accountant.charge(Release(z), times)
    return accountant.epsilon


@pytest.mark.parametrize("at", ["trainer", "server"])
def test_no_noise_and_no_clipping_is_no_mechanism(tmp_path: Path, at: str) -> None:
    """Bit by bit, counters included; at the server, where every site counts as one, sites of the same size."""
    plain = run(tmp_path / "plain", None)
    same = run(tmp_path / "same", {"clip_threshold": math.inf, "noise_factor": 0, "at": at})
    assert plain.weights().data.tobytes() == same.weights().data.tobytes()
    assert not math.isfinite(same.final("epsilon"))


@pytest.mark.parametrize("at", ["trainer", "server"])
def test_a_step_is_the_mean_of_clipped_updates(tmp_path: Path, at: str) -> None:
    result = run(tmp_path / "run", {"clip_threshold": 1.5, "noise_factor": 0, "at": at}, rounds=1)
    assert np.linalg.norm(flat(result)) == pytest.approx((1 + 5 * 1.5) / 6, rel=1e-6)


@pytest.mark.parametrize("at", ["trainer", "server"])
@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_the_number_of_hosts_changes_no_bit(tmp_path: Path, at: str, hosts: int) -> None:
    kwargs = {"clip_threshold": 1.0, "noise_multiplier": 0.5, "at": at}
    results = [run(tmp_path / str(n), kwargs, hosts=n) for n in (0, hosts)]
    assert len({result.weights().data.tobytes() for result in results}) == 1
    other = run(tmp_path / "other", kwargs, seed=4)
    assert other.weights().data.tobytes() != results[0].weights().data.tobytes()


def noise_of(tmp_path: Path, kwargs: Mapping[str, Any], **more: Any) -> np.ndarray:
    """What the noise alone has done to the model."""
    noisy = run(tmp_path / "noisy", kwargs, **more)
    quiet = run(tmp_path / "quiet", {**kwargs, "noise_multiplier": 0}, **more)
    assert noisy.weights().arrays()["count"][0] == 0  # a counter is not noised: it is not sent
    return flat(noisy) - flat(quiet)


@pytest.mark.parametrize("shape", ["star", "tree"])
def test_the_mean_has_the_noise_that_is_accounted_for(tmp_path: Path, shape: str) -> None:
    """At the server z*C/n, once at the top whatever is in between; at trainers of one size z*C/sqrt(n)."""
    where = {"data": GROUPS, "tag": tree()} if shape == "tree" else {}
    for at, std in (("server", 0.7 * 2 / SITES), ("trainer", 0.7 * 2 / math.sqrt(SITES))):
        kwargs = {"clip_threshold": 2.0, "noise_multiplier": 0.7, "at": at}
        noise = noise_of(tmp_path / at, kwargs, rounds=1, **where)
        assert noise.std() == pytest.approx(std, rel=4 / math.sqrt(2 * noise.size))
        assert abs(noise.mean()) < 4 * std / math.sqrt(noise.size)


def test_a_tree_without_noise_is_a_star(tmp_path: Path) -> None:
    """Middle aggregators add clipped updates up; every site counts as one, however many samples it has."""
    for at in ("server", "trainer"):
        kwargs = {"clip_threshold": 2.0, "noise_multiplier": 0, "at": at}
        star = run(tmp_path / f"star-{at}", kwargs)
        whole = run(tmp_path / f"tree-{at}", kwargs, data=GROUPS, tag=tree())
        np.testing.assert_allclose(flat(whole), flat(star), rtol=1e-6)


def test_sites_count_alike_at_the_server_and_by_their_samples_otherwise(tmp_path: Path) -> None:
    """`size_of` gives a site with a list of n items n samples."""

    def step(net: dict[str, np.ndarray], items: list[float]) -> None:
        net["w"] += items[0]

    def final(at: str) -> float:
        result = flame.run(
            model=lambda: {"w": np.zeros(1)},
            train=step,
            data=[[1.0], [3.0, 3.0, 3.0]],
            rounds=1,
            hosts=0,
            out=tmp_path / at,
            set={"privacy.sort": "dp", "privacy.kwargs": {"clip_threshold": 9, "noise_factor": 0, "at": at}},
        )
        return float(result.weights().arrays()["w"][0])

    assert (final("server"), final("trainer")) == (2.0, 2.5)


def test_epsilon_is_reported_every_round(tmp_path: Path) -> None:
    kwargs = {"clip_threshold": 2.0, "noise_multiplier": 3.0, "delta": 1e-6}
    central = run(tmp_path / "server", {**kwargs, "at": "server"}, rounds=3)
    curve = central.series("epsilon")
    assert curve == {"aggregator/0": [(n, pytest.approx(expected(3.0, n, 1e-6))) for n in (1, 2, 3)]}
    local = run(tmp_path / "trainer", kwargs, rounds=3)
    for curve in local.series("epsilon").values():
        assert curve == [(n, pytest.approx(expected(1.5, n, 1e-6))) for n in (1, 2, 3)]  # any data to any other: 2C
    assert len(local.series("epsilon")) == SITES
    assert "epsilon" in (tmp_path / "server" / "report.html").read_text()


@pytest.mark.parametrize("at", ["server", "trainer"])
def test_a_plan_beyond_the_budget_is_refused_before_anything_runs(tmp_path: Path, at: str) -> None:
    kwargs = {"clip_threshold": 1.0, "noise_multiplier": 1.0, "target_epsilon": 2.0, "at": at}
    with pytest.raises(ConfigError, match=r"target_epsilon: 2 rounds.* would spend epsilon"):
        run(tmp_path / "run", kwargs)
    assert not (tmp_path / "run").exists()


def test_what_samples_of_a_fixed_number_cost_is_the_share_that_was_asked(tmp_path: Path) -> None:
    sampled = {"selector.sort": "random", "selector.kwargs": {"k": 1}}
    kwargs = {"clip_threshold": 1.0, "noise_multiplier": 8.0, "at": "server"}
    result = run(tmp_path / "free", kwargs, rounds=3, set=sampled)
    accountant = Accountant(1e-5)
    accountant.charge(Release(8.0, 1 / SITES, "without-replacement"), 3)
    assert result.final("epsilon") == pytest.approx(accountant.epsilon)
    assert result.final("epsilon") < expected(8.0, 3)


def test_independent_sampling_costs_what_it_is_accounted_for_and_noises_empty_rounds_too(tmp_path: Path) -> None:
    sampled = {"selector.sort": "poisson", "selector.kwargs": {"rate": 0.05}}
    kwargs = {"clip_threshold": 1.0, "noise_multiplier": 1.0, "at": "server"}
    result = run(tmp_path / "run", kwargs, rounds=6, set=sampled)
    rounds = json.loads((tmp_path / "run" / "timeline.json").read_text())["rounds"]
    assert any(row["asked"] == 0 for row in rounds)
    accountant = Accountant(1e-5)
    accountant.charge(Release(1.0, 0.05, "poisson"), 6)
    assert result.final("epsilon") == pytest.approx(accountant.epsilon)
    # The sum is divided by how many are expected, 0.05 * 6, whoever came: so that it does not tell how many did.
    noise = flat(result)[np.abs(flat(result)) < 60]
    assert noise.std() == pytest.approx(math.sqrt(6) * 1.0 / (0.05 * SITES), rel=0.05)


def test_a_trainer_whose_budget_is_spent_sends_nothing_more(tmp_path: Path) -> None:
    """A selector decides who is asked how often, so that only a trainer itself knows."""
    sampled = {"selector.sort": "random", "selector.kwargs": {"k": SITES}}
    kwargs = {"clip_threshold": 1.0, "noise_multiplier": 4.0, "target_epsilon": expected(2.0, 2) + 0.01}
    result = run(tmp_path / "run", kwargs, rounds=4, set=sampled)
    folded = [row["folded"] for row in json.loads((tmp_path / "run" / "timeline.json").read_text())["rounds"]]
    assert folded == [SITES, SITES, 0, 0]
    assert result.final("epsilon") == pytest.approx(expected(2.0, 2))


def test_an_asynchronous_top_counts_how_often_one_trainer_is_in_a_sum(tmp_path: Path) -> None:
    assert run_async(tmp_path, 2).final("epsilon") == pytest.approx(expected(2.0, 2))


def test_a_run_ends_when_its_budget_does_and_keeps_its_model(tmp_path: Path) -> None:
    """Five rounds were planned with every trainer once in each; twice in each, the budget is spent after three."""
    result = run_async(tmp_path, 5, target_epsilon=expected(2.0, 3) + 0.01)
    assert result.status == "completed"
    assert result.series("epsilon") == {"aggregator/0": [(n, pytest.approx(expected(2.0, n))) for n in (1, 2, 3)]}
    facts = json.loads((tmp_path / "run.json").read_text())
    assert (facts["rounds"], facts["rounds_asked"]) == (3, 5)
    assert np.linalg.norm(flat(result)) > 0


CLASHES: dict[str, tuple[dict[str, Any], str]] = {
    "topk": ({"channels.param-channel.compression": "topk"}, "channel param-channel compresses"),
    "missing": ({"privacy.kwargs": {"at": "server"}}, "clip_threshold: dp needs it"),
    "both": (
        {"privacy.kwargs": {"clip_threshold": 1, "noise_factor": 1, "noise_multiplier": 1}},
        "noise_factor: is given beside",
    ),
    "neither": ({"privacy.kwargs": {"clip_threshold": 1}}, "noise_factor: dp needs it"),
    "place": (
        {"privacy.kwargs": {"clip_threshold": 1, "noise_factor": 1, "at": "moon"}},
        "privacy.kwargs.at: is 'moon'",
    ),
    "unknown": ({"privacy.kwargs": {"clip_threshold": 1, "noise_factor": 1, "epsilon": 1}}, "dp has no such setting"),
    "delta": ({"privacy.kwargs": {"clip_threshold": 1, "noise_factor": 1, "delta": 1}}, "privacy.kwargs.delta"),
}


@pytest.mark.parametrize("name", CLASHES)
def test_what_does_not_go_together_is_refused_by_name(tmp_path: Path, name: str) -> None:
    changes, words = CLASHES[name]
    if name == "topk":
        pytest.importorskip("zstandard")
    base = {"privacy.kwargs": {"clip_threshold": 1, "noise_factor": 1, "at": "server"}}
    with pytest.raises((ConfigError, RecipeError), match=words):
        run(tmp_path / "run", None, set={"privacy.sort": "dp", **base, **changes})


def test_sampling_in_a_tree_is_refused_at_the_server(tmp_path: Path) -> None:
    sampled = {"selector.sort": "random", "selector.kwargs": {"k": 1}}
    kwargs = {"clip_threshold": 1, "noise_multiplier": 1}
    with pytest.raises(RecipeError, match=r"in a tree, everybody is asked; selector\.sort is random"):
        run(tmp_path / "server", {**kwargs, "at": "server"}, data=GROUPS, tag=tree(), set=sampled)
    run(tmp_path / "trainer", kwargs, data=GROUPS, tag=tree(), set=sampled)
