"""Every example of Cisco Flame: 21 of its library, 9 of its control plane.

Each has a row below: roles, channels, backend and settings are upstream's; data and models are tiny.
Each is run as a process per worker, with the configs that a user writes, or that follow from the job's folder; and each
by `flame run DIR` in one host.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import coordinated
import numpy as np
import pytest
import references
from example import Example, Seat, as_flame_builds, by_hand, job_folder, run
from example_laws import (
    always,
    as_written,
    balanced,
    by_http,
    clipped,
    fairness,
    falls,
    files,
    in_mlflow,
    k_steps,
    moves,
    pulled,
    shares,
    sometimes,
    spends,
    steps,
    store,
    table,
    ten_by_http,
    written,
)
from references import HYPER, ROUNDS
from upstream import DOWN, PARAM, UP, channel

from flame.cli import main
from flame.lab.result import Result

pytest.importorskip("torch")
pytestmark = [
    pytest.mark.timeout(540),  # up to eight processes, most of which import a framework
    pytest.mark.filterwarnings("ignore"),  # what programs and their frameworks warn of is theirs
]

# -- rows --------------------------------------------------------------------------------------------------------------

FEDAVG = {"optimizer": {"sort": "fedavg", "kwargs": {}}}
RANDOM = {"selector": {"sort": "random", "kwargs": {"k": 1}}}
NOWHERE = {"registry": {"sort": "dummy", "uri": "http://flame-mlflow:5000"}}
SYNC, ASYNC, EAGER = "horizontal.syncfl", "horizontal.asyncfl", "horizontal.eager_syncfl"
DEFAULT = {"param-channel": "default"}


def fedbuff(c: int) -> dict[str, Any]:
    return {"selector": {"sort": "fedbuff", "kwargs": {"c": c}}, "optimizer": {"sort": "fedbuff", "kwargs": {}}}


def star(program: str, trainers: int, *, group: str = "default", tags: Any = PARAM, mode: str = "", **of: Any) -> Any:
    """An aggregator and its trainers: the channel, and the two roles."""
    groups = {"param-channel": group}
    top = Seat("aggregator", f"{program}_aggregator".removeprefix("_"), [groups], mode, **of)
    sites = Seat("trainer", f"{program}_trainer".removeprefix("_"), [groups] * trainers, beside=of.get("beside", {}))
    return {"channels": [channel("param-channel", tags, group)], "seats": [sites, top]}


def tree(program: str, sites: Mapping[str, int], mode: str, *, over: str = "", **of: Any) -> Any:
    """A top, a middle aggregator for each group, and trainers."""
    up = channel("global-channel", UP) | ({"backend": over} if over else {})
    down = channel("param-channel", DOWN, *sites)
    middles = [{"param-channel": group, "global-channel": "default"} for group in sites]
    trainers = [{"param-channel": group} for group, count in sites.items() for _ in range(count)]
    seats = [
        Seat("trainer", f"{program}_trainer".removeprefix("_"), trainers, **of),
        Seat("middle-aggregator", "middle_aggregator", middles, mode),
        Seat("top-aggregator", f"{program}_aggregator".removeprefix("_"), [{"global-channel": "default"}], mode),
    ]
    return {"channels": [down, up], "seats": seats}


def town(program: str, mode: str, counts: Sequence[int], *, shm: Sequence[str] = (), own: Any = None) -> Any:
    """A coordinated federation: so many in each tier, from the top; `own` is the top's."""
    package, channels = f"horizontal.{mode}", coordinated.channels(mode)
    groups = lambda role: {one["name"]: "default" for one in channels if role in one["pair"]}  # noqa: E731
    written = {} if program == "coord" else {"top-aggregator": f"{program}_aggregator", "trainer": f"{program}_trainer"}
    seats = [
        Seat(
            role,
            written.get(role) or f"coord_{role.replace('-', '_')}",
            [groups(role)] * count,
            package,
            own=(own or {}) if role == "top-aggregator" else {},
        )
        for role, count in zip(coordinated.TIERS[mode], counts, strict=True)
    ]
    lacks = ("registry", "optimizer", "baseModel", "dataset", "dependencies")
    lead = Seat("coordinator", "coord_coordinator", [groups("coordinator")], package, lacks=lacks)
    carried = [one | ({"backend": "shm"} if one["name"] in shm else {}) for one in channels]
    return {"channels": carried, "seats": [*seats, lead]}


def ring(program: str, group: str, trainers: int = 3) -> Any:
    param = {**channel("param-channel", {"trainer": ["ring_allreduce"]}, group), "pair": ["trainer", "trainer"]}
    seat = Seat("trainer", f"{program}_trainer", [{"param-channel": group}] * trainers, "distributed")
    return {"channels": [param], "seats": [seat]}


