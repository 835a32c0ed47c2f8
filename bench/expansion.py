"""How long expansion takes and how much memory it needs: two TAGs of three tiers, each measured in a process
of its own.

`python bench/expansion.py` prints a table; `measure()` returns the numbers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

WORKLOADS = {
    "million": {"workers": 1_000_000, "groups": 100, "limit_s": 5.0, "limit_mb": 1000.0},
    "groups": {"workers": 100_000, "groups": 1_000, "limit_s": 0.5, "limit_mb": 1000.0},
}

_CHILD = """
import json, resource, sys, time
from flame.tag import expand, template
workers, groups = map(int, sys.argv[1:])
names = [f"region-{i:04}" for i in range(groups)]
tag = template("hierarchical", regions=names)
share = workers // groups
data = {"trainer": {name: [f"file:///data/{name}/{i:07}.npz" for i in range(share)] for name in names}}
start, cpu = time.perf_counter(), time.process_time()
specs = expand(tag, data, job_id="bench")
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
assert len({spec.task_id for spec in specs}) == len(specs) == share * groups + groups + 1
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"workers": len(specs), "seconds": seconds, "cpu_s": cpu,
"peak_mb": peak / 1024}))
"""


def measure() -> dict[str, dict[str, Any]]:
    """For each workload: workers, wall and CPU seconds of `expand`, peak MB of the process, the limits."""
    found: dict[str, dict[str, Any]] = {}
    for name, load in WORKLOADS.items():
        command = [sys.executable, "-P", "-c", _CHILD, str(load["workers"]), str(load["groups"])]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[name] = {
            **json.loads(output),
            "groups": load["groups"],
            "limit_s": load["limit_s"],
            "limit_mb": load["limit_mb"],
        }
    return found


def main() -> int:
    """Prints the table; the status is 1 when a limit is passed."""
    rows = measure()
    print(f"{'workload':<10}{'workers':>11}{'groups':>8}{'wall s':>9}{'limit':>7}{'peak MB':>9}{'limit':>7}")
    for name, row in rows.items():
        print(
            f"{name:<10}{row['workers']:>11,}{row['groups']:>8,}{row['seconds']:>9.2f}{row['limit_s']:>7.1f}"
            f"{row['peak_mb']:>9.0f}{row['limit_mb']:>7.0f}"
        )
    return int(any(row["seconds"] > row["limit_s"] or row["peak_mb"] > row["limit_mb"] for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
