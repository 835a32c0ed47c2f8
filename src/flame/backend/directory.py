"""Who is where: the members of each group of each channel, and the host that each one is in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Seat(NamedTuple):
    """One worker's place on one channel."""

    channel: str
    group: str
    role: str
    end: str


class Members:
    """The ends of one role in one group of one channel, in the order in which they joined."""

    __slots__ = ("_ends", "_left", "_listed", "_missing", "_watchers", "version")

    def __init__(self) -> None:
        self.version = 0
        self._ends: dict[str, None] = {}
        self._left: dict[str, int] = {}
        self._missing: set[str] = set()
        self._listed: list[str] | None = None
        self._watchers: list[Callable[[], None]] = []

    def __contains__(self, end: str) -> bool:
        return end in self._ends

    def __len__(self) -> int:
        return len(self._ends)

    def ends(self) -> list[str]:
        """The ends; the list is shared and must not be changed."""
        if self._listed is None:
            self._listed = list(self._ends)
        return self._listed

    def ever(self) -> list[str]:
        """The ends that are or were there."""
        return [*self.ends(), *(end for end in self._left if end not in self._ends)]

    @property
    def several(self) -> bool:
        """Whether more than one end is or was there."""
        return len(self._ends) + len(self._left) > 1 and len(self.ever()) > 1

    def among(self, ends: Iterable[str]) -> list[str]:
        """Those of some ends that are there."""
        return [end for end in ends if end in self._ends]

    def left(self, end: str) -> int:
        """How many times an end has left: who comes back is somebody new, who was not asked what the old one was."""
        return self._left.get(end, 0)

    def missing(self, end: str) -> bool:
        """Whether an end was cut off, which is not known to have ended: it may come back by itself."""
        return end in self._missing

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed()` whenever somebody joins or leaves, or is given up."""
        self._watchers.append(changed)

    def add(self, end: str) -> None:
        """Let an end join; it is no error if it has already."""
        if end not in self._ends:
            self._missing.discard(end)
            self._ends[end] = None
            self._notify()

    def remove(self, end: str, *, missing: bool = False) -> None:
        """Let an end leave; it is no error if it has already."""
        if end in self._ends:
            del self._ends[end]
            self._left[end] = self.left(end) + 1
            if missing:
                self._missing.add(end)
            self._notify()

    def give_up(self, end: str) -> None:
        """An end that is missing will not come back."""
        if end in self._missing:
            self._missing.remove(end)
            self._notify()

    def _notify(self) -> None:
        self.version += 1
        self._listed = None
        for changed in self._watchers:
            changed()


class Directory:
    """The seats of a run, and in which host each end sits."""

    def __init__(self) -> None:
        self._members: dict[tuple[str, str, str], Members] = {}
        self._seats: dict[str, list[Seat]] = {}
        self._hosts: dict[str, int] = {}
        self._missing: dict[str, list[Seat]] = {}

    def members(self, channel: str, group: str, role: str) -> Members:
        """The live list of a role's ends in a group of a channel."""
        key = (channel, group, role)
        found = self._members.get(key)
        if found is None:
            found = self._members[key] = Members()
        return found

    def seat(self, seats: Iterable[Seat], host: int) -> None:
        """Let ends that sit in `host` join."""
        for seat in seats:
            self.give_up(seat.end)
            self._hosts[seat.end] = host
            self._seats.setdefault(seat.end, []).append(seat)
            self.members(seat.channel, seat.group, seat.role).add(seat.end)

    def leave(self, end: str, *, missing: bool = False) -> None:
        """Let an end leave every channel that it is on; it may be that it is only missing."""
        self._hosts.pop(end, None)
        seats = self._seats.pop(end, [])
        if missing and seats:
            self._missing[end] = seats
        for seat in seats:
            self.members(seat.channel, seat.group, seat.role).remove(end, missing=missing)

    def give_up(self, end: str) -> None:
        """An end that is missing will not come back, or has come back as somebody new."""
        for seat in self._missing.pop(end, ()):
            self.members(seat.channel, seat.group, seat.role).give_up(end)

    def host_of(self, end: str) -> int | None:
        """The host that an end sits in; None if it has gone."""
        return self._hosts.get(end)

    def ends_in(self, host: int) -> list[str]:
        """Every end that sits in a host."""
        return [end for end, where in self._hosts.items() if where == host]

    def meet(self, channel: str, source: str, target: str) -> bool:
        """Whether two ends share a group of a channel: if not, one may not write to the other."""
        mine = {seat.group for seat in self._seats.get(target, ()) if seat.channel == channel}
        return any(seat.channel == channel and seat.group in mine for seat in self._seats.get(source, ()))
