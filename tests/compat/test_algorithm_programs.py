"""Programs of upstream's examples for single algorithms: as processes, and as fibers of one host."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upstream import PROGRAMS, Machine, channel, config, finished

import flame
from flame.lab.result import Result

pytest.importorskip("torch")
pytestmark = pytest.mark.timeout(120)  # three processes that import torch at the same time

Array = np.ndarray
RATE, ROUNDS, SIZES = 0.1, 4, (24, 8)
SIZE_TAGS = {
    "trainer": ["uploadDatasetSize", "fetch", "upload"],
    "aggregator": ["getDatasetSize", "distribute", "aggregate"],
}
BIAS_TAGS = {
    "trainer": ["fetch", "uploadBias", "fetchBias", "upload"],
    "aggregator": ["distribute", "aggregateBias", "distributeBias", "aggregate"],
}
PLAIN_TAGS = {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]}
HYPER = {"rounds": ROUNDS, "epochs": 2, "batchSize": 8, "learningRate": RATE, "minPeers": len(SIZES)}

Optimizer = Mapping[str, Any]
SCAFFOLD: Optimizer = {"sort": "scaffold", "kwargs": {"k": 5}}
FEDDYN: Optimizer = {"sort": "feddyn", "kwargs": {"alpha": 0.1}}
FEDGFT: Optimizer = {"sort": "fedgft", "kwargs": {"fair": "SP", "gamma": 10, "reg": "l2"}}
ADAGRAD: Optimizer = {"sort": "fedadagrad", "kwargs": {"beta_1": 0, "eta": 0.1, "tau": 0.01}}


def samples(number: int) -> dict[str, Array]:
    """One site's samples, of which one kind is rare here and frequent there."""
    rng = np.random.default_rng(number)
    x = rng.normal(size=(SIZES[number], 4)).astype(np.float32) + number
    y = (x.sum(axis=1) > 2 * number).astype(np.int64) + number * (x[:, 0] > 1)
    group = (x[:, 1] > number).astype(np.int64)
    names = {"x": x, "y": y, "train_images": x, "train_labels": y}
    return {**names, "dataset": x, "target": (y > 0).astype(np.int64), "group": group}


