"""A composer's chain as programs written for Cisco's Flame look at it: which tasklet leads to which."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import dropwhile

from flame.mode.tasklet import Chain, ChainError, Owner, Tasklet, composing


class ComposerContext:
    """Which composer's `with` block this thread or fiber is in."""

    @staticmethod
    def get_composer() -> Owner | None:
        """The composer that new tasklets belong to; None outside of such a block."""
        return composing.get()


class Views:
    """What can be asked of a composer, and changes nothing."""

    __slots__ = ()

    @abstractmethod
    def tasklets(self) -> Iterator[Tasklet]:
        """Every tasklet that has been chained, in the order in which they run."""

    @property
    def chain(self) -> dict[Tasklet, set[Tasklet]]:
        """Every tasklet with those that follow it; a loop's way back is not among them."""
        found: dict[Tasklet, set[Tasklet]] = {}
        last: Tasklet | None = None
        for tasklet in self.tasklets():
            found[tasklet] = set()
            if last is not None and _chain_of(last) is _chain_of(tasklet):
                found[last].add(tasklet)
            last = tasklet
        return found

    @property
    def reverse_chain(self) -> dict[Tasklet, set[Tasklet]]:
        """Every tasklet that follows others, with those."""
        found: dict[Tasklet, set[Tasklet]] = {}
        for tasklet, following in self.chain.items():
            for each in following:
                found.setdefault(each, set()).add(tasklet)
        return found

    def get_reverse_chain(self) -> dict[Tasklet, set[Tasklet]]:
        """The same as `reverse_chain`."""
        return self.reverse_chain

    def get_tasklets_in_loop(self, start: Tasklet, end: Tasklet) -> list[Tasklet]:
        """The tasklets from one to another, both included, in the order in which they run.

        Raises:
            ChainError: the one does not lead to the other.
        """
        found: list[Tasklet] = []
        for tasklet in dropwhile(lambda each: each is not start, self.tasklets()):
            found.append(tasklet)
            if tasklet is end:
                return found
        raise ChainError(f"{start} does not lead to {end}")


def _chain_of(tasklet: Tasklet) -> Tasklet | Chain:
    node: Tasklet | Chain = tasklet
    while node.parent is not None:
        node = node.parent
    return node
