"""The workloads: what each runs, what its floor is, and what it has to reach.

The Flame side of a workload is an ordinary job directory beside this file; only its list of datasets, which sets the
number of trainers, is written when it is run. The command measured is the one that a user types: `flame run`.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Measured, measure

HERE = Path(__file__).resolve().parent
MB = 1e6
MODEL_B = 100e6  # bytes of workload B's model


@dataclass(frozen=True, slots=True)
class Cost:
    """What one side of a workload cost.

    Attributes:
        wall_s: the whole command.
        cpu_s: processor time of all of its processes.
        start_up_s: from the command to its first round.
        round_s: one round, steady: the median interval between rounds.
        peak: the process tree's peak memory (summed PSS), bytes.
        extra: further numbers, by name.
    """

    wall_s: float
    cpu_s: float
    start_up_s: float
    round_s: float
    peak: float
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Something to reach: `of(flame, floor) <= limit`."""

    what: str
    of: Callable[[Cost, Cost], float]
    limit: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload.

    Attributes:
        what: one line for the reader.
        programs: the job directory of the Flame side.
        trainers: how many trainers it is given.
        floor: the module under `bench.floors`, and its arguments.
        targets: what it has to reach.
        watched: further options of the `flame run` whose memory is read.
        also: further floors, by name, reported beside the first.
    """

    what: str
    programs: str
    trainers: int
    floor: tuple[str, ...]
    targets: tuple[Target, ...]
    watched: tuple[str, ...] = ()
    also: dict[str, tuple[str, ...]] = field(default_factory=dict)


START_UP = Target("start-up", lambda flame, _: flame.start_up_s, 3, " s")

WORKLOADS = {
    "A": Workload(
        "10 clients x 500 images, CNN, Adam, 10 rounds",
        "a_cnn",
        10,
        ("a",),
        (
            Target("whole command / floor", lambda flame, floor: flame.wall_s / floor.wall_s, 1.2, " x"),
            Target("peak memory", lambda flame, _: flame.peak / MB, 700, " MB"),
            START_UP,
        ),
    ),
    "B": Workload(
        "4 clients return 25M float32, no training, 5 rounds",
        "b_transfer",
        4,
        ("b",),
        (
            Target("a round on shm", lambda flame, _: flame.round_s, 0.15, " s"),
            Target("aggregator / model", lambda flame, _: flame.extra["aggregator"] / MODEL_B, 2.5, " x"),
            START_UP,
        ),
        watched=("--hosts", "5"),
        also={"loopback TCP": ("b", "tcp")},
    ),
    "C": Workload(
        "1,000 clients x 20 digits, 100 a round, MLP, 10 rounds",
        "c_cohort",
        1_000,
        ("c",),
        (
            Target("a round / floor", lambda flame, floor: flame.round_s / floor.round_s, 1.2, " x"),
            START_UP,
        ),
    ),
    "E": Workload(
        "10,000 workers, a no-op with 1,000 numbers, 10 rounds",
        "e_crowd",
        10_000,
        ("e",),
        (
            Target("a client-round", lambda flame, _: flame.round_s / 10_000 * 1e6, 100, " µs"),
            Target("peak memory", lambda flame, _: flame.peak / MB, 1_000, " MB"),
            START_UP,
        ),
    ),
}


def run(name: str) -> dict[str, Any]:
    """Measure one workload and its floors; the object that goes into results.json."""
    workload = WORKLOADS[name]
    with tempfile.TemporaryDirectory(prefix="flame-bench-") as scratch:
        flame = flame_side(workload, Path(scratch))
        floor = floor_side(workload.floor, Path(scratch))
        others = {label: asdict(floor_side(arguments, Path(scratch))) for label, arguments in workload.also.items()}
    targets = [
        {"what": t.what, "measured": t.of(flame, floor), "limit": t.limit, "unit": t.unit} for t in workload.targets
    ]
    return {
        "workload": name,
        "what": workload.what,
        **asdict(flame),
        "floor": asdict(floor),
        "other_floors": others,
        "ratio": {key: getattr(flame, key) / getattr(floor, key) for key in ("wall_s", "cpu_s", "round_s", "peak")},
        "targets": [{**target, "met": target["measured"] <= target["limit"]} for target in targets],
    }


def environment() -> dict[str, str]:
    """This environment, with the bench importable and one thread per process for the floors' sake."""
    return {**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": ""}


def flame_side(workload: Workload, scratch: Path) -> Cost:
    """Run the Flame side as a user would, once for its times and once for its memory.

    A run's own clock starts when its files have been read and stops before the report is written; all of that
    difference is counted as start-up.
    """
    job = scratch / "job"
    shutil.copytree(HERE / workload.programs, job, ignore=shutil.ignore_patterns("__pycache__"))
    spec = [{"role": "trainer", "datasetGroups": {"default": ["synthetic"] * workload.trainers}}]
    (job / "dataSpec.json").write_text(json.dumps(spec))
    timed, record, round_s = _flame_run(job, scratch / "timed", (), watch=False)
    watched, placed, round_watched_s = _flame_run(job, scratch / "watched", workload.watched, watch=True)
    extra = _of_aggregator(placed, watched) | {"round_s_watched": round_watched_s}
    return Cost(timed.wall_s, timed.cpu_s, record["start_up_s"], round_s, watched.peak, extra)


def _flame_run(
    job: Path, out: Path, options: tuple[str, ...], *, watch: bool
) -> tuple[Measured, dict[str, Any], float]:
    """One run, what it recorded of itself, and its median interval between rounds."""
    flame = Path(sys.executable).with_name("flame")
    command = [str(flame), "run", str(job), "--out", str(out), "--seed", "1", *options]
    measured = measure(command, environment(), out.parent, watch=watch)
    starts = [one["start"] for one in json.loads((out / "timeline.json").read_text())["rounds"]]
    steady_s = statistics.median(later - earlier for earlier, later in itertools.pairwise(starts))
    return measured, json.loads((out / "run.json").read_text()), steady_s


def floor_side(arguments: tuple[str, ...], scratch: Path) -> Cost:
    """Run a floor, once for its times and once for its memory."""
    module, *rest = arguments
    command = [sys.executable, "-m", f"bench.floors.{module}", *rest]
    timed = measure(command, environment(), scratch, watch=False)
    peak = measure(command, environment(), scratch, watch=True).peak
    said = json.loads(timed.output.splitlines()[-1])
    return Cost(
        timed.wall_s,
        timed.cpu_s,
        said["first_round_at"] - timed.started_at,
        statistics.median(said["rounds_s"]),
        peak,
    )


def _of_aggregator(record: dict[str, Any], measured: Measured) -> dict[str, float]:
    """Memory of the process in which the aggregator lived, where the run says which one that was."""
    host = record.get("placement", {}).get("aggregator/0")
    process = measured.processes.get(record.get("pids", {}).get(str(host), -1))
    if process is None:
        return {}
    return {
        "aggregator": process.high_water,
        "aggregator_shared": process.shared,
        "aggregator_private": process.private,
    }
