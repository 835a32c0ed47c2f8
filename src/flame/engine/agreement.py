"""Who is in the ring of a round: how its members agree, and that they end with one model whoever dies.

Whoever has the lowest id of those that are there leads, and nobody has to be told: it is what each one sees. A round
without troubles is four small messages for each member, and the ring:

1. **report**: a member has trained, and tells the leader.
2. **plan**: when everybody who is there has reported, the leader says who is in the ring and what counts how much.
3. the ring turns; a member that holds the whole mean is **ready**, and reports that. It keeps its own model.
4. **close**: when everybody is ready, the mean becomes everybody's model.

When a member dies before everybody is ready, no close has been said, and the others turn the ring again, with the
models that they have kept. When a leader dies, the next one asks the others how they stand. Either somebody is not
ready, and then nobody can have closed: the ring turns again. Or all are ready, and then all hold the same mean: it is
closed, whether one of them was told so or not. So nobody who is left waits for the dead, and all who are left have one
model (two-phase commit, with the votes of those left instead of a log).

A member that comes late reports as well, and is in the next ring: with a share of nothing if it is fresh, so that it
gets the model without having spoilt it. Rings that began apart become one as soon as their members see each other:
their models are averaged by samples, and all go on from the later round.

This decides and does nothing else: no I/O, no clock. What is to be sent is in `out`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flame.engine.convening import Convening, Shares
from flame.engine.ring import Piece, Ring
from flame.engine.speaking import Ask, Ballot, Close, Pass, Plan, Report, Talk
from flame.errors import WeightsError
from flame.weights.layout import Allocate, Weights, plain_memory


class Local(NamedTuple):
    """What a member brings: its model, and what it comes of."""

    model: Weights
    round: int
    samples: int
    fresh: bool = False


class Outcome(NamedTuple):
    """A ring that is closed.

    Attributes:
        model: the mean.
        round: the round that it is of.
        members: who was in the ring.
        counted: how many members' models counted.
        first: whether this member has the lowest id of them.
        samples: how many samples are behind the mean.
    """

    model: Weights
    round: int
    members: tuple[str, ...]
    counted: int
    first: bool
    samples: int


class Sent(NamedTuple):
    """Something to be sent."""

    ends: Sequence[str]
    talk: Talk
    weights: Weights | None = None


class Member:
    """One member of the rings of a group.

    Args:
        me: its id.
        shares: who of those who have reported turns the next ring, and how much each one counts.
        rests: whether members may have nothing for a ring, so that they have to be asked for every one.
        token: a number that another process with the same id would not have.
        allocate: memory for pieces and results.

    Attributes:
        view: who is there, and how many times each one has left before.
        leader: who leads, as far as this member sees.
        out: what is to be sent; `mail` takes it away.
        plan: the attempt that the member takes part in; None if there is none.
        outcome: the ring that was closed since the member came with its model.
    """

    def __init__(
        self, me: str, shares: Shares, *, rests: bool = False, token: int = 0, allocate: Allocate = plain_memory
    ) -> None:
        self.me = me
        self.view: Mapping[str, int] = {}
        self.leader = me
        self.out: list[Sent] = []
        self.plan: Plan | None = None
        self.outcome: Outcome | None = None
        self._allocate = allocate
        self._serial, self._highest = token, 0
        self._local: Local | None = None
        self._resting = False
        self._ring: Ring | None = None
        self._closed: Ballot | None = None
        self._lost: tuple[str, ...] = ()
        self._early: list[tuple[str, Pass, Weights]] = []
        self._convening = Convening(me, shares, rests=rests)

    # -- what happens ------------------------------------------------------------------

    def bring(self, local: Local) -> None:
        """The member has a model to be averaged."""
        self._serial += 1
        self._local, self.outcome, self._lost = local, None, ()
        self._resting = False
        self._convening.begin()
        self._report()
        self._convene()

    def rest(self) -> None:
        """The member has nothing to be averaged until it brings it; meanwhile it hears what others say."""
        self._resting = True
        self._convene()

    def see(self, view: Mapping[str, int]) -> None:
        """Others have come or gone."""
        before, old = self.view, self.leader
        led = (old, before.get(old))
        self.view = view
        self.leader = min((self.me, *view))
        self._convening.see(before, self.view)
        if (self.leader, self.view.get(self.leader)) != led:
            self._abandon()
            self._convening.hand_over()
            self._report(asked=self._resting)  # it may have been asked by somebody who led already
        elif self.plan is not None and not self.ready:
            behind = self.plan.beside(self.me, -1)
            if before.get(behind) != self.view.get(behind) and behind in before:
                self._complain(behind)
        self._convene()

    def hear(self, end: str, talk: Talk, weights: Weights | None = None) -> None:
        """Somebody says something.

        Raises:
            WeightsError: the ring's models have other tensors than this member's.
        """
        match talk:
            case Report():
                self._highest = max(self._highest, talk.highest)
                self._convening.hear(end, talk)
            case Ask() if end == self.leader:
                self._abandon()
                self._report(asked=True)
            case Plan() if end == self.leader:
                self._highest = max(self._highest, talk.ballot.number)
                if not self._accept(talk):
                    self._report(asked=True)
            case Plan():
                self._serial += 1  # whoever it is of shall not take what this member says next for something older
            case Pass() if weights is not None:
                self._pass(end, talk, weights)
            case Close():
                self._close(talk.ballot)
        self._convene()

    def give_up_on(self) -> bool:
        """Too long has nothing happened: who of the neighbours is not there is done without; whether there is one."""
        if self.plan is None or self.ready:
            return False
        unseen = [end for end in self._neighbours() if end not in self.view and end != self.me]
        if unseen:
            self._complain(*unseen)
            self._convene()
        return bool(unseen)

    def mail(self) -> list[Sent]:
        """What can be sent now; pieces for somebody who is not seen yet are kept."""
        out, self.out = self.out, []
        sendable = []
        for sent in out:
            if not isinstance(sent.talk, Pass) or all(end in self.view for end in sent.ends):
                sendable.append(sent)
            elif self.plan is not None and sent.talk.ballot == self.plan.ballot:
                self.out.append(sent)
        return sendable

    def state(self) -> list[int]:
        """What must be kept between two rings to go on later."""
        return [self._serial, self._highest]

    def restore(self, state: Sequence[int]) -> None:
        """Go on from what `state` returned."""
        self._serial, self._highest = state

    # -- how it stands ------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it holds the whole mean of an attempt."""
        return self._ring is not None and self._ring.done

    def awaits(self) -> list[str]:
        """Of whom something is awaited."""
        if self.leader != self.me and (self.plan is None or self.ready):
            return [self.leader]
        if self.plan is not None and not self.ready:
            return [self.plan.beside(self.me, -1)]
        return self._convening.awaits(self.view)

    # -- inside ------------------------------------------------------------------

    def _standing(self) -> Report:
        local, plan = self._local, self.plan
        if local is None:
            return Report(self._serial, self._highest, away=True, closed=self._closed)
        ready = plan is not None and self.ready
        return Report(
            self._serial,
            self._highest,
            local.round,
            local.samples,
            local.fresh,
            local.model.layout.digest,
            ready=plan.ballot if plan is not None and ready else None,
            members=plan.members if plan is not None and ready and plan.ballot.leader != self.leader else (),
            closed=self._closed,
            lost=self._lost,
        )

    def _report(self, *, asked: bool = False) -> None:
        if self.leader != self.me and (asked or self._local is not None):
            self.out.append(Sent([self.leader], self._standing()))

    def _convene(self) -> None:
        """Do what falls to whoever leads."""
        while self.leader == self.me and (self._resting or self._local is not None):
            did = self._convening.next(self.view, self._standing(), self.plan)
            if did is None:
                return
            self.out += [Sent(ends, talk) for ends, talk in did.says if ends]
            if did.abandon:
                self._abandon()
            if did.plan is not None:
                self._highest = did.plan.ballot.number
                self._accept(did.plan)
            if did.close is not None and self._close(did.close):
                return

    def _accept(self, plan: Plan) -> bool:
        """Take part in an attempt; whether that is possible."""
        local = self._local
        if local is None or self.me not in plan.members or not plan.sound:
            return False
        rank = plan.members.index(self.me)
        if plan.serials[rank] != self._serial:
            return False
        if plan.digest != local.model.layout.digest:
            raise WeightsError(f"the model has other tensors than those of the ring that {plan.ballot.leader} leads")
        self._serial += 1
        self._lost = ()
        self.plan, self._ring = plan, Ring(local.model, rank, plan.shares, self._allocate)
        self._hand_on(self._ring.begin())
        early, self._early = self._early, []
        if self._ring.done:  # it is alone in it
            self._report()
        for end, talk, weights in early:
            if talk.ballot == plan.ballot:
                self._pass(end, talk, weights)
        return True

    def _pass(self, end: str, talk: Pass, weights: Weights) -> None:
        plan, ring = self.plan, self._ring
        latest = self._closed if plan is None else plan.ballot
        if latest is None or talk.ballot.number > latest.number:
            self._early.append((end, talk, weights))  # the plan is on its way
            return
        if plan is None or ring is None or ring.done or talk.ballot != plan.ballot or end != plan.beside(self.me, -1):
            return
        try:
            self._hand_on(ring.take(Piece(talk.number, talk.mean, weights)))
        except WeightsError:
            self._complain(end)
            return
        if ring.done:
            self._report()

    def _hand_on(self, pieces: Sequence[Piece]) -> None:
        assert self.plan is not None  # pieces come of a ring
        after = self.plan.beside(self.me, 1)
        for piece in pieces:
            self.out.append(Sent([after], Pass(self.plan.ballot, piece.number, piece.mean), piece.values))

    def _close(self, ballot: Ballot) -> bool:
        plan, ring = self.plan, self._ring
        if plan is None or ring is None or not ring.done or plan.ballot != ballot:
            return False
        counted = sum(share > 0 for share in plan.shares)
        first = min(plan.members) == self.me
        self.outcome = Outcome(ring.result, plan.round, plan.members, counted, first, plan.samples)
        self._closed, self._local = ballot, None
        self.plan = self._ring = None
        self._serial += 1
        self._early.clear()
        return True

    def _abandon(self) -> None:
        """Leave an attempt that is not whole yet; the member's own model is still there."""
        if self.plan is not None and not self.ready:
            self.plan = self._ring = None
            self._serial += 1

    def _complain(self, *ends: str) -> None:
        self._abandon()
        self._lost = ends
        self._report()

    def _neighbours(self) -> set[str]:
        assert self.plan is not None
        return {self.plan.beside(self.me, -1), self.plan.beside(self.me, 1)}
