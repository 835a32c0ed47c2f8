"""One command: four optimizers, and what a site reaches alone, side by side.

Runs what `compare.json` lists (or the runs named on the command line), prints a table, and writes the
curves to `runs/compare-medmnist/compare.html`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flame.cli import main as flame
from flame.lab.report import compare as curves
from flame.lab.result import Result

HERE = Path(__file__).resolve().parent


class Row(NamedTuple):
    """What one run reached; several aggregators in a run are federations that never meet."""

    name: str
    final: list[float]  # the metric in the last round, for each aggregator
    reached: list[int | None]  # the first round at the target, for each aggregator
    run_dir: Path


def run(name: str, plan: Mapping[str, Any], out: Path, options: Sequence[str]) -> Row:
    """Run one row of the plan, as `flame run` would; `options` are more of its options."""
    row = plan["runs"][name]
    run_dir = out / name.replace(" ", "-")
    command = ["run", str(HERE), "--out", str(run_dir), *options]
    command += [f"--{key}={HERE / row[key]}" for key in ("schema", "data") if key in row]
    command += [f"--set={key}={json.dumps(value)}" for key, value in row.get("set", {}).items()]
    print(f"\n{name}")
    if status := flame(command):
        raise SystemExit(status)
    per_aggregator = Result(run_dir).series(plan["metric"], role="aggregator").values()
    reached = [next((r for r, value in curve if value >= plan["target"]), None) for curve in per_aggregator]
    return Row(name, [curve[-1][1] for curve in per_aggregator], reached, run_dir)


def table(rows: Sequence[Row], plan: Mapping[str, Any]) -> str:
    """The rows for a terminal."""
    lines = [f"{'run':24}{'final ' + plan['metric']:>22}{'rounds to ' + str(plan['target']):>16}"]
    for row in rows:
        mean = sum(row.final) / len(row.final)
        rounds = [r for r in row.reached if r is not None]
        if len(row.final) == 1:
            lines.append(f"{row.name:24}{mean:22.3f}{rounds[0] if rounds else 'never':>16}")
        else:
            met = f"{len(rounds)} of {len(row.final)} did"
            lines.append(f"{row.name + ' (mean)':24}{mean:22.3f}{met:>16}")
            lines.append(f"{'  best, worst':24}{f'{max(row.final):.3f}, {min(row.final):.3f}':>22}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Read the command line, run, and print."""
    plan = json.loads((HERE / "compare.json").read_text())
    parser = argparse.ArgumentParser(description="Compare optimizers on the Med-MNIST federation.")
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(plan['runs'])}")
    parser.add_argument("--out", type=Path, default=Path("runs") / "compare-medmnist")
    parser.add_argument("--rounds", type=int, default=0, help="other than modelSpec.json says")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.runs if name not in plan["runs"]]:
        parser.error(f"no run named {', '.join(unknown)}; there are: {', '.join(plan['runs'])}")
    chosen = args.runs or list(plan["runs"])
    options = [f"--seed={args.seed}"] + [f"--set=hyperparameters.rounds={args.rounds}"] * bool(args.rounds)
    rows = [run(name, plan, args.out, options) for name in chosen]
    print("\n" + table(rows, plan))
    target = plan["metric"], plan["target"]
    page = curves([row.run_dir for row in rows], args.out / "compare.html", target=target)
    print(f"curves: {page}")
    return rows


if __name__ == "__main__":
    main()
