"""What functions say to each other, and the proof that nobody waits for ever.

A *function tag* names one step of a role's loop on one channel: it sends or it receives, and it does so with
certain functions of the role at the other side, its partners. A role's *program* is the order of its tags:
built-in ones in the order of the table below (a subsequence of it is what every built-in role runs,
endlessly), a user's own ones where they are listed: after the built-in tag that precedes them in the
channel's list, or else first.

The proof runs the product of all the programs, one worker per role (groups are copies of each other). Sending
never waits; receiving waits for a message. A queue has one reader, so a step that can be taken stays possible
whatever the others do: all interleavings lead to the same end (Kahn, *The semantics of a simple language for
parallel programming*, 1974), and one fair run decides for all of them. Queues are counted up to the number of
steps there are; beyond that one message more makes no difference. Hence the states are finite, and the run
ends at the first one seen before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flame.tag.schema import Channel, Tag


@dataclass(frozen=True, slots=True)
class Action:
    """What one function tag does.

    Attributes:
        tag: the function tag.
        sends: whether it sends; else it receives and waits.
        partners: the tags at the other side with which it speaks. A tag that is its own partner does both.
        self_loop: whether it only makes sense between workers of one role.
    """

    tag: str
    sends: bool
    partners: frozenset[str]
    self_loop: bool = False

    @property
    def receives(self) -> bool:
        """Whether it waits for a message."""
        return not self.sends or self.tag in self.partners


def _table(*rows: tuple[str, bool, str]) -> dict[str, Action]:
    return {
        tag: Action(tag, sends, frozenset(partners.split()), tag in partners.split()) for tag, sends, partners in rows
    }


#: Every built-in tag, in the order in which a role that has several runs them.
BUILT_IN: Mapping[str, Action] = _table(
    ("coordinateWithTopAgg", True, "coordinate"),
    ("coordinateWithMidAgg", True, "coordinate"),
    ("coordinateWithLeafAgg", True, "coordinate"),
    ("coordinateWithTrainer", True, "coordinate"),
    (
        "coordinate",
        False,
        "coordinateWithTopAgg coordinateWithMidAgg coordinateWithLeafAgg coordinateWithTrainer",
    ),
    ("uploadDatasetSize", True, "getDatasetSize"),
    ("getDatasetSize", False, "uploadDatasetSize"),
    ("uploadIds", True, "alignIds"),
    ("alignIds", False, "uploadIds"),
    ("fetch", False, "distribute"),
    ("choose", False, "distribute"),
    ("distribute", True, "fetch choose"),
    ("uploadBias", True, "aggregateBias"),
    ("aggregateBias", False, "uploadBias"),
    ("distributeBias", True, "fetchBias"),
    ("fetchBias", False, "distributeBias"),
    ("ring_allreduce", True, "ring_allreduce"),
    ("handOver", True, "handOver"),
    ("gossipRing", True, "gossipRing"),
    ("gossipGrid", True, "gossipGrid"),
    ("gossipFull", True, "gossipFull"),
    ("gossipRandom", True, "gossipRandom"),
    ("gossipEdges", True, "gossipEdges"),
    ("aggregate", False, "upload"),
    ("upload", True, "aggregate"),
)

#: Who has it joins the columns of others to its own: on its channel both sides hold data of the same samples.
JOINS_COLUMNS = "alignIds"


@dataclass(frozen=True, slots=True)
class Step:
    """One function of a role's program.

    Attributes:
        channel: the channel's index in the TAG.
        role: who performs it.
        index: its place in the channel's list of the role's tags.
        tag: the function tag.
    """

    channel: int
    role: str
    index: int
    tag: str

    @property
    def path(self) -> tuple[str | int, ...]:
        """The steps of its JSON path."""
        return ("channels", self.channel, "funcTags", self.role, self.index)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A role that can never go on.

    Attributes:
        step: the function in which it waits.
        waits_for: the functions at the other side that would have to send.
    """

    step: Step
    waits_for: tuple[str, ...]