def rings(mode: str, over: Mapping[str, str]) -> Any:
    """Rings of two in two groups, and an aggregator above."""
    groups = [{"param-channel": group, "global-channel": "default"} for group in ("eu", "us") for _ in range(2)]
    param = channel("param-channel", {"trainer": ["ring_allreduce"]}, "eu", "us") | {"pair": ["trainer", "trainer"]}
    up = channel("global-channel", PARAM)
    sites = Seat("trainer", "keras_trainer", groups, "hybrid")
    top = Seat("aggregator", "keras_aggregator", [{"global-channel": "default"}], mode)
    carried = [one | ({"backend": over[one["name"]]} if one["name"] in over else {}) for one in (param, up)]
    return {"channels": carried, "seats": [sites, top]}


K, T = {"metric": "first", "law": moves}, {"metric": "test-loss", "law": falls}
SIZE_TAGS = {
    "trainer": ["uploadDatasetSize", "fetch", "upload"],
    "aggregator": ["getDatasetSize", "distribute", "aggregate"],
}
BIAS_TAGS = {
    "trainer": ["fetch", "uploadBias", "fetchBias", "upload"],
    "aggregator": ["distribute", "aggregateBias", "distributeBias", "aggregate"],
}
SLEEPS = [("-s", f"{number / 50}") for number in range(4)]
TWO = ("first", "second")


def optimizer(sort: str, **kwargs: Any) -> dict[str, Any]:
    return {"optimizer": {"sort": sort, "kwargs": kwargs}}


ADULT = {**RANDOM, "registry": {"sort": "mlflow", "uri": "FOLDER"}}
ADAGRAD = optimizer("fedadagrad", beta_1=0, eta=0.1, tau=0.01)
DP = {"privacy": {"sort": "dp", "kwargs": {"clip_threshold": 0.1, "noise_factor": 0.0001}}}
BALANCED = {"sort": "fedbalancer", "kwargs": {"w": 2, "lss": 0.3, "dss": 0.3, "p": 1.0, "noise_factor": 0.0}}
OORT = {"selector": {"sort": "oort", "kwargs": {"aggr_num": 3}}, **FEDAVG}
THREE = {"minPeers": 3}
"""Not upstream's: whoever sees nobody for a second begins alone, and is joined later."""
LIFL, COORD, COORD_ASYNC = coordinated.DEEP, coordinated.SYNC, coordinated.ASYNC

