"""Run directories like those that `flame run` writes, made up from a seed."""

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

TAG = {
    "name": "medmnist",
    "roles": [
        {"name": "trainer", "isDataConsumer": True, "groupAssociation": [{"param-channel": "default"}]},
        {"name": "top-aggregator", "groupAssociation": [{"param-channel": "default"}]},
    ],
    "channels": [
        {
            "name": "param-channel",
            "pair": ["trainer", "top-aggregator"],
            "groupBy": {"type": "tag", "value": ["default"]},
            "funcTags": {"trainer": ["fetch", "upload"], "top-aggregator": ["distribute", "aggregate"]},
        }
    ],
}

TRACEBACK = """Traceback (most recent call last):
  File "trainer/main.py", line 58, in train
    loss = self.criterion(self.model(x), y)
  File "trainer/main.py", line 31, in criterion
    raise ValueError("labels <0> are out of range & \\"odd\\"")
ValueError: labels <0> are out of range & "odd"
"""


def make(
    path: Path,
    *,
    sites: int = 10,
    rounds: int = 12,
    seed: int = 7,
    per_round: int | None = None,
    final: float = 0.86,
    name: str = "medmnist",
    failed: bool = False,
    settings: dict[str, Any] | None = None,
) -> Path:
    """A run of a star: every site measures a loss and an accuracy, and so does the aggregator."""
    path.mkdir(parents=True)
    rng = random.Random(seed)
    offsets = [rng.gauss(0, 0.05) for _ in range(sites)]
    records, spans, table = [], [], []
    clock = 1.4
    for at in range(1, rounds + 1):
        start, reach = clock, final * (1 - math.exp(-at / 3))
        asked = sorted(rng.sample(range(sites), per_round or sites))
        for turn, site in enumerate(asked):
            worker, host = f"trainer/{site}", site % 2
            accuracy = min(0.99, max(0.05, reach + offsets[site] + rng.gauss(0, 0.015)))
            values = {"train-loss": 2.2 * math.exp(-at / 4) + rng.random() * 0.2, "test-accuracy": accuracy}
            row = {
                "round": at,
                "worker": worker,
                "role": "trainer",
                "dataset": f"file:data/site_{site:03d}.npz",
            }
            records.append(row | {"seconds": clock + 0.4, "values": values})
            took = 0.3 + 0.1 * rng.random()
            begin = clock + 0.02 + took * (turn // 2)
            for alias, seconds in (
                ("fetch", begin - clock),
                ("train", took),
                ("evaluate", 0.05),
                ("upload", 0.012),
            ):
                spans.append(
                    span(
                        worker,
                        "trainer",
                        host,
                        alias,
                        at,
                        begin - (alias == "fetch") * (begin - clock),
                        seconds,
                    )
                )
                begin += seconds if alias != "fetch" else 0.0
        length = 0.1 + 0.4 * math.ceil(len(asked) / 2)
        aggregator = ("top-aggregator/0", "top-aggregator", 0)
        spans.append(span(*aggregator, "distribute", at, clock, 0.03))
        spans.append(span(*aggregator, "aggregate", at, clock + 0.03, length - 0.2))
        spans.append(span(*aggregator, "evaluate", at, clock + length - 0.17, 0.15))
        clock += length
        row = {"round": at, "worker": "top-aggregator/0", "role": "top-aggregator", "dataset": ""}
        values = {"test-loss": 2.1 * math.exp(-at / 5) + 0.1, "test-accuracy": reach + rng.gauss(0, 0.005)}
        records.append(row | {"seconds": clock, "values": values})
        table.append(
            {
                "round": at,
                "start": start,
                "seconds": length,
                "asked": len(asked),
                "folded": len(asked),
                "bytes": 48_213,
                "worker": "top-aggregator/0",
            }
        )
    facts = {
        "id": f"20250301-101500-{seed}",
        "name": name,
        "seed": seed,
        "hosts": 2,
        "started": "2025-03-01T10:15:00+00:00",
        "seconds": clock + 0.3,
        "status": "failed" if failed else "completed",
        "rounds": rounds,
        "workers": sites + 1,
        "roles": {"top-aggregator": 1, "trainer": sites},
        "start_up_s": 1.4,
        "bytes_sent": 48_213 * rounds * 2,
        "messages": rounds * sites * 2,
        "command": "flame run examples/medmnist --hosts 2 --seed 7",
        "settings": settings
        or {"hyperparameters": {"rounds": rounds, "batchSize": 32}, "optimizer": {"sort": "fedavg"}},
    }
    if failed:
        facts["error"] = {"worker": "trainer/3", "role": "trainer", "traceback": TRACEBACK}
    dump(path / "run.json", facts)
    dump(path / "tag.json", TAG)
    dump(path / "metrics.json", {"records": records})
    dump(path / "timeline.json", {"spans": spans[:20_000], "totals": totals(spans), "rounds": table})
    (path / "configs.jsonl").write_text("".join(json.dumps(config(at, sites)) + "\n" for at in range(sites + 1)))
    with (path / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["round", "worker", "role", "name", "value", "seconds"])
    return path


def span(worker: str, role: str, host: int, alias: str, at: int, start: float, seconds: float) -> dict[str, Any]:
    return {
        "worker": worker,
        "role": role,
        "host": host,
        "alias": alias,
        "round": at,
        "start": round(start, 5),
        "seconds": round(seconds, 5),
    }


def totals(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[float]] = {}
    for row in spans:
        found.setdefault((row["role"], row["alias"]), []).append(row["seconds"])
    return [{"role": r, "alias": a, "count": len(s), "seconds": sum(s)} for (r, a), s in found.items()]


def config(at: int, sites: int) -> dict[str, Any]:
    role = "trainer" if at < sites else "top-aggregator"
    dataset = f"file:data/site_{at:03d}.npz" if at < sites else ""
    return {
        "taskid": f"{at:040x}",
        "role": role,
        "groupAssociation": {"param-channel": "default"},
        "dataset": dataset,
    }


def dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def change(path: Path, **facts: object) -> None:
    """Overwrites facts of a run directory's run.json."""
    dump(path / "run.json", json.loads((path / "run.json").read_text()) | facts)


def as_tree(path: Path, regions: tuple[str, ...] = ("eu", "na")) -> Path:
    """Puts a tier of middle aggregators, one per region, into a run made by `make`."""
    associations = [{"param-channel": region, "global-channel": "default"} for region in regions]
    leaves = [{"param-channel": region} for region in regions]
    tag = {
        "name": "by region",
        "roles": [
            {"name": "trainer", "isDataConsumer": True, "groupAssociation": leaves},
            {"name": "middle-aggregator", "groupAssociation": associations},
            {"name": "top-aggregator", "groupAssociation": [{"global-channel": "default"}]},
        ],
        "channels": [
            {
                "name": "param-channel",
                "pair": ["trainer", "middle-aggregator"],
                "groupBy": {"type": "tag", "value": list(regions)},
                "funcTags": {
                    "trainer": ["fetch", "upload"],
                    "middle-aggregator": ["distribute", "aggregate"],
                },
            },
            {
                "name": "global-channel",
                "pair": ["middle-aggregator", "top-aggregator"],
                "groupBy": {"type": "tag", "value": ["default"]},
                "funcTags": {
                    "middle-aggregator": ["fetch", "upload"],
                    "top-aggregator": ["distribute", "aggregate"],
                },
            },
        ],
    }
    facts = json.loads((path / "run.json").read_text())
    sites = facts["roles"]["trainer"]
    rows = [("trainer", leaves[at % len(leaves)], f"file:data/site_{at:03d}.npz") for at in range(sites)]
    rows += [("middle-aggregator", groups, "") for groups in associations]
    rows += [("top-aggregator", {"global-channel": "default"}, "")]
    configs = [
        {"taskid": f"{at:040x}", "role": role, "groupAssociation": groups, "dataset": dataset}
        for at, (role, groups, dataset) in enumerate(rows)
    ]
    (path / "configs.jsonl").write_text("".join(json.dumps(config) + "\n" for config in configs))
    dump(path / "tag.json", tag)
    change(path, workers=len(rows), roles=facts["roles"] | {"middle-aggregator": len(regions)})
    return path


def without_rounds(path: Path) -> Path:
    """A run of a job that has no rounds: questions were asked and answered, and nobody closed a round."""
    make(path, sites=4, rounds=1)
    timeline = json.loads((path / "timeline.json").read_text())
    dump(path / "timeline.json", timeline | {"rounds": []})
    seconds = json.loads((path / "run.json").read_text())["seconds"]
    change(path, rounds=0, rounds_asked=1, start_up_s=seconds)
    rows = json.loads((path / "metrics.json").read_text())["records"]
    values = {"count": 920, "mean": 53.51, "quantile-0.5": 54.0}
    dump(path / "metrics.json", {"records": [rows[-1] | {"values": values}]})
    return path
