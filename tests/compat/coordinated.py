"""Coordinated federations in upstream's form: each worker's config, and a process for each."""

from __future__ import annotations

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
        text = (PROGRAMS / f"coord_{name}.py").read_text()
        path = self.machine.folder / f"{self.mode}_{name}.py"
        path.write_text(text.replace("horizontal.coord_syncfl", f"horizontal.{self.mode}"))
        return path.with_suffix("")
