"""A round as seen from above: ask the selected, fold what they answer, make the next weights of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from flame.backend.pool import Pool
from flame.channel.channel import Channel
from flame.channel.coding import Message
from flame.compression.packed import packed
from flame.engine.fold import SMALL, WeightedMean
from flame.engine.gate import Gate, WhenLost
from flame.engine.hearing import Heard, Hearing, heard, not_finite
from flame.engine.round import Round, Verdict
from flame.engine.sampling import Sampling
from flame.engine.simulated import Clock, time_of
from flame.errors import DecodeError, PeerLost, RunError, TooFewAnswers
from flame.optimizer import Answer, Fold, Optimizer
from flame.privacy import Cohort, Privacy
from flame.selector.feedback import heard as heard_by
from flame.selector.feedback import name_of
from flame.weights.adapters import Adapter
from flame.weights.layout import Layout, Weights
from flame.wire.message import Order, Update

T = TypeVar("T")

logger = logging.getLogger(__name__)

MOST_PACKED = 2
"""So many models' bytes of packed updates may lie here until they are summed; those that lie with peers take none."""


class Said(msgspec.Struct, frozen=True, gc=False):
    """What a selector is told of an answer.

    Attributes:
        round: the round that it is for.
        seconds: how long it took; None where everybody takes equally long.
        said: the extra by which the selector chooses; None if there is none, {} if nothing is behind the answer.
    """

    round: int
    seconds: float | None
    said: object


