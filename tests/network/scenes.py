"""A star or a tree of two branches that stands still in one phase of a round, so that something can go wrong there."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

from federation import Federation

PHASES = ["joins", "waits", "trains", "is read", "ends"]
LARGE = 20_000_000
"""Elements of a model that is larger than what is read at once: its updates lie where they were made."""


class Scene:
    """Two branches below one aggregator, "stays" and "goes": two trainers, or two regions with a trainer each.

    A round of both adds 2 to the model, one of "stays" alone 1. The program below the top of the branch "goes" is the
    one to which something happens (`one`); `leaf` is its trainer in a tree, itself in a star.

    Args:
        net: where they run.
        shape: "star" or "tree".
        phase: where they stand still: `one` is "joins", "waits" for an order, "trains" (or its trainer does), has an
            update that "is read" by the top, or waits for the end of training ("ends").
        rounds: how many there are; the phases in between are those of round 2.
        hyper: what else the top is told.
    """

    def __init__(self, net: Federation, shape: str, phase: str, rounds: int, **hyper: Any) -> None:
        self.net, self.phase, self._tree, self._rounds = net, phase, shape == "tree", rounds
        self._hyper = {"minPeers": 1 if phase == "joins" else 2, **hyper}
        self.size = LARGE if phase == "is read" else 10
        self._below = {name: f"{name}-site" if self._tree else name for name in ("goes", "stays")}
        self.top: subprocess.Popen[str]
        self.one, self.leaf = self.branch("goes", 3.0, holdIn=2 if phase == "trains" else 0)
        if phase == "joins":
            net.reaches("goes", "loading")
        else:
            self._others()
            self._stand_still()

    def branch(self, name: str, step: float, **hyper: Any) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
        """Start a branch: what is below the top, and its trainer."""
        more = {"learningRate": step, "size": self.size, **hyper}
        if not self._tree:
            site = self.net.site(name, **more)
            return site, site
        return self.net.region(name), self.net.local(self._below[name], name, **more)

    def stops(self) -> None:
        """Stop the one, and let the others go on, so that they need it."""
        self.one.send_signal(signal.SIGSTOP)
        self.goes_on()

    def goes_on(self) -> None:
        """Let everybody go on who stands still."""
        if self.phase == "joins":
            self._others()
        for name in ("top", *self._below.values()):
            if not (name == "top" and "holdIn" in self._hyper and self.phase != "ends"):
                self.net.go(name)

    def dies(self) -> None:
        """Kill the one; where its update is read, in the middle of that."""
        if self.phase == "is read":
            self.stops()
            self.net.reaches("stays", "sent-2")
        self.one.kill()
        self.one.wait()
        self.goes_on()

    def _others(self) -> None:
        hold = {"holdIn": self._rounds} if self.phase == "ends" else {}
        hyper = {"rounds": self._rounds, "size": self.size, **hold, **self._hyper}
        self.top = self.net.summit(**hyper) if self._tree else self.net.top(**hyper)
        self.other, self.other_leaf = self.branch("stays", 1.0, holdIn=2 if self.phase in ("waits", "is read") else 0)

    def _stand_still(self) -> None:
        if self.phase == "ends":
            self.net.reaches("top", f"round-{self._rounds}")
        elif self.phase == "trains":
            self.net.reaches(self._below["goes"], "round-2")
        else:
            self.net.reaches("goes", "sent-2")
            self.net.reaches(self._below["stays"], "round-2")
