"""`python -m bench [A B C D E N P]`: measure, print a table, write bench/results.json."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from bench import compression, expansion, network
from bench.measure import Failed, supported
from bench.workloads import WORKLOADS, run

RESULTS = Path(__file__).with_name("results.json")
NAMES = ("A", "B", "C", "D", "E", "N", "P")


def main(arguments: list[str]) -> int:
    """Run the named workloads, or all; 0 if they could be measured, whether or not they reach their targets."""
    names = [argument.upper() for argument in arguments] or list(NAMES)
    unknown = set(names) - set(NAMES)
    if unknown or not supported():
        print(
            f"no workload {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
            if unknown
            else "bench needs Linux",
            file=sys.stderr,
        )
        return 2
    print(f"{platform.platform()} · Python {platform.python_version()} · {os.cpu_count()} cores\n")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    failed = False
    for name in names:
        try:
            results[name] = one(name)
        except Failed as problem:
            print(f"{name}  could not be measured\n{problem}\n", file=sys.stderr)
            failed = True
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=2) + "\n")
    print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")
    return 1 if failed else 0


def one(name: str) -> dict[str, Any]:
    """Measure one workload and print its block of the table."""
    others = {"D": of_expansion, "N": network.measure, "P": compression.measure}
    result = run(name) if name in WORKLOADS else others[name]()
    print(f"{name}  {result['what']}")
    if "floor" in result:
        show_costs(result)
    if name == "P":
        compression.show(result)
    for target in result["targets"]:
        verdict = "reached" if target["met"] else "MISSED"
        print(
            f"   {verdict:8}{target['what']}: {target['measured']:.3g}{target['unit']}"
            f" (at most {target['limit']:g}{target['unit']})"
        )
    print(flush=True)
    return result


def of_expansion() -> dict[str, Any]:
    """Workload D as an object of the same form; pure Python has no PyTorch floor."""
    measured = expansion.measure()
    targets = []
    for row in measured.values():
        what = f"{row['workers']:,} workers in {row['groups']:,} groups"
        targets += [
            {"what": what, "measured": row["seconds"], "limit": row["limit_s"], "unit": " s"},
            {"what": f"{what}, memory", "measured": row["peak_mb"], "limit": row["limit_mb"], "unit": " MB"},
        ]
    return {
        "workload": "D",
        "what": "expansion of a TAG into its workers",
        "measured": measured,
        "targets": [{**target, "met": target["measured"] <= target["limit"]} for target in targets],
    }


def show_costs(result: dict[str, Any]) -> None:
    """Print the rows of a workload: Flame, its floors, and their ratio."""
    floor = result["floor"]
    print(f"   {'':16}{'command':>10}{'cpu':>10}{'start-up':>10}{'a round':>11}{'peak':>10}")
    for label, cost in (("flame", result), ("floor", floor), *result["other_floors"].items()):
        print(
            f"   {label:16}{cost['wall_s']:>8.1f} s{cost['cpu_s']:>8.1f} s{cost['start_up_s']:>8.1f} s"
            f"{cost['round_s']:>9.3f} s{cost['peak'] / 1e6:>7.0f} MB"
        )
    ratio = result["ratio"]
    print(
        f"   {'ratio':16}{ratio['wall_s']:>8.2f} x{ratio['cpu_s']:>8.2f} x"
        f"{'':10}{ratio['round_s']:>9.2f} x{ratio['peak']:>7.2f} x"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
