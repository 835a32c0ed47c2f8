"""One command for each finding: all arms over several seeds, a table with intervals, and the curves.

`run.py adaptive` looks for what `adaptive.json` asks. An arm has the settings that `tuned/adaptive.json` says were the
best of its grid on seeds that are not reported; `run.py adaptive --tune` writes that file anew.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import federation
from intervals import Curve, Interval, at_end, difference, interval, level, ratio, reached, smoothed
from threadpoolctl import threadpool_limits

from flame.lab.curves import Chart, Series, document

HERE = Path(__file__).resolve().parent
FINDINGS = ("adaptive", "skew", "stragglers", "oort")
TUNING_SEEDS = 101, 102
POINTS = 80

Plan = Mapping[str, Any]
Settings = Mapping[str, Any]


class Task(NamedTuple):
    """One run: an arm with some settings, and a seed."""

    arm: str
    settings: Settings
    seed: int


class Arm(NamedTuple):
    """What an arm's runs came to, seed by seed."""

    curves: list[Curve]
    times: list[float]  # rounds or seconds to the target, at most the horizon
    met: int  # how many were at the target by the horizon
    steady: list[float]  # as `times`, until the mean of a few rounds is at the target
    accuracies: list[float]


def run_all(plan: Plan, tasks: Sequence[Task], args: argparse.Namespace, out: Path) -> list[Curve]:
    """The curve of each task; as many run at a time as there are jobs. Ends with the first that cannot be judged."""
    with ProcessPoolExecutor(args.jobs, initializer=threadpool_limits, initargs=(1,)) as pool:
        waiting = []
        for number, task in enumerate(tasks):
            told = changes(plan, task, args.rounds)
            given = args.npz, plan["sites"], told, plan["counts"], task.seed, out / str(number)
            waiting.append(pool.submit(federation.run, *given))
        try:
            return [finished(plan, task, future.result(), args) for task, future in zip(tasks, waiting, strict=True)]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def finished(plan: Plan, task: Task, curve: Curve, args: argparse.Namespace) -> Curve:
    """The curve of a task, once it is told what came out."""
    told = " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in task.settings.items())
    print(f"{task.arm}, seed {task.seed} ({told}): {curve[-1][1]:.3f}", flush=True)
    try:
        measured(plan, [curve], args.rounds > 0, steady=not args.tune)
    except ValueError as error:
        raise SystemExit(f"{task.arm}, seed {task.seed}: {error}") from None
    return curve


def changes(plan: Plan, task: Task, rounds: int) -> dict[str, Any]:
    """All settings of a run, by their dotted keys."""
    settings = {**plan["settings"], **plan["arms"][task.arm].get("set", {}), **task.settings, **plan["given"]}
    return settings | ({"hyperparameters.rounds": rounds} if rounds else {})


def times(plan: Plan, curves: Sequence[Curve], quick: bool) -> list[float | None]:
    """When each curve is at the target, None if not by the horizon; a quick look ends where its curve ends."""
    return [reached(curve, plan["target"], horizon(plan, curve, quick)) for curve in curves]


def horizon(plan: Plan, curve: Curve, quick: bool) -> float:
    """How far a curve is looked at."""
    return curve[-1][0] if quick else plan["horizon"]


def measured(plan: Plan, curves: list[Curve], quick: bool, *, steady: bool) -> Arm:
    """What some curves come to."""
    ends = [horizon(plan, curve, quick) for curve in curves]
    first = times(plan, curves, quick)
    later = times(plan, list(map(smoothed, curves)), quick) if steady else []
    return Arm(
        curves,
        [end if at is None else at for at, end in zip(first, ends, strict=True)],
        sum(at is not None for at in first),
        [end if at is None else at for at, end in zip(later, ends, strict=False)],
        [at_end(curve, end) for curve, end in zip(curves, ends, strict=True)],
    )


def grid(plan: Plan, arm: str) -> Iterator[dict[str, Any]]:
    """Every point of an arm's grid: what all arms may choose, and what is its own."""
    axes = {**plan["grid"], **plan["arms"][arm].get("grid", {})}
    for point in product(*axes.values()):
        yield dict(zip(axes, point, strict=True))


def tune(name: str, plan: Plan, args: argparse.Namespace) -> None:
    """Try every point of every arm; keep what is soonest at the target, and among equals the most accurate."""
    seeds = TUNING_SEEDS
    tasks = [Task(arm, point, seed) for arm in plan["arms"] for point in grid(plan, arm) for seed in seeds]
    with tempfile.TemporaryDirectory() as out:
        curves = dict(zip(map(str, tasks), run_all(plan, tasks, args, Path(out)), strict=True))
    tried: dict[str, list[dict[str, Any]]] = {}
    for arm in plan["arms"]:
        rows = []
        for point in grid(plan, arm):
            found = measured(
                plan, [curves[str(Task(arm, point, seed))] for seed in seeds], args.rounds > 0, steady=False
            )
            time_, accuracy = interval(found.times).mean, interval(found.accuracies).mean
            rows.append({"settings": point, plan["counts"]: round(time_, 1), "accuracy": round(accuracy, 4)})
        tried[arm] = sorted(rows, key=lambda row: (row[plan["counts"]], -row["accuracy"]))
    tuned = {"seeds": list(seeds), "best first": tried}
    altered = args.rounds or args.sites or args.set or args.npz
    path = args.out / name / "tuned.json" if altered else HERE / "tuned" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tuned, indent=1) + "\n")
    for arm, rows in tried.items():
        print(arm, json.dumps(rows[0]))
    print(f"tuned: {path}")