# fmt: off
LIBRARY = [
    Example("1", "adult", "mqtt", **star("adult", 1, beside={"utils.py": "adult_utils"}), rounds=5,
            metric="Test Loss", law=falls, settings=ADULT, sites=always, data=table, after=in_mlflow),
    Example("2", "async_hier_mnist", "p2p", **tree("keras", {"uk": 2, "us": 2}, ASYNC), rounds=6, **K,
            hyper={"aggGoal": 1}, settings=fedbuff(2), sites=sometimes),
    Example("3", "async_mnist", "p2p", **star("keras", 4, mode=ASYNC), rounds=6, **K,
            hyper={"aggGoal": 2}, settings=fedbuff(4), sites=sometimes),
    Example("4", "cifar10_scaffold", "p2p", **star("scaffold", 2, tags=SIZE_TAGS), rounds=ROUNDS, metric=TWO,
            law=as_written(references.scaffold), hyper=HYPER, settings=optimizer("scaffold", k=5), sites=k_steps,
            data=files),
    Example("5", "compas_fedgft", "p2p", **star("fedgft", 2, tags=BIAS_TAGS), rounds=ROUNDS, metric="bias",
            law=fairness, hyper=HYPER, settings=optimizer("fedgft", fair="SP", gamma=10, reg="l2"), data=files),
    Example("6", "coord_3_hier_syncfl_mnist", "p2p", **town("keras", LIFL, (1, 2, 2, 2)), rounds=6, **K),
    Example("7", "coord_hier_asyncfl_mnist", "p2p",
            **town("keras", COORD_ASYNC, (1, 2, 2)), rounds=6, **K, hyper={"aggGoal": 1, "concurrency": 2},
            settings=optimizer("fedbuff"), sites=sometimes),
    Example("8", "coord_hier_syncfl_mnist", "p2p", **town("keras", COORD, (1, 2, 2)), rounds=6, **K, sites=always),
    Example("9K", "dist_mnist", "p2p", **ring("keras", "default/us"), rounds=6, **T, hyper=THREE, sites=always),
    Example("9T", "dist_mnist", "p2p", **ring("mnist", "default/us"), rounds=6, **T, hyper=THREE, sites=always),
    Example("10", "dp_mnist", "p2p", **star("dp", 1, lacks=["privacy"]), rounds=3, metric="move", law=clipped,
            settings={**FEDAVG, **DP}, sites=spends),
    Example("11", "eager_hier_mnist", "p2p", **tree("mnist", {"us": 4}, EAGER, arguments=SLEEPS), rounds=5, **T,
            sites=always),
    Example("12", "fedbalancer_mnist", "mqtt", **star("fedbalancer", 2), rounds=9, **T,
            hyper={"epochs": 2, "batchSize": 8}, settings={**FEDAVG, "datasampler": BALANCED}, sites=balanced),
    Example("13", "femnist", "p2p", **star("femnist", 1), rounds=6, metric="batches", law=moves, settings=FEDAVG,
            sites=always),
    Example("14", "coord_hier_syncfl_femnist", "p2p", 
            **town("coord_femnist", COORD, (1, 2, 2), own={"hyper": {"rounds": 1000}}), rounds=5,
            metric="batches", law=moves, sites=always),
    Example("15", "hier_mnist", "p2p", **tree("mnist", {"uk": 1, "us": 1}, SYNC), rounds=5, **T, sites=always),
    Example("16", "hybrid", "mqtt", **rings("hybrid", {"param-channel": "p2p"}), rounds=5, **K, settings=FEDAVG,
            sites=always),
    Example("17", "medmnist", "mqtt", **star("medmnist", 2), rounds=ROUNDS, metric=TWO,
            law=as_written(references.adagrad, 1e-3), hyper=HYPER, settings=ADAGRAD, sites=always, data=by_http),
    Example("18", "medmnist_feddyn", "mqtt", **star("feddyn", 2, tags=SIZE_TAGS), rounds=ROUNDS, metric=TWO,
            law=as_written(references.feddyn), hyper=HYPER, settings=optimizer("feddyn", alpha=0.1), sites=shares,
            data=files, after=written("acc_alpha0.1.txt")),
    Example("19", "medmnist_fedprox", "mqtt", **star("fedprox", 2), rounds=4, metric="sum", law=moves,
            settings=optimizer("fedprox", mu=0.1), sites=pulled, after=written("acc_mu0.1.txt")),
    Example("20", "medmnist_oort", "mqtt", **star("oort", 5), rounds=8, metric="Val Loss", law=falls,
            hyper={"epochs": 2, "batchSize": 16}, settings=OORT),
    Example("21K", "mnist", "p2p", **star("keras", 1), rounds=5, **K, hyper={"epochs": 2}, settings=FEDAVG,
            sites=always),
    Example("21T", "mnist", "p2p", **star("mnist", 1), rounds=5, **T, settings=FEDAVG, sites=always),
]

STEPS: dict[str, Any] = {"rounds": 10, "metric": "first", "law": steps, "hyper": {"learningRate": 1.0, "samples": 10}}
OVER_SHM = [
    Example("6shm", "coord_3_hier_syncfl_mnist", "p2p",
            **town("coord", LIFL, (1, 2, 2, 2), shm=("hier-channel", "global-channel")), **STEPS),
    Example("8shm", "coord_hier_syncfl_mnist", "p2p", **town("coord", COORD, (1, 2, 2), shm=("global-channel",)),
            **STEPS),
    Example("11shm", "eager_hier_mnist", "p2p", **tree("", {"us": 4}, EAGER, over="shm"), **STEPS),
]
"""The same, as they are configured with another backend for the channels between aggregators."""

