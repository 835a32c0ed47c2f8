"""A star or a tree of two branches that stands still in one phase of a round, so that something can go wrong there."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

from federation import Federation

PHASES = ["joins", "waits", "trains", "is read", "ends"]
LARGE = 20_000_000
"""Elements of a model that is larger than what is read at once: its updates lie where they were made."""

Program = subprocess.Popen[str]


class Scene:
    """Two branches below one aggregator, "stays" and "goes": two trainers, or two regions with a trainer each.

    A round of both adds 2 to the model, one of "stays" alone 1. Something happens to `one`: the trainer "goes" of a
    star, or the region "goes" of a tree.

    Args:
        net: where they run.
        shape: "star" or "tree".
        phase: what `one` does: it "joins", "waits" for an order, "trains" (or its trainer does), has an update that
            "is read" by the top, or waits for the end of training ("ends").
        rounds: how many there are; the phases in between are those of round 2.
        hyper: what else the top is told.

    Attributes:
        top, one, other: the programs, of which `other` stays.
        leaves: the trainers by branch; in a star these are the branches.
    """

    def __init__(self, net: Federation, shape: str, phase: str, rounds: int, **hyper: Any) -> None:
        self._net, self._phase, self._tree, self._rounds = net, phase, shape == "tree", rounds
        self._hyper = {"minPeers": 1 if phase == "joins" else 2, **hyper}
        self._size = LARGE if phase == "is read" else 10
        self.leaves: dict[str, Program] = {}
        self.one = self.root("goes")
        if phase == "joins":
            net.reaches("goes", "loading")
        else:
            self._others()
            self._stand_still()

    def root(self, name: str) -> Program:
        """Start a branch."""
        return self._net.region(name) if self._tree else self.leaf(name)

    def leaf(self, name: str) -> Program:
        """Start the trainer of a branch."""
        holds = self._phase == "trains" if name == "goes" else self._phase in ("waits", "is read")
        hyper = {
            "learningRate": 3.0 if name == "goes" else 1.0,
            "size": self._size,
            "holdIn": 2 if holds else 0,
        }
        end = self._leaf(name)
        self.leaves[name] = self._net.local(end, name, **hyper) if self._tree else self._net.site(end, **hyper)
        return self.leaves[name]

    def stops(self) -> None:
        """Stop the one, and let the others go on, so that they need it."""
        self.one.send_signal(signal.SIGSTOP)
        self._go_on()

    def dies(self) -> None:
        """Kill the one, and let the others go on; where its update is read, in the middle of that."""
        if self._phase == "is read":
            self.stops()
            self._net.reaches("stays", "sent-2")
        self.one.kill()
        self.one.wait()
        self._go_on()

    def _go_on(self) -> None:
        if self._phase == "joins":
            self._others()
        for name in ("goes", "stays"):
            self._net.go(self._leaf(name))
        if self._phase == "ends":
            self._net.go("top")

    def _others(self) -> None:
        hyper = {"rounds": self._rounds, "size": self._size, **self._hyper}
        if self._phase == "ends":
            hyper["holdIn"] = self._rounds
        self.top = self._net.summit(**hyper) if self._tree else self._net.top(**hyper)
        self.other = self.root("stays")
        if self._tree:
            self.leaf("goes")
            self.leaf("stays")

    def _stand_still(self) -> None:
        if self._phase == "ends":
            self._net.reaches("top", f"round-{self._rounds}")
        elif self._phase == "trains":
            self._net.reaches(self._leaf("goes"), "round-2")
        else:
            self._net.reaches("goes", "sent-2")
            self._net.reaches(self._leaf("stays"), "round-2")

    def _leaf(self, name: str) -> str:
        return f"{name}-site" if self._tree else name
