"""What the members of a ring say to each other, besides the pieces of their models."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import msgspec

from flame.errors import DecodeError


class Ballot(NamedTuple):
    """The name of one attempt at a ring: a number that only grows, and who proposed it."""

    number: int
    leader: str


class Report(msgspec.Struct, frozen=True, tag="report"):
    """How a member stands, to whoever leads.

    Attributes:
        serial: changes whenever what is reported here has changed.
        highest: the highest number of a ballot that it has seen.
        round: the round that it trained in; 0 before its first.
        samples: how many samples it trained on.
        fresh: whether it has no model yet that came of training.
        digest: which tensors its model has.
        away: whether it has nothing for a ring at the moment, and does not wait for one.
        ready: the attempt of which it holds the whole mean, and waits to hear that everybody does.
        members: who was in that attempt, unless the reader has proposed it itself.
        closed: the last attempt that it has closed.
        lost: members of the attempt before whom it cannot hear.
    """

    serial: int
    highest: int
    round: int = 0
    samples: int = 0
    fresh: bool = False
    digest: str = ""
    away: bool = False
    ready: Ballot | None = None
    members: tuple[str, ...] = ()
    closed: Ballot | None = None
    lost: tuple[str, ...] = ()


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Whoever leads wants to know how a member stands, and that it leaves an attempt that it is not ready in."""


class Plan(msgspec.Struct, frozen=True, tag="plan"):
    """An attempt at a ring.

    Attributes:
        ballot: its name.
        round: the round that the result is of.
        digest: which tensors the models have.
        members: who is in it, in the order of the ring.
        shares: how much each one's model counts.
        serials: the reports that the plan was made from: a member that stands otherwise by now does not take part.
        samples: how many are behind all that counts.
    """

    ballot: Ballot
    round: int
    digest: str
    members: tuple[str, ...]
    shares: tuple[float, ...]
    serials: tuple[int, ...]
    samples: int

    @property
    def sound(self) -> bool:
        """Whether a ring can be turned by it."""
        lists = (self.members, self.shares, self.serials)
        return (
            len({len(each) for each in lists}) == 1
            and len(set(self.members)) == len(self.members)
            and all(0 <= share < math.inf for share in self.shares)
            and 0 < sum(self.shares) < math.inf
        )

    def beside(self, member: str, step: int) -> str:
        """The member that stands so many places further on."""
        return self.members[(self.members.index(member) + step) % len(self.members)]


class Pass(msgspec.Struct, frozen=True, tag="pass"):
    """A piece of the model for the next member: its number, and whether it is the mean or still a sum."""

    ballot: Ballot
    number: int
    mean: bool


class Close(msgspec.Struct, frozen=True, tag="close"):
    """Everybody holds the whole mean of an attempt: it is everybody's model from now on."""

    ballot: Ballot


Talk: TypeAlias = Report | Ask | Plan | Pass | Close


def to_plain(talk: Talk) -> Any:
    """As plain data."""
    return msgspec.to_builtins(talk)


def from_plain(plain: object) -> Talk:
    """Read what `to_plain` wrote, trusting nothing in it.

    Raises:
        DecodeError: it is nothing of the kind.
    """
    try:
        talk: Talk = msgspec.convert(plain, Talk)
    except msgspec.ValidationError as error:
        raise DecodeError(f"what a member of a ring says: {error}") from error
    return talk
