"""A model that travels learns what it would if all data were at one place, in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_laws import SIZES, flat, model, site

import flame
from flame.errors import RecipeError

ROUNDS = 3


def step(net: dict[str, np.ndarray], data: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    x, y = data
    error = x @ net["w"] + net["b"] - y
    net["w"] -= (0.05 * x.T @ error / len(y)).astype(np.float32)
    net["b"] -= np.float32(0.05 * error.mean())
    return {"loss": float((error**2).mean())}


def run(out: Path, *, sites: int = 6, hosts: int = 0, seed: int = 7, train: Any = step, **more: Any) -> Any:
    data = [site(number % len(SIZES)) for number in range(sites)]
    common = {"rounds": ROUNDS, "tag": "cyclic", "data": data, **more}
    return flame.run(model=model, train=train, hosts=hosts, seed=seed, out=out, **common)


@pytest.mark.parametrize("sites", [1, 2, 6, 12])
def test_it_is_training_on_one_site_after_the_other(tmp_path: Path, sites: int) -> None:
    result = run(tmp_path, sites=sites)
    net = model()
    for _ in range(ROUNDS):
        losses = [step(net, site(number % len(SIZES)))["loss"] for number in range(sites)]
    assert flat(result).tobytes() == np.concatenate([net["w"], net["b"]]).tobytes()
    found = [curve[-1][1] for _, curve in sorted(result.series("loss").items(), key=lambda row: int(row[0][8:]))]
    assert found == losses
    assert result.history.facts["rounds"] == ROUNDS
    assert not list((tmp_path / "models").glob("*"))


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_any_number_of_hosts_gives_the_same_bits(tmp_path: Path, hosts: int, shuffle: bool) -> None:
    more = {"settings": {"hyperparameters": {"shuffle": shuffle}}}
    here, there = run(tmp_path / "here", **more), run(tmp_path / "there", hosts=hosts, **more)
    assert flat(here).tobytes() == flat(there).tobytes()


def order(result: Any) -> list[list[str]]:
    """Who trained in each round, in order."""
    rows = sorted((record.round, record.values["at"], record.worker) for record in result.metrics)
    return [[worker for number, _, worker in rows if number == round_] for round_ in range(1, ROUNDS + 1)]


def test_a_shuffled_cycle_has_everybody_once_a_round_in_an_order_of_the_seed(tmp_path: Path) -> None:
    counted = [0]

    def note(net: Any, data: Any) -> dict[str, float]:
        counted[0] += 1
        return {"at": counted[0]}

    more = {"train": note, "settings": {"hyperparameters": {"shuffle": True}}}
    first, again, other = run(tmp_path / "a", **more), run(tmp_path / "b", **more), run(tmp_path / "c", seed=8, **more)
    rounds = order(first)
    assert all(sorted(one) == [f"trainer/{number}" for number in range(6)] for one in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    assert rounds == order(again) != order(other)


def test_groups_are_cycles_of_their_own(tmp_path: Path) -> None:
    tag = (
        flame.tag.build("two cycles")
        .role("trainer", data_consumer=True)
        .channel("hand-over-channel", {"trainer": "handOver"}, groups=["a", "b"])
        .done()
    )
    both = run(tmp_path / "both", tag=tag, data={"a": [site(0), site(1)], "b": [site(2)]})
    alone = [run(tmp_path / "a", data=[site(0), site(1)]), run(tmp_path / "b", data=[site(2)])]
    assert flat(both).tobytes() == flat(alone[0]).tobytes()
    (other,) = (both.dir / "models").iterdir()
    assert other.read_bytes()[-28:] == (alone[1].dir / "model.safetensors").read_bytes()[-28:]


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"optimizer.sort": "fedadam"}, "fedadam needs an aggregator"),
        ({"optimizer.sort": "fedper", "optimizer.kwargs": {"personal": ["b"]}}, "fedper needs an aggregator"),
        ({"optimizer.sort": "scaffold"}, "scaffold needs an aggregator"),
        ({"optimizer.sort": "fedbuff"}, "fedbuff needs an aggregator"),
        ({"selector.sort": "random", "selector.kwargs": {"k": 1}}, "random chooses for an aggregator"),
        ({"gate.kwargs": {"whenLost": "wait"}}, "continue or stop"),
        ({"gate.sort": "goal"}, "where nobody leads"),
        ({"channels.hand-over-channel.compression": "topk"}, "topk packs differences"),
        ({"privacy.sort": "dp", "privacy.kwargs": {"clip_threshold": 1.0, "noise_factor": 1.0}}, "privacy"),
    ],
)
def test_what_needs_somebody_who_leads_is_refused(tmp_path: Path, setting: Any, error: str) -> None:
    with pytest.raises(RecipeError, match=error):
        run(tmp_path / "run", set=setting)
    assert not (tmp_path / "run").exists()


def test_a_proximal_term_works_without_an_aggregator(tmp_path: Path) -> None:
    def near(net: dict[str, np.ndarray], data: Any, regularizer: Any) -> dict[str, float]:
        for _ in range(2):
            told = step(net, data)
            pull = regularizer.get_gradient(curr_model=net)
            for name in net:
                net[name] -= (0.5 * pull[name]).astype(np.float32)
        return told

    weak, strong = (
        run(tmp_path / f"{mu}", train=near, rounds=1, set={"optimizer.sort": "fedprox", "optimizer.kwargs": {"mu": mu}})
        for mu in (0.001, 0.9)
    )
    assert np.linalg.norm(flat(strong)) < 0.9 * np.linalg.norm(flat(weak))


def test_a_half_as_large_model_travels(tmp_path: Path) -> None:
    exact, half = run(tmp_path / "a"), run(tmp_path / "b", set={"channels.hand-over-channel.compression": "fp16"})
    assert flat(exact).tobytes() != flat(half).tobytes()
    np.testing.assert_allclose(flat(half), flat(exact), rtol=0.02, atol=1e-3)
