"""A star or a tree of two branches that stands still in one phase of a round, so that something can go wrong there."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from typing import Any

from federation import Federation

PHASES = ["joins", "waits", "trains", "is read", "ends"]
LARGE = 17_000_000
"""Elements of a model that is larger than what is read at once: its updates lie where they were made."""

Program = subprocess.Popen[str]


class Pair:
    """Two branches below one aggregator, "stays" and "goes": two trainers, or two regions with a trainer each.

    A round of both adds 2 to the model, one of "stays" alone 1. Something happens to `one`: the trainer "goes" of a
    star, or the region "goes" of a tree. It is started at once, the others later.

    Args:
        net: where they run.
        shape: "star" or "tree".
        size: elements of the model.
        holds: the rounds in which the trainer of a branch holds.

    Attributes:
        top, one, other: the programs, of which `other` stays.
        leaves: the trainers by branch; in a star these are the branches.
    """

    top: Program
    other: Program

    def __init__(self, net: Federation, shape: str, size: int, holds: Mapping[str, int | list[int]]) -> None:
        self.net = net
        self._tree, self._size, self._holds = shape == "tree", size, holds
        self.leaves: dict[str, Program] = {}
        self.one = self.root("goes")

    def others(self, **hyper: Any) -> None:
        """Start everybody else; the top is told more."""
        hyper = {"minPeers": 2, "size": self._size, **hyper}
        self.top = self.net.summit(**hyper) if self._tree else self.net.top(**hyper)
        self.other = self.root("stays")
        if self._tree:
            self.leaf("goes")
            self.leaf("stays")

    def root(self, name: str) -> Program:
        """Start a branch."""
        return self.net.region(name) if self._tree else self.leaf(name)

    def leaf(self, name: str) -> Program:
        """Start the trainer of a branch."""
        hyper = {
            "learningRate": 3.0 if name == "goes" else 1.0,
            "size": self._size,
            "holdIn": self._holds.get(name, 0),
        }
        end = self.leaf_of(name)
        self.leaves[name] = self.net.local(end, name, **hyper) if self._tree else self.net.site(end, **hyper)
        return self.leaves[name]

    def leaf_of(self, name: str) -> str:
        """What the trainer of a branch is called."""
        return f"{name}-site" if self._tree else name


class Scene(Pair):
    """A pair that stands still in one phase.

    Args:
        net: where they run.
        shape: "star" or "tree".
        phase: what `one` does: it "joins", "waits" for an order, "trains" (or its trainer does), has an update that
            "is read" by the top, or waits for the end of training ("ends").
        rounds: how many there are; the phases in between are those of round 2.
        hyper: what else the top is told.
    """

    def __init__(self, net: Federation, shape: str, phase: str, rounds: int, **hyper: Any) -> None:
        holds = {"goes": 2} if phase == "trains" else {"stays": 2} if phase in ("waits", "is read") else {}
        super().__init__(net, shape, LARGE if phase == "is read" else 10, holds)
        self._phase = phase
        self._hyper = {"rounds": rounds, "minPeers": 1 if phase == "joins" else 2, **hyper}
        if phase == "ends":
            self._hyper["holdIn"] = rounds
        if phase == "joins":
            net.reaches("goes", "loading")
            return
        self.others(**self._hyper)
        if phase == "ends":
            net.reaches("top", f"round-{rounds}")
        elif phase == "trains":
            net.reaches(self.leaf_of("goes"), "round-2")
        else:
            net.reaches("goes", "sent-2")
            net.reaches(self.leaf_of("stays"), "round-2")

    def stops(self) -> None:
        """Stop the one, and let the others go on, so that they need it."""
        self.one.send_signal(signal.SIGSTOP)
        self.goes_on()

    def dies(self) -> None:
        """Kill the one, and let the others go on; where its update is read, in the middle of that."""
        if self._phase == "is read":
            self.stops()
            self.net.reaches("stays", "sent-2")
        self.one.kill()
        self.one.wait()
        self.goes_on()

    def goes_on(self) -> None:
        """Let everybody go on."""
        if self._phase == "joins":
            self.others(**self._hyper)
        for name in ("goes", "stays"):
            self.net.go(self.leaf_of(name))
        if self._phase == "ends":
            self.net.go("top")