def program(tag: Tag, role: str) -> list[Step]:
    """The functions of a role in the order in which they run."""
    order = {name: rank for rank, name in enumerate(BUILT_IN)}
    ranked: list[tuple[int, int, Step]] = []
    for number, channel in enumerate(tag.channels):
        anchor = -1
        for index, name in enumerate(channel.tags_of(role) if role in channel.pair else ()):
            anchor = order.get(name, anchor)
            ranked.append((anchor, 0 if name in order else 1, Step(number, role, index, name)))
    return [step for _, _, step in sorted(ranked, key=lambda row: row[:2])]


def partners(channel: Channel, role: str, name: str, actions: Mapping[str, Action]) -> list[str]:
    """The functions at the other side of a channel with which a function of a role speaks."""
    mine = actions[name]
    return [
        other for other in channel.tags_of(channel.other(role)) if other in actions and _speak(mine, actions[other])
    ]


def blocked(tag: Tag, actions: Mapping[str, Action]) -> list[Blocked]:
    """Every role that can never go on once all programs run; empty is the proof that there is none."""
    return _Run(tag, actions).blocked()


def _speak(one: Action, other: Action) -> bool:
    if one.tag == other.tag:
        return one.tag in one.partners
    return one.sends != other.sends and (other.tag in one.partners or one.tag in other.partners)


Queue = tuple[int, str, str]  # channel, reader, the reader's tag


@dataclass(slots=True)
class _Move:
    """One move of the automaton: a message to each of some queues, or one from a queue."""

    step: Step
    gives: tuple[Queue, ...] = ()
    takes: Queue | None = None


class _Run:
    """The product of all programs, run fairly: each role moves once a sweep, if it can."""

    def __init__(self, tag: Tag, actions: Mapping[str, Action]) -> None:
        self._tag, self._actions = tag, actions
        names = dict.fromkeys([*(role.name for role in tag.roles), *(name for c in tag.channels for name in c.pair)])
        self._programs = {name: list(self._moves(program(tag, name))) for name in names}
        self._limit = 1 + sum(len(moves) for moves in self._programs.values())
        self._at = {name: 0 for name, moves in self._programs.items() if moves}
        self._queued: dict[Queue, int] = {}
        self._moved = dict.fromkeys(self._at, 0)

    def blocked(self) -> list[Blocked]:
        seen: dict[object, dict[str, int]] = {}
        while (state := self._state()) not in seen:
            seen[state] = dict(self._moved)
            for role in self._at:
                self._move(role)
        before = seen[state]
        stuck = [self._programs[role][self._at[role]].step for role in self._at if self._moved[role] == before[role]]
        return [Blocked(step, tuple(self._partners(step))) for step in stuck]

    def _partners(self, step: Step) -> list[str]:
        return partners(self._tag.channels[step.channel], step.role, step.tag, self._actions)

    def _moves(self, steps: Iterable[Step]) -> Iterable[_Move]:
        for step in steps:
            action = self._actions.get(step.tag)
            if action is None:
                continue
            channel = self._tag.channels[step.channel]
            there = self._partners(step)
            if action.sends and there:
                yield _Move(step, gives=tuple((step.channel, channel.other(step.role), other) for other in there))
            if action.receives and there:
                yield _Move(step, takes=(step.channel, step.role, step.tag))

    def _move(self, role: str) -> None:
        moves = self._programs[role]
        move = moves[self._at[role]]
        if move.takes is not None:
            if not self._queued.get(move.takes):
                return
            self._queued[move.takes] -= 1
        for queue in move.gives:
            self._queued[queue] = min(self._limit, self._queued.get(queue, 0) + 1)
        self._at[role] = (self._at[role] + 1) % len(moves)
        self._moved[role] += 1

    def _state(self) -> object:
        return tuple(self._at.values()), tuple(sorted(self._queued.items()))
