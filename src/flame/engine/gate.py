"""When is a round's answer enough, and what follows when a peer goes before it has answered?"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol

from flame.common.settings import check_number, refuse_others
from flame.errors import ConfigError


class WhenLost(StrEnum):
    """What follows when a peer that was asked has gone."""

    CONTINUE = "continue"
    WAIT = "wait"
    STOP = "stop"


class Gate(Protocol):
    """Decides about a round.

    Attributes:
        at_least: a round with fewer answers than this that count is an error.
        when_lost: what follows when a peer that was asked has gone: the round goes on without it, it is asked again
            when it is back, or the run stops.
    """

    at_least: int
    when_lost: WhenLost

    def met(self, folded: int, settled: int, asked: int) -> bool:
        """Whether it is enough, of `asked` peers, when `settled` have answered or are not waited for.

        Args:
            folded: how many answers count.
            settled: how many peers have answered or are not waited for.
            asked: how many were asked.
        """


class Everyone:
    """Enough when everybody who was asked has answered or gone.

    Args:
        atLeast: how many answers that count a round has to have; fewer end the run with `TooFewAnswers`.
        whenLost: what follows when a peer that was asked has gone: "continue" goes on without it; "wait" asks it again
            when it is back, and ends the run with `PeerLost` if it is not within `network.patience`; "stop" ends the
            run with `PeerLost`.

    Raises:
        ConfigError: a setting that there is not, or a value that it cannot have.
    """

    def __init__(self, *, atLeast: Any = 0, whenLost: Any = "continue", **others: Any) -> None:
        refuse_others("gate", "everyone", others, ("atLeast", "whenLost"))
        if type(atLeast) is not int or atLeast < 0:
            raise ConfigError("gate.kwargs.atLeast", f"is {atLeast!r}", "give a whole number of answers, 0 or more")
        if whenLost not in list(WhenLost):
            raise ConfigError("gate.kwargs.whenLost", f"is {whenLost!r}", f"choose one of {', '.join(WhenLost)}")
        self.at_least, self.when_lost = atLeast, WhenLost(whenLost)

    def met(self, folded: int, settled: int, asked: int) -> bool:
        """Whether everybody is settled."""
        return settled >= asked


class First:
    """Enough with the first so many answers that count; whoever is later is passed over, and asked again when idle.

    For synchronous aggregators. A peer that goes is passed over; if fewer are left than there should be, their answers
    are enough.

    Args:
        k: how many answers.

    Raises:
        ConfigError: a setting that there is not, or a value that it cannot have.
    """

    at_least = 0
    when_lost = WhenLost.CONTINUE

    def __init__(self, *, k: Any = None, **others: Any) -> None:
        refuse_others("gate", "first", others, ("k",))
        if type(k) is not int or k < 1:
            raise ConfigError("gate.kwargs.k", f"is {k!r}", "give a whole number of answers, 1 or more")
        self.k = k

    def met(self, folded: int, settled: int, asked: int) -> bool:
        """Whether so many answers count, or nobody is left to wait for."""
        return folded >= self.k or settled >= asked


class Within:
    """Enough with what is there after so many seconds; whoever is later is passed over, and asked again when idle.

    For synchronous aggregators. A peer that goes is passed over. In `flame run`, seconds are those of simulated time.

    Args:
        seconds: how long a round takes at most, from when its orders were sent.
        atLeast: how many answers that count are waited for, however long it takes; fewer end the run with
            `TooFewAnswers`.

    Raises:
        ConfigError: a setting that there is not, or a value that it cannot have.
    """

    when_lost = WhenLost.CONTINUE

    def __init__(self, *, seconds: Any = None, atLeast: Any = 1, **others: Any) -> None:
        refuse_others("gate", "within", others, ("seconds", "atLeast"))
        check_number("gate", "seconds", seconds, least=0, beyond=True)
        if type(atLeast) is not int or atLeast < 0:
            raise ConfigError("gate.kwargs.atLeast", f"is {atLeast!r}", "give a whole number of answers, 0 or more")
        self.seconds, self.at_least = float(seconds), atLeast

    def met(self, folded: int, settled: int, asked: int) -> bool:
        """Whether nobody is left to wait for."""
        return settled >= asked


class Goal:
    """Enough with so many answers that count, whoever they are of; whoever has not answered yet counts later.

    For asynchronous aggregators. A peer that goes is passed over.

    Args:
        k: how many answers; `hyperparameters.aggGoal` if it is not given.

    Raises:
        ConfigError: a setting that there is not, or a value that it cannot have.
    """

    at_least = 0
    when_lost = WhenLost.CONTINUE

    def __init__(self, *, k: Any = 1, **others: Any) -> None:
        refuse_others("gate", "goal", others, ("k",))
        if type(k) is not int or k < 1:
            raise ConfigError("gate.kwargs.k", f"is {k!r}", "give a whole number of answers, 1 or more")
        self.k = k

    def met(self, folded: int, settled: int, asked: int) -> bool:
        """Whether so many answers count."""
        return folded >= self.k
