"""Workload P: what packing weights costs and saves.

The Med-MNIST federation, over some seeds, with each compression: what it reaches, what it sends, how long it takes. And
how fast 25 million float32 are packed and unpacked, in one thread.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import measure as measured
from bench.workloads import environment
from flame.compression.packed import Packed, pack
from flame.extend import lookup
from flame.weights.layout import Weights

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "medmnist"
SEEDS = range(1, 6)
CHOICES: dict[str, Any] = {
    "none": None,
    "fp16": "fp16",
    "int8": "int8",
    "topk 10 %": {"sort": "topk", "kwargs": {"keep": 0.1}},
    "topk 1 %": {"sort": "topk", "kwargs": {"keep": 0.01}},
}
NUMBERS, TIMES = 25_000_000, 3


def measure() -> dict[str, Any]:
    """Workload P as an object of results.json."""
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join(part for part in (env["PYTHONPATH"], os.environ.get("PYTHONPATH", "")) if part)
    subprocess.run([sys.executable, str(EXAMPLE / "prepare.py")], env=env, check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="flame-bench-") as folder:
        runs = {name: [_run(choice, seed, Path(folder), env) for seed in SEEDS] for name, choice in CHOICES.items()}
    rows = {name: _summed_up(some) for name, some in runs.items()}
    speeds = {name: _speed(choice) for name, choice in CHOICES.items() if choice is not None}
    none, int8 = rows["none"], rows["int8"]
    lost = none["accuracy"] - int8["accuracy"]
    part = (int8["up"] + int8["down"]) / (none["up"] + none["down"])
    targets = [
        {"what": "int8: accuracy lost", "measured": 100 * lost, "limit": 1.0, "unit": " points"},
        {"what": "int8: bytes / uncompressed", "measured": part, "limit": 0.3, "unit": " x"},
    ]
    return {
        "workload": "P",
        "what": f"compressed channels: Med-MNIST over {len(SEEDS)} seeds, and 25M float32",
        "federations": rows,
        "throughput": speeds,
        "targets": [{**target, "met": target["measured"] <= target["limit"]} for target in targets],
    }


def show(result: dict[str, Any]) -> None:
    """Print both tables."""
    print(f"   {'':12}{'accuracy':>18}{'updates':>14}{'orders':>14}{'command':>10}")
    for name, row in result["federations"].items():
        print(
            f"   {name:12}{row['accuracy']:>10.3f} ± {row['spread']:.3f}{row['up'] / 1e3:>8.1f} kB/rd"
            f"{row['down'] / 1e3:>8.1f} kB/rd{row['seconds']:>8.1f} s"
        )
    print(f"   {'25M float32':12}{'pack':>13}{'unpack':>13}{'smaller':>10}")
    for name, row in result["throughput"].items():
        print(f"   {name:12}{row['pack']:>8.2f} GB/s{row['unpack']:>8.2f} GB/s{row['ratio']:>8.1f} x")


def _run(choice: Any, seed: int, scratch: Path, env: dict[str, str]) -> dict[str, float]:
    """One federation; bytes are of one round, updates up and orders down."""
    out = scratch / "out"
    flame = str(Path(sys.executable).with_name("flame"))
    change = [] if choice is None else ["--set", f"channels.param-channel.compression={json.dumps(choice)}"]
    command = [flame, "run", str(EXAMPLE), "--out", str(out), "--seed", str(seed), *change]
    cost = measured(command, env, scratch, watch=False)
    facts = json.loads((out / "run.json").read_text())
    rounds = json.loads((out / "timeline.json").read_text())["rounds"]
    records = json.loads((out / "metrics.json").read_text())["records"]
    last = [row["values"]["test-accuracy"] for row in records if row["role"] == "aggregator"][-1]
    down = rounds[-1]["bytes"]
    return {
        "accuracy": last,
        "up": (facts["bytes_sent"] - down) / facts["rounds"],
        "down": down / facts["rounds"],
        "seconds": cost.wall_s,
    }


def _summed_up(runs: list[dict[str, float]]) -> dict[str, float]:
    """Means, and the standard deviation of the accuracy."""
    means = {key: statistics.mean(run[key] for run in runs) for key in runs[0]}
    return {**means, "spread": statistics.stdev(run["accuracy"] for run in runs)}


def _speed(choice: Any) -> dict[str, float]:
    """GB/s of float32 in and out, the best of a few."""
    sort, kwargs = (choice, {}) if isinstance(choice, str) else (choice["sort"], choice["kwargs"])
    values = np.random.default_rng(0).standard_normal((5_000, NUMBERS // 5_000), np.float32) * np.float32(0.01)
    weights, out = Weights.pack({"w": values}), np.empty(4 * NUMBERS, np.uint8)
    compressor = lookup("compression", sort)(**kwargs)
    pack_s, unpack_s = [], []
    for _ in range(TIMES):
        start = time.perf_counter()
        source = pack(weights, sort, compressor).source
        pack_s.append(time.perf_counter() - start)
        assert isinstance(source, Packed)
        start = time.perf_counter()
        source.read(0, out)
        unpack_s.append(time.perf_counter() - start)
    size = weights.nbytes / 1e9
    return {
        "pack": size / min(pack_s),
        "unpack": size / min(unpack_s),
        "ratio": weights.nbytes / source.packed_nbytes,
    }