def saved(folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    for number in range(len(SIZES)):
        np.savez(folder / f"site-{number}.npz", **samples(number))
    return [f"file://{folder}/site-{number}.npz" for number in range(len(SIZES))]


def processes(machine: Machine, program: str, tags: Any, optimizer: Optimizer) -> tuple[Any, list[Any]]:
    """What the aggregator printed, and what the trainers did."""
    param, groups = channel("param-channel", tags), {"param-channel": "default"}
    more: dict[str, Any] = {"hyper": HYPER, "optimizer": optimizer}
    top = machine.start(f"{program}_aggregator", config("aggregator", [param], groups, **more), "top")
    sites = [
        machine.start(f"{program}_trainer", config("trainer", [param], groups, dataset=url, **more), f"site-{number}")
        for number, url in enumerate(saved(machine.folder / "data"))
    ]
    said, *done = [finished(process, within_s=90) for process in (top, *sites)]
    assert [status for status, *_ in (said, *done)] == [0] * (1 + len(sites)), [err for *_, err in (said, *done)]
    return said[1], [printed for _, printed, _ in done]


def fibers(folder: Path, program: str, tags: Any, optimizer: Optimizer, hosts: int, **hyper: Any) -> Result:
    """The same programs as a job's folder."""
    for role in ("trainer", "aggregator"):
        (folder / role).mkdir(parents=True)
        shutil.copy(PROGRAMS / f"{program}_{role}.py", folder / role / "main.py")
    seat = [{"param-channel": "default"}]
    files: dict[str, Any] = {
        "schema": {
            "name": program,
            "roles": [
                {"name": "trainer", "isDataConsumer": True, "groupAssociation": seat},
                {"name": "aggregator", "groupAssociation": seat},
            ],
            "channels": [channel("param-channel", tags)],
        },
        "job": {"name": program, "dataSpecPath": "dataSpec.json", "modelSpecPath": "modelSpec.json"},
        "modelSpec": {"hyperparameters": {**HYPER, **hyper}, "optimizer": optimizer},
        "dataSpec": [{"role": "trainer", "datasetGroups": {"default": [f"site-{n}" for n in range(len(SIZES))]}}],
    }
    for number, url in enumerate(saved(folder / "data")):
        files[f"dataset-{number}"] = {"name": f"site-{number}", "url": url, "realm": "default", "dataFormat": "npz"}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return flame.run(folder, hosts=hosts, out=folder / "out")


def of_aggregator(result: Result, name: str) -> list[float]:
    return [record.values[name] for record in result.metrics if name in record.values]


# -- the algorithms with upstream's weights by size, once more ------------------------------------------------


def first_model() -> Array:
    import torch

    torch.manual_seed(0)
    linear = torch.nn.Linear(4, 3)
    return np.hstack([linear.weight.detach().numpy(), linear.bias.detach().numpy()[:, None]]).astype(np.float64)


def gradient(w: Array, data: Mapping[str, Array], start: int) -> Array:
    """Of the mean cross entropy over a batch of 8."""
    x = np.hstack([data["x"][start : start + 8], np.ones((8, 1))])
    scores = np.exp(x @ w.T)
    p = scores / scores.sum(axis=1, keepdims=True)
    p[np.arange(8), data["y"][start : start + 8]] -= 1
    return p.T @ x / 8


def descended(w: Array, data: Mapping[str, Array], steps: int, pull: Callable[[Array], Array]) -> Array:
    for step in range(steps):
        w = w - RATE * (gradient(w, data, step * 8 % len(data["x"])) + pull(w))
    return w


def scaffold() -> list[Array]:
    k, x, c, own, seen = 5, first_model(), np.zeros((3, 5)), [np.zeros((3, 5)) for _ in SIZES], []
    for _ in range(ROUNDS):
        moves, changes = [], []
        for number, size in enumerate(SIZES):
            share = size / sum(SIZES) * len(SIZES)
            correction = -own[number] + c / share
            y = descended(x, samples(number), k, lambda w, v=correction: v)
            new = own[number] - c + (x - y) / (k * RATE)
            moves.append(y - x)
            changes.append((new - own[number]) * share)
            own[number] = new
        x, c = x + sum(moves) / len(SIZES), c + sum(changes) / len(SIZES)
        seen.append(x)
    return seen


def feddyn() -> list[Array]:
    cloud, kept, seen = first_model(), [np.zeros((3, 5)) for _ in SIZES], []
    for _ in range(ROUNDS):
        moves = []
        for number, size in enumerate(SIZES):
            alpha = 0.1 / (size / sum(SIZES) * len(SIZES))
            pull = lambda w, a=alpha, g=kept[number], sent=cloud: a * w + a * (g - sent)  # noqa: E731
            end = descended(cloud, samples(number), 2 * size // 8, pull)
            moves.append(end - cloud)
            kept[number] = kept[number] + end - cloud
        seen.append(cloud + sum(moves) / len(SIZES))
        cloud = seen[-1] + sum(kept) / len(SIZES)
    return seen


def sums(models: list[Array]) -> Array:
    return np.array([model[:, :4].sum(axis=1) for model in models])


CASES = {"scaffold": (SIZE_TAGS, SCAFFOLD, scaffold), "feddyn": (SIZE_TAGS, FEDDYN, feddyn)}


@pytest.mark.parametrize("program", CASES)
def test_programs_compute_what_is_written(machine: Machine, program: str) -> None:
    tags, optimizer, reference = CASES[program]
    said, sites = processes(machine, program, tags, optimizer)
    np.testing.assert_allclose(said, sums(reference()), atol=1e-4)
    if program == "scaffold":
        assert sites == [[[5] * ROUNDS, 2], [[5] * ROUNDS, 5]]  # rounded up: 5 steps of 3 batches, or of 1
    else:
        shares = [size / sum(SIZES) * len(SIZES) for size in SIZES]
        np.testing.assert_allclose([site[0] for site in sites], [0.1 / share for share in shares])
        assert json.loads((machine.folder / "acc_alpha0.1.txt").read_text()) == said


@pytest.mark.parametrize("hosts", [0, 2])
@pytest.mark.parametrize("program", CASES)
def test_statement_22_scaffold_and_feddyn_compute_their_formulas(tmp_path: Path, program: str, hosts: int) -> None:
    tags, optimizer, reference = CASES[program]
    result = fibers(tmp_path / "job", program, tags, optimizer, hosts)
    found = np.array([of_aggregator(result, "first"), of_aggregator(result, "second")]).T
    np.testing.assert_allclose(found, sums(reference())[:, :2], atol=1e-4)


def first_bias() -> float:
    """The difference of the mean probabilities of two groups over all samples."""
    import torch

    torch.manual_seed(0)
    linear = torch.nn.Linear(4, 2)
    data = [samples(number) for number in range(len(SIZES))]
    x, group = (np.concatenate([each[name] for each in data]) for name in ("dataset", "group"))
    p = torch.softmax(linear(torch.tensor(x)), dim=1)[:, 1].detach().numpy().astype(np.float64)
    return float(p[group == 0].mean() - p[group == 1].mean())


def test_programs_against_bias(machine: Machine) -> None:
    said, sites = processes(machine, "fedgft", BIAS_TAGS, FEDGFT)
    assert said[0] == pytest.approx(first_bias(), abs=1e-6)
    assert len(said) == ROUNDS and [len(site) for site in sites] == [ROUNDS] * len(SIZES)


def test_a_folder_of_them_becomes_fairer(tmp_path: Path) -> None:
    fair = of_aggregator(fibers(tmp_path / "fair", "fedgft", BIAS_TAGS, FEDGFT, 2, rounds=8), "bias")
    plain = {**FEDGFT, "kwargs": {"fair": "SP", "gamma": 0}}
    unfair = of_aggregator(fibers(tmp_path / "plain", "fedgft", BIAS_TAGS, plain, 0, rounds=8), "bias")
    assert fair[0] == unfair[0] == pytest.approx(abs(first_bias()), abs=1e-6)
    assert fair[-1] < unfair[-1] / 2


def test_adaptive_programs(machine: Machine) -> None:
    said, sites = processes(machine, "adaptive", PLAIN_TAGS, ADAGRAD)
    assert sites == [[1, 2, 3, 4]] * len(SIZES)
    np.testing.assert_allclose(said, sums(adagrad()), atol=1e-3)


def test_a_folder_of_adaptive_programs(tmp_path: Path) -> None:
    result = fibers(tmp_path / "job", "adaptive", PLAIN_TAGS, ADAGRAD, 0)
    np.testing.assert_allclose(of_aggregator(result, "first"), sums(adagrad())[:, 0], atol=1e-3)


def adagrad() -> list[Array]:
    sent, x, v, seen = first_model(), None, np.zeros((3, 5)), []
    for _ in range(ROUNDS):
        ends = [descended(sent, samples(n), 2 * size // 8, np.zeros_like) for n, size in enumerate(SIZES)]
        mean = sum(size / sum(SIZES) * end for size, end in zip(SIZES, ends, strict=True))
        if x is None:
            x = mean
        else:
            d = mean - x
            v = v + d**2
            x = x + 0.1 * d / (np.sqrt(v) + 0.01)
        sent = x
        seen.append(x)
    return seen


# -- what cannot be --------------------------------------------------------------------------------------


def test_roles_of_an_algorithm_refuse_another(tmp_path: Path) -> None:
    for program, tags in (("scaffold", SIZE_TAGS), ("feddyn", SIZE_TAGS), ("fedgft", BIAS_TAGS)):
        with pytest.raises(flame.errors.RecipeError, match=f"are for {program}, not fedavg"):
            fibers(tmp_path / program, program, tags, {"sort": "fedavg"}, 0)


def test_other_roles_refuse_an_algorithm_with_roles_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(flame.errors.RecipeError, match=r"flame\.mode\.horizontal\.fedgft, and none in between"):
        fibers(tmp_path / "job", "adaptive", PLAIN_TAGS, FEDGFT, 0)


def test_a_scaffold_trainer_needs_k(tmp_path: Path) -> None:
    with pytest.raises(flame.errors.RecipeError, match=r"optimizer\.kwargs\.k"):
        fibers(tmp_path / "job", "scaffold", SIZE_TAGS, {"sort": "scaffold"}, 0)