def report(name: str, plan: Plan, args: argparse.Namespace) -> dict[str, Arm]:
    """Run every arm with its tuned settings over the seeds; print and write what came out."""
    tuned = json.loads((args.tuned or HERE / "tuned" / f"{name}.json").read_text())["best first"]
    settings = {arm: tuned[arm][0]["settings"] for arm in plan["arms"]}
    seeds = range(args.first, args.first + args.seeds)
    tasks = [Task(arm, settings[arm], seed) for arm in plan["arms"] for seed in seeds]
    out = args.out / name
    curves = run_all(plan, tasks, args, out)
    arms = {}
    for number, arm in enumerate(plan["arms"]):
        own = curves[number * args.seeds : (number + 1) * args.seeds]
        arms[arm] = measured(plan, own, args.rounds > 0, steady=True)
    print("\n" + "\n".join(table(plan, arms)))
    used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    print(f"\n{len(tasks)} runs, {used:.0f} s of processor time")
    chart = out / f"{name}.svg"
    chart.write_text(document([drawing(plan, arms)], width=640, height=340))
    rows = {arm: {"settings": settings[arm], **found._asdict()} for arm, found in arms.items()}
    (out / "result.json").write_text(json.dumps({"plan": plan, "seeds": list(seeds), "arms": rows}))
    print(f"curves: {chart}")
    return arms


def table(plan: Plan, arms: Mapping[str, Arm]) -> list[str]:
    """Rows in Markdown: each arm, with its paired difference to the baseline."""
    base, unit = plan["baseline"], plan["counts"]
    minus, over = f"minus {base}", f"over {base}"
    head = [
        "",
        f"reached {plan['target']}",
        f"{unit} to it",
        minus,
        over,
        f"steadily {over}",
        "accuracy at the end",
        minus,
    ]
    rows = [head, ["---", *["--:"] * (len(head) - 1)]]
    for name, arm in arms.items():
        row = [name, f"{arm.met} of {len(arm.times)}", spread(interval(arm.times), 0)]
        row += [spread(difference(arm.times, arms[base].times), 0), spread(ratio(arm.times, arms[base].times), 2)]
        row += [spread(ratio(arm.steady, arms[base].steady), 2), spread(interval(arm.accuracies), 3)]
        row += [spread(difference(arm.accuracies, arms[base].accuracies), 3)]
        if name == base:
            row = [cell if at in (0, 1, 2, 6) else "" for at, cell in enumerate(row)]
        rows.append(row)
    return [f"| {' | '.join(row)} |" for row in rows]


def spread(found: Interval, digits: int) -> str:
    """A mean with its interval."""
    mean, low, high = (f"{value:.{digits}f}".replace("-", "\u2212") for value in found)
    return f"{mean} ({low} to {high})"


def drawing(plan: Plan, arms: Mapping[str, Arm]) -> Chart:
    """Each arm's mean accuracy with its interval, by rounds or seconds."""
    end = min(plan["horizon"], max(curve[-1][0] for arm in arms.values() for curve in arm.curves))
    places = sorted({round(end * at / POINTS) for at in range(1, POINTS + 1)} - {0})
    lines = []
    for name, arm in arms.items():
        at = {x: [level(curve, x) for curve in arm.curves] for x in places}
        found = {x: interval(values) for x, values in at.items() if not any(value != value for value in values)}
        band = [(x, each.low, each.high) for x, each in found.items()]
        lines.append(Series(name, [(x, each.mean) for x, each in found.items()], band))
    unit = "round" if plan["counts"] == "rounds" else "simulated seconds"
    return Chart(f"{plan['title']}: {federation.METRIC}", lines, target=plan["target"], x_label=unit)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and look for a finding."""
    parser = argparse.ArgumentParser(description="Look for a paper's finding on real images.")
    parser.add_argument("finding", choices=FINDINGS)
    parser.add_argument("--seeds", type=int, default=10, help="how many are reported")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first of them; others follow")
    parser.add_argument("--tune", action="store_true", help="choose the settings anew, on other seeds")
    parser.add_argument("--rounds", type=int, default=0, help="a quick look: so many rounds, whatever the horizon")
    parser.add_argument("--sites", type=json.loads, metavar="JSON", help='other sites: {"number": 9, "alpha": 10}')
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another setting of every arm")
    parser.add_argument("--npz", default="", metavar="FILE", help="a MedMNIST file, instead of the colon section")
    parser.add_argument("--tuned", type=Path, metavar="FILE", help="settings that --tune wrote elsewhere")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many runs at a time")
    parser.add_argument("--out", type=Path, default=Path("runs") / "findings")
    args = parser.parse_args(arguments)
    if args.seeds < 2:
        parser.error("--seeds: an interval needs two or more")
    if set(TUNING_SEEDS) & set(range(args.first, args.first + args.seeds)):
        parser.error(f"--first: seeds {TUNING_SEEDS} were tuned with")
    plan = json.loads((HERE / f"{args.finding}.json").read_text())
    plan["sites"] = args.sites or plan["sites"]
    plan["given"] = {key: json.loads(value) for key, _, value in (text.partition("=") for text in args.set)}
    (tune if args.tune else report)(args.finding, plan, args)


if __name__ == "__main__":
    main()
