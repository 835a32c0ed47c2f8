"""What falls to whoever leads a ring's members: to know how all stand, to propose a ring, and to close it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from flame.engine.speaking import Ask, Ballot, Close, Plan, Report, Talk


class Chosen(NamedTuple):
    """Who turns the next ring, how much each one's model counts, and which round that is."""

    shares: Mapping[str, float]
    round: int


Shares = Callable[[Mapping[str, Report]], Chosen]


def merging(reports: Mapping[str, Report]) -> Chosen:
    """Everybody, in the latest round of all; what has not been trained yet does not count beside what has."""
    counting = [end for end, report in reports.items() if not report.fresh]
    return Chosen(_weighed(reports, counting), max(report.round for report in reports.values()))


def in_rounds(reports: Mapping[str, Report]) -> Chosen:
    """Those of the earliest round, if they differ: whoever is above takes answers to one round for one round."""
    number = min(report.round for report in reports.values())
    there = {end: report for end, report in reports.items() if report.round == number}
    return Chosen(_weighed(there, there), number)


def _weighed(reports: Mapping[str, Report], counting: Iterable[str]) -> dict[str, float]:
    """By samples; where nobody has any, the first one's model is everybody's."""
    shares = dict.fromkeys(sorted(reports), 0.0)
    shares.update((end, float(reports[end].samples)) for end in counting)
    if not any(shares.values()):
        shares[min(counting, default=min(reports))] = 1.0
    return shares


class Did(NamedTuple):
    """What whoever leads does.

    Attributes:
        says: what is said, and to whom.
        plan: a plan was made.
        close: the attempt that it closes itself.
        abandon: whether it leaves the attempt that it is in itself.
    """

    says: tuple[tuple[list[str], Talk], ...] = ()
    plan: Plan | None = None
    close: Ballot | None = None
    abandon: bool = False


