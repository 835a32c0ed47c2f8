"""One model that travels: whoever has it trains it and hands it to the next. A round is once around.

Everybody is told of every step, so that everybody knows who has the model. If that peer goes, the last one before it
that is still there hands its own copy to the next: at worst, what the lost ones learned in this round is lost. A step
has a number, and each worker takes each number once, so that a model which is sent twice is trained once.

K. Chang et al.: Distributed deep learning networks among institutions for medical imaging (cyclical weight transfer).
Journal of the American Medical Informatics Association, 2018.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flame.channel.channel import Channel
from flame.engine.gate import Gate, WhenLost
from flame.engine.peers import in_order
from flame.errors import PeerLost, RunError
from flame.weights.layout import Weights
from flame.wire.message import Order

NAME = "cyclic"
"""What is said about a step is in the `extras` of an order under this name."""

REMEMBERED = 16
"""How many of those who had the model last are remembered."""

logger = logging.getLogger(__name__)


class Step(NamedTuple):
    """Where the model is.

    Attributes:
        number: counts the steps of the run, from 0; -1 for not known.
        round: from 1.
        trail: those who had the model last, and at the end who has it now.
        done: how many have trained it in this round.
    """

    number: int = -1
    round: int = 1
    trail: tuple[str, ...] = ()
    done: int = 0

    @property
    def holder(self) -> str:
        """Who has the model; "" for not known."""
        return self.trail[-1] if self.trail else ""

    def to(self, end: str, round_: int) -> Step:
        """The step by which the model goes on to somebody, in this round or the next."""
        done = self.done + 1 if round_ == self.round else 0
        return Step(self.number + 1, round_, (*self.trail, end)[-REMEMBERED:], done)

    def plain(self) -> dict[str, Any]:
        """As it is said to others."""
        return {"step": self.number, "round": self.round, "trail": list(self.trail), "done": self.done}


class Cycle:
    """One worker's place in a cycle.

    Args:
        channel: where the others are.
        name_of: a worker's name, by which they are in order.
        rounds: how many there are.
        gate: what follows when somebody goes: it is passed over, or the run stops.
        shuffle: a text from which each round's order follows; None for the order of the names in every round.

    Attributes:
        me: this worker's id.
        step: where the model is, as far as this worker knows.
    """

    def __init__(
        self, channel: Channel, name_of: Callable[[str], str], rounds: int, gate: Gate, shuffle: str | None = None
    ) -> None:
        self._channel, self._name_of, self._rounds = channel, name_of, rounds
        self._gate, self._shuffle = gate, shuffle
        self.me = channel.get_backend_id()
        self._left: dict[str, int] = {}
        self._kept: Weights | None = None
        self.step = Step()

    def state(self) -> dict[str, Any]:
        """Where the model is, and this worker's own copy of it if it ever had it."""
        return {"step": self.step.plain(), "kept": self._kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; everybody is there again."""
        self.step, self._kept = _read(self.me, state["step"]), state["kept"]
        if self.step.holder:
            self._left[self.step.holder] = self._channel.left(self.step.holder)

    @property
    def members(self) -> list[str]:
        """Who is there, this worker too, in the order of their names."""
        return in_order([*self._channel.all_ends(), self.me], self._name_of)

    def keeps(self, last: Order) -> bool:
        """Whether this worker is the one of all that keeps the final model."""
        said = last.extras.get(NAME)
        return isinstance(said, Mapping) and said.get("keeper") == self.me

    def begin(self, model: Callable[[], Weights], *, ask: bool) -> Order | None:
        """The first order, if this worker is the first of all and the others have not begun, or if the model has come.

        Args:
            model: the model to begin with.
            ask: whether to ask the others; needless where all begin together.
        """
        if self._order(1)[0] != self.me:
            return None
        for end in list(self._channel.all_ends()) if ask else ():
            self._channel.post([end], Order(0, extras={NAME: {"asks": True}}))
        for end in list(self._channel.all_ends()) if ask else ():
            message = self._channel.take(end)
            order = None if message is None else self._hear(end, message)
            if order is not None:
                return order  # the model came before the answer
        if self.step.number >= 0:
            return None
        return self._move(Step(0, 1, (self.me,)), model())

    def receive(self, model: Callable[[], Weights]) -> Order:
        """Wait for the model, or for the end.

        Args:
            model: this worker's own model, for the case that everybody who had it is gone.

        Raises:
            PeerLost: somebody has gone, and the gate stops the run then.
            RunError: everybody has gone before it was known where the model is.
        """
        while True:
            self._watch()
            end = self._channel.speaker(self._missing, self._awaited)
            if end is not None:
                message = self._channel.take(end)
                order = None if message is None else self._hear(end, message)
            else:
                order = self._without(self._missing() or "", model)
            if order is not None:
                return order

    def hand_on(self, weights: Weights) -> Order | None:
        """Hand the model to the next; returns an order if that is this worker itself, or if it was the last."""
        return self._to_next_of(self.me, weights)

    def _move(self, step: Step, weights: Weights) -> Order | None:
        """The model goes on: to its new holder with the weights, to all others as a note."""
        self.step, self._kept = step, weights
        said = {NAME: step.plain()}
        self._left[step.holder] = self._channel.left(step.holder)
        others = [end for end in self._channel.all_ends() if end != step.holder]
        order = Order(step.round, weights, extras=said)
        if step.holder != self.me:
            self._channel.post([step.holder], order)
        self._channel.post(others, Order(step.round, None, extras=said))
        return order if step.holder == self.me else None

    def _to_next_of(self, end: str, weights: Weights) -> Order | None:
        holder, round_ = self._next_of(end)
        if round_ <= self._rounds:
            return self._move(self.step.to(holder, round_), weights)
        last = Order(self._rounds, weights, True, {NAME: {**self.step.plain(), "keeper": self.members[0]}})
        self._channel.post(self._channel.all_ends(), last)
        return last

    def _next_of(self, end: str) -> tuple[str, int]:
        """Who has the model after somebody, and in which round."""
        round_ = self.step.round
        order = self._order(round_, end)
        later = [other for other in order[order.index(end) + 1 :] if self._is_there(other)]
        return (later[0], round_) if later else (self._order(round_ + 1)[0], round_ + 1)

    def _order(self, round_: int, *more: str) -> list[str]:
        """Those who are there, and some who need not be, in a round's order."""
        members = in_order({*self._channel.all_ends(), self.me, *more}, self._name_of)
        if self._shuffle is None:
            return members
        # By a number for each, so that the order of two does not hang on who else is there.
        head = f"{self._shuffle}/{round_}/"
        return sorted(members, key=lambda end: hashlib.blake2b((head + self._name_of(end)).encode()).digest())

    def _is_there(self, end: str) -> bool:
        return end == self.me or self._channel.has(end)

    def _hear(self, end: str, message: object) -> Order | None:
        """Take a message in; an order is returned if the model is here now, or if it is the end."""
        said = message.extras.get(NAME) if isinstance(message, Order) else None
        if not isinstance(message, Order) or not isinstance(said, Mapping):
            raise RunError(f"a model was due from {end}; it sent a {type(message).__name__}")
        if said.get("asks"):
            self._channel.post([end], Order(self.step.round, None, extras={NAME: self.step.plain()}))
            return None
        step = _read(end, said)
        if message.end:
            return message
        if step.number <= self.step.number:
            return None
        self.step = step
        self._left[step.holder] = self._channel.left(step.holder)
        return message if step.holder == self.me and message.weights is not None else None

    def _watch(self) -> None:
        for end in self._channel.all_ends():
            self._left.setdefault(end, self._channel.left(end))

    def _missing(self) -> str | None:
        """Somebody whose absence matters: who has the model, or anybody where the gate stops the run."""
        holder = self.step.holder
        watched = self._left if self._gate.when_lost is WhenLost.STOP else [holder] if holder else []
        for end in watched:
            is_new = self._channel.left(end) != self._left.get(end, 0)
            if end != self.me and (is_new or not self._channel.has(end)):
                return end
        return None if holder or not self._left or not self._channel.empty() else next(iter(self._left))

    def _without(self, gone: str, model: Callable[[], Weights]) -> Order | None:
        """Somebody has gone; if it had the model, the last one before it that is still there hands its copy on."""
        round_, holder = self.step.round, self.step.holder
        if self._gate.when_lost is WhenLost.STOP:
            raise PeerLost(gone, f"it went in round {round_}, and the job's gate stops the run then")
        if not holder:
            raise RunError("everybody has gone, and the model has never come here")
        logger.warning("%s has gone with the model in round %s; the one before it hands on its copy", gone, round_)
        before = [end for end in reversed(self.step.trail[:-1]) if end != gone and self._is_there(end)]
        heir = before[0] if before else self._order(round_)[0]
        if heir == self.me:
            return self._to_next_of(gone, model() if self._kept is None else self._kept)
        # It is waited for like one who has the model: if it goes too, the next before it takes over.
        self.step = self.step._replace(trail=(*self.step.trail[:-1], heir))
        self._left[heir] = self._channel.left(heir)
        return None

    def _awaited(self) -> str:
        holder = self.step.holder
        name = self._name_of(holder) if holder else "whoever has it"
        return f"the model of {name}, in round {self.step.round}, on {self._channel.name()}"


def _read(end: str, said: Mapping[str, Any]) -> Step:
    """What somebody said about a step.

    Raises:
        RunError: it makes no sense.
    """
    number, round_, trail, done = (said.get(key) for key in ("step", "round", "trail", "done"))
    named = isinstance(trail, list) and len(trail) <= REMEMBERED and all(isinstance(one, str) for one in trail)
    if named and type(number) is int and type(round_) is int and type(done) is int:
        return Step(number, round_, tuple(trail or ()), done)
    raise RunError(f"{end} said something about a step that makes no sense: {dict(said)!r:.200}")
