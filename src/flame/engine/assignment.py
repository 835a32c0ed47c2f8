"""Who works with whom: what a coordinator decides. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from flame.errors import RunError

NAME = "coordination"
"""Under this name what is decided travels in an order's extras."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One worker's part of what was decided.

    Attributes:
        round: the round that it holds for.
        above: whose orders to wait for; None for whoever speaks first.
        below: whom to ask, in the order in which answers are folded.
        most: how many of them may be busy at a time; None for all.
    """

    round: int = 0
    above: str | None = None
    below: tuple[str, ...] = ()
    most: int | None = None

    def extras(self) -> dict[str, Any]:
        """As it travels."""
        return {NAME: {"above": self.above, "below": list(self.below), "most": self.most}}

    @classmethod
    def read(cls, round_: int, extras: Mapping[str, Any]) -> Assignment:
        """What travelled.

        Raises:
            RunError: it is no assignment.
        """
        said = extras.get(NAME)
        if not isinstance(said, Mapping):
            raise RunError(f"the coordinator's word for round {round_} is no assignment")
        above, below, most = said.get("above"), said.get("below"), said.get("most")
        ends = isinstance(below, list) and all(isinstance(end, str) for end in below)
        if not ends or not isinstance(above, str | None) or type(most) not in (int, type(None)):
            raise RunError(f"the coordinator's word for round {round_} is no assignment")
        return cls(round_, above, tuple(below or ()), most)


def dealt(followers: Sequence[str], leaders: Sequence[str], chance: Random | None = None) -> dict[str, list[str]]:
    """The followers of each leader: dealt out in turn, so that no two leaders differ by more than one.

    Args:
        followers: who is dealt out; each leader gets its own in this order.
        leaders: to whom, at least one.
        chance: shuffles both before; each follower is then with each leader with the same chance.
    """
    hands: dict[str, list[str]] = {leader: [] for leader in leaders}
    numbers, turns = list(range(len(followers))), list(leaders)
    if chance is not None:
        chance.shuffle(numbers)
        chance.shuffle(turns)
    at = {number: turns[turn % len(turns)] for turn, number in enumerate(numbers)}
    for number, follower in enumerate(followers):
        hands[at[number]].append(follower)
    return hands


def rebalanced(
    hands: Mapping[str, Sequence[str]], followers: Sequence[str], leaders: Sequence[str]
) -> dict[str, list[str]]:
    """The followers of each leader, with as few changes as make them differ by no more than one.

    Args:
        hands: how it was.
        followers: who is there now.
        leaders: who leads now, at least one.
    """
    there = frozenset(followers)
    new = {leader: [end for end in hands.get(leader, ()) if end in there] for leader in leaders}
    placed = {end for hand in new.values() for end in hand}
    for end in followers:
        if end not in placed:
            min(new.values(), key=len).append(end)
    while len(fullest := max(new.values(), key=len)) - len(emptiest := min(new.values(), key=len)) > 1:
        emptiest.append(fullest.pop())
    return new


@dataclass(slots=True)
class Plan:
    """What was decided for a round, tier by tier from the top.

    Attributes:
        round: the round's number, from 1.
        hands: for each tier that leads, its workers' followers in the tier below.
    """

    round: int = 0
    hands: list[dict[str, list[str]]] = field(default_factory=list)

    def of(self, tier: int) -> dict[str, Assignment]:
        """What each worker of a tier is told; tier 0 is the top."""
        above = {end: leader for leader, ends in self.hands[tier - 1].items() for end in ends} if tier else {}
        below: Mapping[str, Sequence[str]] = self.hands[tier] if tier < len(self.hands) else {}
        return {end: Assignment(self.round, above.get(end), tuple(below.get(end, ()))) for end in {**below, **above}}

    def leading(self) -> list[str]:
        """Whoever of the highest tier so far has somebody below."""
        return [leader for leader, ends in self.hands[0].items() if ends]

    def led(self, tier: int) -> list[str]:
        """Everybody in a tier, the top's excepted, who was given somebody to answer to."""
        return [end for ends in self.hands[tier - 1].values() for end in ends]

    def without(self, tier: int, gone: str) -> str | None:
        """Somebody of a tier has gone; whoever led it, whose part is another one now."""
        for leader, ends in self.hands[tier - 1].items():
            if gone in ends:
                ends.remove(gone)
                return leader
        return None