class Convening:
    """What whoever leads knows, and does.

    Args:
        me: its id.
        shares: who of those who have reported turns the next ring, and how much each one counts.
        rests: whether members may have nothing for a ring, so that they have to be asked for every one.
    """

    def __init__(self, me: str, shares: Shares, *, rests: bool) -> None:
        self._me, self._shares, self._rests = me, shares, rests
        self._reports: dict[str, Report] = {}
        self._asked: set[str] = set()
        self._pending: Plan | None = None
        self._proposed: Plan | None = None
        self._lives: dict[str, int | None] = {}
        self._anew = False

    def begin(self) -> None:
        """It has a model of its own to be averaged: who was away may have one by now, too."""
        self._forget_the_absent()

    def see(self, before: Mapping[str, int], view: Mapping[str, int]) -> None:
        """Others have come or gone: what was heard of those who have gone says nothing any longer."""
        for end in before.keys() | view.keys():
            if before.get(end) != view.get(end):
                self._asked.discard(end)
                if end in before:
                    self._reports.pop(end, None)

    def hand_over(self) -> None:
        """Somebody else leads now, or this one does: everybody reports anew."""
        self._reports.clear()
        self._asked.clear()
        self._pending = None
        self._anew = True

    def hear(self, end: str, report: Report) -> None:
        """A member says how it stands."""
        plan = self._pending
        if plan is not None and end in plan.members and report.serial == plan.serials[plan.members.index(end)]:
            return  # said before it had heard of the plan
        self._reports[end] = report

    def awaits(self, view: Mapping[str, int]) -> list[str]:
        """Of whom something is awaited."""
        if self._pending is not None:
            ready = {end for end, report in self._reports.items() if report.ready == self._pending.ballot}
            return [end for end in self._pending.members if end not in ready and end != self._me]
        return [end for end in view if end not in self._reports]

    def next(self, view: Mapping[str, int], mine: Report, plan: Plan | None) -> Did | None:
        """What is to be done next; None if that depends on others.

        Args:
            view: who is there.
            mine: how it stands itself.
            plan: the attempt that it takes part in itself.
        """
        if self._pending is not None:
            return self._followed(self._pending, view, mine, plan)
        idle = mine.away and all(self._reports[end].away for end in view if end in self._reports)
        if idle and not self._anew:
            return None
        missing = [end for end in view if end not in self._reports]
        if missing:
            unasked = [end for end in missing if end not in self._asked]
            self._asked.update(unasked)
            return Did(says=((unasked, Ask()),)) if unasked else None
        self._anew = False
        if idle:
            return None
        reports = {end: self._reports[end] for end in view}
        reports[self._me] = mine
        return self._left_open(reports) or self._proposal(view, reports)

    def _followed(self, pending: Plan, view: Mapping[str, int], mine: Report, plan: Plan | None) -> Did | None:
        """What has come of the attempt that was proposed."""
        takes_part = self._me in pending.members
        others = [end for end in pending.members if end != self._me]
        said = {end: self._reports[end].ready == pending.ballot for end in others if end in self._reports}
        gone = any(view.get(end) != self._lives[end] for end in others)
        if gone or not all(said.values()) or (takes_part and (plan is None or plan.ballot != pending.ballot)):
            self._pending, self._anew = None, True
            self._asked.difference_update(end for end in others if end not in said)
            return Did(abandon=True)
        if len(said) < len(others) or (takes_part and mine.ready != pending.ballot):
            return None
        self._pending = None
        return self._closing(pending.ballot, others, takes_part)

    def _left_open(self, reports: Mapping[str, Report]) -> Did | None:
        """Close an attempt that all who are left of it hold the mean of: it may be that some have closed it."""
        for ballot in sorted({report.ready for report in reports.values() if report.ready is not None}):
            holders = [end for end, report in reports.items() if report.ready == ballot]
            if self._proposed is not None and self._proposed.ballot == ballot:
                members = self._proposed.members
            else:
                members = next((reports[end].members for end in holders if reports[end].members), ())
            if all(_holds(reports[end], ballot) for end in members if end in reports):
                return self._closing(ballot, [end for end in holders if end != self._me], self._me in holders)
        return None

    def _closing(self, ballot: Ballot, others: list[str], mine: bool) -> Did:
        for end in others:
            self._reports.pop(end, None)
        self._forget_the_absent()
        if self._rests:
            self._asked.clear()
        return Did(says=((others, Close(ballot)),), close=ballot if mine else None)

    def _proposal(self, view: Mapping[str, int], reports: Mapping[str, Report]) -> Did:
        there = {end: report for end, report in reports.items() if not report.away}
        shares, number = self._shares(self._reachable(there))
        members = tuple(sorted(shares))
        highest = max(report.highest for report in reports.values())
        lead = self._me if self._me in shares else members[0]
        plan = Plan(
            Ballot(highest + 1, self._me),
            number,
            reports[lead].digest,
            members,
            tuple(shares[end] for end in members),
            tuple(reports[end].serial for end in members),
            sum(reports[end].samples for end in members if shares[end]),
        )
        self._pending = self._proposed = plan
        self._lives = {end: view.get(end) for end in members}
        others = [end for end in members if end != self._me]
        for end in others:
            del self._reports[end]
        return Did(says=((others, plan),), plan=plan)

    def _reachable(self, there: Mapping[str, Report]) -> Mapping[str, Report]:
        """Without those whom somebody could not hear; who could not hear whoever leads goes without."""
        without = {end if lost == self._me else lost for end, report in there.items() for lost in report.lost}
        left = {end: report for end, report in there.items() if end not in without}
        return left or {end: there[end] for end in list(there)[:1]}

    def _forget_the_absent(self) -> None:
        """Who was away may be so no longer: it is asked again."""
        for end in [end for end, report in self._reports.items() if report.away]:
            del self._reports[end]
            self._asked.discard(end)


def _holds(report: Report, ballot: Ballot) -> bool:
    """Whether a member has the mean of an attempt, or has closed it, or a later one."""
    return report.ready == ballot or (report.closed is not None and report.closed.number >= ballot.number)
