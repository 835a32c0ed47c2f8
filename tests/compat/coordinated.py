"""Coordinated federations in upstream's form: each worker's config, and a process for each."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

from upstream import PROGRAMS, Machine, channel, config, until

DOWN, UP = ["distribute", "aggregate"], ["fetch", "upload"]
SYNC, DEEP, ASYNC = "coord_syncfl", "lifl_coord_syncfl", "coord_asyncfl"

TIERS = {
    SYNC: ["top-aggregator", "middle-aggregator", "trainer"],
    ASYNC: ["top-aggregator", "middle-aggregator", "trainer"],
    DEEP: ["top-aggregator", "middle-aggregator", "leaf-aggregator", "trainer"],
}
SPOKEN = {"top-aggregator": "TopAgg", "middle-aggregator": "MidAgg", "leaf-aggregator": "LeafAgg", "trainer": "Trainer"}
NAMES = {"top-aggregator": "global", "middle-aggregator": "hier", "leaf-aggregator": "param"}


def channels(mode: str) -> list[dict[str, Any]]:
    """Those of data, from the top, and those of the coordinator."""
    tiers = TIERS[mode]
    data = [
        channel(f"{NAMES[above] if below != 'trainer' else 'param'}-channel", {above: DOWN, below: UP})
        for above, below in pairwise(tiers)
    ]
    talk = [
        channel(
            f"{tier.replace('aggregator', 'agg')}-coord-channel",
            {tier: ["coordinate"], "coordinator": [f"coordinateWith{SPOKEN[tier]}"]},
        )
        for tier in tiers
    ]
    return [*data, *talk]


def job_folder(folder: Path, mode: str) -> Path:
    """The same federation as a job: a schema, and a folder with a program for each role."""
    roles = [
        {
            "name": role,
            "isDataConsumer": role == "trainer",
            "replica": 2 if "middle" in role or "leaf" in role else 1,
            "groupAssociation": [{one["name"]: "default" for one in channels(mode) if role in one["pair"]}],
        }
        for role in [*TIERS[mode], "coordinator"]
    ]
    optimizer = {"sort": "fedbuff" if mode == ASYNC else "fedavg", "kwargs": {}}
    hyper = {"rounds": 4, "batchSize": 32, "learningRate": 1.0, "samples": 10, "aggGoal": 1}
    files = {
        "schema.json": {"name": mode, "roles": roles, "channels": channels(mode)},
        "dataSpec.json": [{"role": "trainer", "datasetGroups": {"default": ["one", "one", "one"]}}],
        "dataset1.json": {"name": "one", "url": "file:///nowhere/mnist.npz", "dataFormat": "npz", "realm": "default"},
        "modelSpec.json": {
            "baseModel": {"name": "", "version": 1},
            "hyperparameters": hyper,
            "selector": {"sort": "default", "kwargs": {}},
            "optimizer": optimizer,
        },
        "job.json": {
            "name": "job",
            "designId": mode,
            "backend": "mqtt",
            "maxRunTime": 1800,
            "dataSpecPath": "dataSpec.json",
            "modelSpecPath": "modelSpec.json",
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    for role in roles:
        program = folder / str(role["name"]) / "main.py"
        program.parent.mkdir()
        program.write_text(text_of(str(role["name"]).replace("-", "_"), mode))
    return folder


def text_of(program: str, mode: str) -> str:
    """A program for a mode: it only imports from another path."""
    return (PROGRAMS / f"coord_{program}.py").read_text().replace("horizontal.coord_syncfl", f"horizontal.{mode}")


class Town:
    """The processes of one coordinated federation.

    Args:
        machine: where they run.
        mode: upstream's name of the mode.
        common: keys of every worker's config.
    """

    def __init__(self, machine: Machine, mode: str, **common: Any) -> None:
        self.machine, self.mode, self.common = machine, mode, common
        self.hyper: dict[str, Any] = common.pop("hyper", {})

    def start(self, role: str, name: str, program: str = "", **hyper: Any) -> subprocess.Popen[str]:
        mine = [one for one in channels(self.mode) if role in one["pair"]]
        groups = {one["name"]: "default" for one in mine}
        content: dict[str, Any] = config(role, mine, groups, hyper={**self.hyper, **hyper}, **self.common)
        if role == "coordinator":  # upstream's leave these out
            content = {
                key: value for key, value in content.items() if key not in ("optimizer", "registry", "baseModel")
            }
        return self.machine.start(str(self.program(program or role.replace("-", "_"))), content, name)

    def middles(self) -> dict[str, subprocess.Popen[str]]:
        """Two aggregators in each tier between the top and the trainers."""
        tiers = TIERS[self.mode][1:-1]
        return {f"{tier[0]}{number}": self.start(tier, f"{tier[0]}{number}") for tier in tiers for number in range(2)}

    def lead(self, *there: str, program: str = "", **hyper: Any) -> dict[str, subprocess.Popen[str]]:
        """Once these are there, the coordinator and the top: whoever comes later might find the training over."""
        for name in there:
            until(self.machine.sign(name, "loading").exists, f"{name} is there")
        return {
            "coordinator": self.start("coordinator", "coordinator", **hyper),
            "top": self.start("top-aggregator", "top", program),
        }

    def program(self, name: str) -> Path:
        """The program for this mode, which only imports from another path."""
        path = self.machine.folder / f"{self.mode}_{name}.py"
        path.write_text(text_of(name, self.mode))
        return path.with_suffix("")