PARALLEL = [{"param-channel": group} for group in ("us", "eu", "asia")]
REPLICAS = [{"param-channel": "red", "global-channel": "black"}] * 2
HIER = {"eu": 2, "na": 2}
BLACK = {"global-channel": "black"}
CONTROL = [
    Example("A", "mnist", "mqtt", **star("keras", 1, group="us"), rounds=5, **K, settings=RANDOM, sites=always),
    Example("B", "medmnist", "mqtt", **star("medmnist", 10, group="us"), rounds=4, metric=TWO, law=lambda values: None,
            hyper={"epochs": 4}, settings=FEDAVG, sites=always, data=ten_by_http),
    Example("C", "hier_mnist", "p2p", **tree("mnist", HIER, "horizontal"), rounds=5, **T, settings=FEDAVG,
            sites=always),
    Example("D", "asyncfl_hier_mnist", "mqtt", **tree("keras", HIER, ASYNC), rounds=6, **K, hyper={"aggGoal": 1},
            settings=fedbuff(2), sites=sometimes),
    Example("E", "asyncfl_hier_mnist_lb", "mqtt", rounds=6, **K, hyper={"aggGoal": 1}, settings=fedbuff(2),
            sites=sometimes,
            channels=[channel("param-channel", DOWN, "red"), channel("global-channel", UP, "black")],
            seats=[Seat("trainer", "keras_trainer", [{"param-channel": "red"}]),
                   Seat("middle-aggregator", "middle_aggregator", REPLICAS, ASYNC),
                   Seat("top-aggregator", "keras_aggregator", [BLACK], ASYNC)]),
    Example("F", "parallel_experiment", "mqtt", rounds=5, **K, settings={**RANDOM, **FEDAVG}, sites=always,
            channels=[channel("param-channel", PARAM, "us", "eu", "asia")],
            seats=[Seat("trainer", "keras_trainer", PARALLEL), Seat("aggregator", "keras_aggregator", PARALLEL)]),
    Example("G", "distributed_training", "mqtt", **ring("keras", "us"), rounds=5, **T, settings=FEDAVG, sites=always),
    Example("H", "hybrid", "mqtt", **rings("horizontal", {"param-channel": "p2p", "global-channel": "mqtt"}), rounds=5,
            **K, settings={**FEDAVG, **NOWHERE}, sites=always),
    Example("I", "syncfl_hier_coord_mnist", "mqtt", **town("keras", COORD, (1, 2, 3)), rounds=6, **K, settings=FEDAVG),
]
# fmt: on


def named(examples: Sequence[Example]) -> Any:
    return pytest.mark.parametrize("example", [pytest.param(one, id=f"{one.number}-{one.name}") for one in examples])


@pytest.fixture(autouse=True)
def keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras's backend is the user's to choose: here the one that compiles nothing."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def placed(example: Example, folder: Path) -> Example:
    """The example, with what has to be in the folder of the test."""
    registry = example.settings.get("registry", {})
    if registry.get("sort") != "mlflow":
        return example
    if not importlib.util.find_spec("alembic"):
        pytest.skip("MLflow keeps nothing in SQL without alembic")
    settings = {**example.settings, "registry": {"sort": "mlflow", "uri": store(folder)}}
    return dataclasses.replace(example, settings=settings)


def holds(example: Example, said: Mapping[str, list[Any]], folder: Path) -> None:
    """What must be so of what processes printed."""
    for top in said[example.measures]:
        values = np.array(top["test-loss"] if example.measures == "trainer" else top, float)
        assert len(values) == example.rounds
        example.law(values)
    if example.measures == "trainer":
        assert len({repr(one["test-loss"]) for one in said["trainer"]}) == 1
    for site in said["trainer"]:
        example.sites(site, example.rounds)
    example.after(folder)


@named([*LIBRARY, *OVER_SHM])
def test_as_processes(tmp_path: Path, stack: ExitStack, example: Example) -> None:
    """A process for each worker, with a config as a user writes it, over the backend that it names."""
    example = placed(example, tmp_path)
    holds(example, run(example, tmp_path, by_hand(example, tmp_path, stack)), tmp_path)


@named(CONTROL)
def test_tasks_as_processes(tmp_path: Path, stack: ExitStack, example: Example) -> None:
    """A process for each task of a job, with the config that follows from the job's folder."""
    holds(example, run(example, tmp_path, as_flame_builds(example, tmp_path, stack)), tmp_path)


@named([*LIBRARY, *CONTROL])
def test_by_flame_run(tmp_path: Path, stack: ExitStack, example: Example, capfd: pytest.CaptureFixture) -> None:
    """`flame run DIR`, all workers as fibers of this process; a control plane's code is in an archive."""
    example = placed(example, tmp_path)
    job = job_folder(example, tmp_path, stack, archive=example in CONTROL)
    status = main(["run", str(job), "--hosts", "0", "--out", str(tmp_path / "out")])
    assert status == 0, capfd.readouterr().err
    result = Result(tmp_path / "out")
    workers = {seat.role: len(seat.groups) for seat in example.seats}
    assert result.history.facts["roles"] == workers
    names = [example.metric] if isinstance(example.metric, str) else example.metric
    curves = [result.series(name, example.measures) for name in names]
    for worker in curves[0]:
        rounds = [[number for number, _ in curve[worker]] for curve in curves]
        assert rounds == [list(range(1, example.rounds + 1))] * len(names)
        values = np.array([[value for _, value in curve[worker]] for curve in curves]).T
        example.law(values if len(names) > 1 else values[:, 0])