class Leading:
    """The half of a role that has peers below it.

    Args:
        optimizer: its server half makes the next weights out of the mean of the updates.
        memory: for weights that go to peers.
        gate: when a round's answers are enough, and what follows when a peer goes.
        patience_s: how long a peer that has gone is waited for, where the gate waits.
        clock: what time it is, where time is simulated.

    Attributes:
        privacy: its aggregator's half says what is done to what comes in, and to a round's mean; None for nothing.
        aside: whether a message of a peer that is no update is a remark, after which its update is still due.
    """

    privacy: Privacy | None = None

    def __init__(
        self, optimizer: Optimizer, memory: Pool, gate: Gate, patience_s: float, clock: Clock | None = None
    ) -> None:
        self._optimizer = optimizer
        self._meet: Callable[[Adapter], None] | None = getattr(optimizer, "meet", None)
        self._memory = memory
        self._gate, self._patience_s = gate, patience_s
        self.clock = clock
        self.aside: Callable[[str, Message], bool] = lambda end, message: False
        self.sampling: Sampling | None = None
        self._round = Round(0, gate)
        self._asked: tuple[Channel, Order] | None = None
        self._fold, self._hearing = self._empty_fold(), Hearing(memory)
        self._base: Weights | None = None
        self._away: list[tuple[str, Weights, int]] = []
        self._packed_bytes = 0
        self._there = 0
        self._of: dict[str, int] = {}
        self._given: dict[str, float] = {}

    @property
    def met(self) -> bool:
        """Whether the round that is open has enough."""
        return self._round.met

    @property
    def round(self) -> Round:
        """The round that is open, or was closed last."""
        return self._round

    def tell(self, sent: Weights, adapter: Adapter) -> dict[str, Any]:
        """The extras of an order with these weights of a model, which may be changed for it."""
        if self._meet is not None:
            self._meet(adapter)
        said = self._optimizer.step.tell(sent, adapter.averaged)
        return {self._optimizer.name: said} if said else {}

    def begin(self) -> None:
        """The round is over: the next time that anybody is asked, it is in a new one."""
        self._round = Round(0, self._gate)

    def state(self) -> dict[str, Any]:
        """What must be kept between two rounds to go on later, as plain values."""
        return {} if self.clock is None else {"now": self.clock.now}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        if self.clock is not None:
            self.clock.reach(state.get("now", 0.0))

    def ask(self, channel: Channel, make: Callable[[], Order]) -> int:
        """Open a round: send an order to the peers that the channel's selector chooses; returns how many."""
        order = self._open(channel, make(), Round(0, self._gate))
        ends = channel.ends("send")
        self._there = len(channel.all_ends())
        self._round.ask(ends)
        self._post(channel, ends, order)
        return len(ends)

    def gather(self, channel: Channel) -> None:
        """Fold answers, in the order in which the peers were asked, until the round's gate says that it is enough.

        Raises:
            RunError: a peer sent something that is no update.
            TooFewAnswers: fewer answers count than the gate asks for.
            PeerLost: a peer has gone, and the gate does not let the round go on without it.
        """
        round_ = self._round
        while not round_.met:
            end = round_.next
            assert end is not None  # a gate that is not met has somebody to wait for
            self._answered(channel, end, channel.take(end))
        self._enough()

    def close(self, adapter: Adapter, load: Callable[[Weights], None] | None = None) -> None:
        """Put the next weights into the model; if nothing was folded it stays as it is.

        Args:
            adapter: of the model.
            load: is given the next weights in place of the model; they are not written into it then.

        Raises:
            WeightsError: the model is no longer what was sent out.
        """
        step, base, privacy = self._optimizer.step, self._base, self.privacy
        if self._away and not step.repeatable:
            self._read(lambda fold: fold.settle())
        if base is None or not (self._round.folded or self._nobody(base)) or not self._affordable():
            self._let_go()
            return
        self._hearing.tell(step, self._peers)
        target = None if load is not None else adapter.target()

        def finish(fold: Fold) -> Weights | None:
            perturb = None if privacy is None else privacy.release(self._cohort())
            if target is None:
                return fold.finish(base, step, self._memory.allocate, averaged=adapter.averaged, perturb=perturb)
            fold.finish_into(target, base, step, averaged=adapter.averaged, perturb=perturb)
            return None

        weights = self._read(finish)
        if weights is not None:
            (load or adapter.load)(weights)
        elif not self._fold.folded:
            adapter.load(base)  # the last update went while it was read, and half of it was in the model
        if privacy is not None and self._fold.folded:
            privacy.charge(self._cohort())
        self._hearing.show(step)
        self._let_go()

    def mean(self) -> tuple[Weights | None, dict[str, Any]]:
        """The mean of the updates, for whoever is above, and the extras of it; None if nothing was folded."""
        if self._away:
            self._read(lambda fold: fold.settle())
        mean, extras = None, {}
        if self._round.folded:
            step = self._optimizer.step
            self._hearing.tell(step, self._peers)
            mean, said = self._fold.mean(self._memory.allocate), self._hearing.relayed(step)
            extras = {self._optimizer.name: said} if said else {}
        self._let_go()
        return mean, extras

    @property
    def _peers(self) -> list[str]:
        assert self._asked is not None  # nothing is gathered before somebody was asked
        return list(self._asked[0].all_ends())

    def _read(self, work: Callable[[Fold], T]) -> T:
        """Work on what was gathered; updates whose peers go while they are read are left out, and it begins again."""
        while True:
            try:
                return work(self._fold)
            except PeerLost as lost:
                logger.warning("an update of %s is lost in round %s: %s", lost.end, self._round.number, lost)
                for _, weights, samples in [item for item in self._away if item[0] == lost.end]:
                    self._fold.drop(weights)
                    self._hearing.forget(lost.end, samples)
                    self._round.retract(samples)
                    self._of[lost.end] -= 1
                self._away = [item for item in self._away if item[0] != lost.end]
                self._without(lost)
            finally:
                for _, weights, _ in self._away:
                    if weights.source is not None:
                        weights.source.rewind()

    def _answered(self, channel: Channel, end: str, message: Message | None) -> None:
        """A peer has answered, or gone."""
        if message is None:
            self._gone(channel, end)
        elif isinstance(message, Update):
            said = self._said(channel, end, message)
            heard_by(channel.selector, end, said.round, said.seconds, said.said)
            if self.sampling is not None:
                self.sampling.heard(channel, end, message, said.seconds)
            if self.clock is not None:
                self.clock.reach(time_of(message, end))
            self._offer(end, message)
        elif not self.aside(end, message):
            raise RunError(
                f"an update was due from {end} in round {self._round.number}; it sent a {type(message).__name__}"
            )

    def _said(self, channel: Channel, end: str, update: Update) -> Said:
        """What the selector is told of an answer."""
        seconds = channel.took_s(end)
        if self.clock is not None:
            seconds = max(0.0, time_of(update, end) - self._given.get(end, 0.0))
        said = update.extras.get(name_of(channel.selector))
        if said is None and not update.samples:
            said = {}
        return Said(update.round, seconds, said)

    def _without(self, lost: PeerLost) -> None:
        """An update that was gathered has gone with its peer: see what the gate says, and gather again."""
        assert self._asked is not None  # nothing is gathered before somebody was asked
        channel, _ = self._asked
        self._round.reopen(lost.end)
        if isinstance(lost.__cause__, DecodeError):
            self._round.lost(lost.end)  # it is there, and would send nonsense again
        else:
            self._gone(channel, lost.end)
        self.gather(channel)

    def _gone(self, channel: Channel, end: str) -> None:
        """A peer has gone before its answer was there."""
        number = self._round.number
        if self._gate.when_lost is WhenLost.STOP:
            raise PeerLost(end, f"it went in round {number}, and the job's gate stops the run then")
        if self._gate.when_lost is WhenLost.CONTINUE:
            logger.warning("%s has gone and is not waited for in round %s", end, number)
            self._round.lost(end)
            return
        logger.warning("%s has gone; round %s waits for it", end, number)
        if not channel.await_return(end, self._patience_s, anew=True):
            raise PeerLost(end, f"it went in round {number} and did not come back within {self._patience_s:g} s")
        assert self._asked is not None  # it was asked
        self._post(channel, [end], self._asked[1])

    def _enough(self) -> None:
        round_ = self._round
        if round_.folded < self._gate.at_least:
            raise TooFewAnswers(round_.number, round_.folded, round_.asked, self._gate.at_least)

    def _make_room(self, update: Weights) -> None:
        """Sum up what lies here packed before it is more than the sum would be: of a large model, twice its size."""
        small = packed(update)
        if small is None or not small.here:
            return
        self._packed_bytes += small.packed_nbytes
        if self._packed_bytes > MOST_PACKED * update.nbytes and self._fold.held:
            self._packed_bytes = 0
            self._read(lambda fold: fold.settle())
            self._away.clear()  # what is summed up cannot be lost any longer

    def _open(self, channel: Channel, order: Order, round_: Round) -> Order:
        self._round, self._asked, self._base = round_, (channel, order), order.weights
        round_.number = order.round
        return order

    def _post(self, channel: Channel, ends: Sequence[str], order: Order) -> None:
        if self.clock is not None:
            order = self.clock.stamped(order)
            self._given.update(dict.fromkeys(ends, self.clock.now))
        channel.post(ends, order)

    def _cohort(self) -> Cohort:
        """Whose updates the mean is of, as far as it has been gathered."""
        round_, most = self._round, max(self._of.values(), default=0)
        return Cohort(round_.asked, self._there, round_.folded, round_.samples, self._fold.total, most)

    def _nobody(self, base: Weights) -> bool:
        """Whether a round without answers is released like any other: then it is one with an update of zeros."""
        if self.privacy is None or not self.privacy.even_of_nobody:
            return False
        self._fold.add(Weights(base.layout, np.zeros(base.nbytes, np.uint8)), 1)
        return True

    def _affordable(self) -> bool:
        """Whether the privacy budget allows this round's mean to be released."""
        if self.privacy is None or self.privacy.affords(self._cohort()):
            return True
        logger.warning("the privacy budget is spent: round %s changes nothing", self._round.number)
        return False

    def _let_go(self) -> None:
        """The memory of what was gathered is free for others."""
        self._fold, self._hearing = self._empty_fold(), Hearing(self._memory)
        self._base, self._asked = None, None
        self._of.clear()
        self._away.clear()
        self._packed_bytes = 0

    def _empty_fold(self) -> Fold:
        """What the next round's updates are folded into: their mean, unless the optimizer has a fold of its own."""
        made: Fold = getattr(self._optimizer, "fold", WeightedMean)()
        return made

    def _offer(self, end: str, update: Update) -> None:
        if self.privacy is not None and update.weights is not None:
            self.privacy.admit(end, update.extras)
        try:
            said = heard(end, update, self._optimizer.name)
            empty = _adds_nothing(update.weights) or not_finite(said)
        except PeerLost as lost:
            logger.warning("an update of %s does not count in round %s: %s", end, self._round.number, lost)
            self._round.lost(end)
            return
        verdict = self._round.offer(end, update.round, update.samples, empty=empty)
        if verdict is Verdict.FOLDED:
            assert update.weights is not None  # FOLDED says so
            self._of[end] = self._of.get(end, 0) + 1
            here = update.weights.source is None
            if not here:
                self._away.append((end, update.weights, update.samples))
            reader = self._memory.reader(update.weights.data) if here else None
            plain = {**said.plain, **said.weights} if said.weights else said.plain
            weighs = self._optimizer.weigh(update.samples, self._round.number - update.round, plain)
            answer = None if self._meet is None else self._answer(end, update)
            self._fold.add(update.weights, update.samples, reader, weighs, answer)
            note = self._hearing.note(said)
            self._make_room(update.weights)
            if said.weights:
                self._listen(said, note, update.weights.layout, weighs)
        elif verdict in (Verdict.STALE, Verdict.UNASKED):
            logger.info("an update of %s for round %s is passed over: %s", end, update.round, verdict.value)

    def _answer(self, end: str, update: Update) -> Answer:
        """Whose update it is."""
        assert self._asked is not None  # nothing is gathered before somebody was asked
        return Answer(end, update.round, self._asked[1], self._round.asked, self._round.late)

    def _listen(self, said: Heard, note: Heard, layout: Layout, weighs: tuple[float, float]) -> None:
        """Fold weights that were said; the update that they came with is not to be lost any longer."""
        if self._away:
            self._read(lambda fold: fold.settle())
            self._away.clear()
        if self._hearing.holds(note):
            self._hearing.fold(said, layout, weighs)


def _adds_nothing(weights: Weights | None) -> bool:
    """Whether an update brings nothing that could be folded; large ones are not looked through: it costs a pass."""
    return weights is None or (weights.layout.size <= SMALL and bool(weights.not_finite()))
