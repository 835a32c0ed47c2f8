"""Optimizers as they are written for Cisco's Flame, and how they work here.

Such a one is asked with all updates of a round at hand, in the framework's own form: a dict of tensors for torch, a
list of arrays for Keras. Every aggregator asks it, those in between too, each for what it was sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from flame.common.own import own_state, put_back
from flame.common.typing import ModelWeights
from flame.errors import ConfigError, RunError, WeightsError
from flame.optimizer import Answer, Perturb, Said, Step
from flame.optimizer.asked import Asked
from flame.optimizer.halves import Alone, BySamples, Plain
from flame.optimizer.regularizer.default import Regularizer
from flame.optimizer.train_result import TrainResult
from flame.weights.adapters import Adapter
from flame.weights.layout import Allocate, Weights, plain_memory
from flame.weights.plain import form_of, in_form, out_of
from flame.weights.target import Target


class Cache(dict[str, TrainResult]):
    """The updates of a round by the ids of their ends; may be emptied while it is gone through."""

    def iterkeys(self) -> Iterator[str]:
        """The ids, in the order in which the updates were folded."""
        return iter(list(self))


class AbstractOptimizer(ABC):
    """One algorithm; its client half is its attribute `regularizer`, which adds nothing if there is none.

    One that is to work asynchronously has a method `scale_add_agg_weights(base_weights, agg_weights, agg_goal)` too.
    `do` is then called once for each update, as it was folded, with what it returned for the one before as
    `base_weights` (None at first), `total` (the update's samples) and `version` (the aggregator's round); at the end
    `scale_add_agg_weights` makes the next model of the last one and what `do` returned.
    """

    @abstractmethod
    def do(
        self, base_weights: ModelWeights, cache: Cache, *, total: int = 0, version: int = 0, **kwargs: Any
    ) -> ModelWeights | None:
        """The next model.

        Args:
            base_weights: the model that was sent out, as a private copy.
            cache: the updates, which are relative to it.
            total: how many samples are behind them all.
            version: the round, where rounds are asynchronous.
            kwargs: `num_trainers`, how many were asked, where they are synchronous.

        Returns:
            New weights, or `base_weights` changed in place; None leaves the model as it is.
        """


class Adapted(BySamples):
    """An optimizer with a method `do`, as the engine knows optimizers.

    Attributes:
        own: the program's.
    """

    def __init__(self, name: str, own: Any) -> None:
        self.name, self.own = name, own
        self.step = _Told(own)
        self.regularizer = getattr(own, "regularizer", None) or Regularizer()
        if not isinstance(self.regularizer, Alone):
            reason = f"the regularizer of {type(own).__name__} is a {type(self.regularizer).__name__}"
            raise ConfigError("optimizer.sort", reason, "subclass flame.optimizer.regularizer.default.Regularizer")

    @property
    def synchronous(self) -> bool:  # type: ignore[override]
        """Whether it has no way to take updates one by one."""
        return not hasattr(self.own, "scale_add_agg_weights")

    def meet(self, adapter: Adapter) -> None:
        """This is the model that the federation trains."""
        self.step.look_at(adapter)

    def fold(self) -> Cached:
        """An empty fold."""
        return Cached(self.name, self.own)


class _Told(Plain):
    """The server half, as far as it is more than `do`: says in which form the program sees weights."""

    repeatable = False

    def __init__(self, own: Any) -> None:
        self._own = own
        self._model: Any = None
        self._form = ""

    def look_at(self, adapter: Adapter) -> None:
        if self._model is not adapter.model:
            self._model, self._form = adapter.model, form_of(adapter)

    def tell(self, sent: Weights, averaged: Collection[str]) -> Said:
        """The form, and what is measured, not learned: for aggregators in between, which have no model."""
        return {"form": self._form, **({"averaged": sorted(averaged)} if averaged else {})}

    def state(self) -> dict[str, Any]:
        """The attributes of the program's optimizer, but for functions; or its `state_dict()`."""
        return own_state(self._own)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        put_back(self._own, state)


class Cached:
    """Keeps all updates of a round, and asks the program's optimizer at the end; see `flame.optimizer.Fold`."""

    def __init__(self, name: str, own: Any) -> None:
        self._name, self._own = name, own
        self._rows: list[tuple[Weights, int, Answer]] = []

    @property
    def held(self) -> int:
        """How many updates are kept by reference."""
        return len(self._rows)

    @property
    def folded(self) -> int:
        """How many updates went in."""
        return len(self._rows)

    @property
    def total(self) -> float:
        """The samples behind them."""
        return float(sum(samples for _, samples, _ in self._rows))

    def add(
        self, update: Weights, samples: float, reader: Any = None, weighs: Any = None, answer: Answer | None = None
    ) -> None:
        """Keep one more."""
        assert answer is not None  # whoever leads rounds says whose it is
        self._rows.append((update, int(samples), answer))

    def settle(self) -> None:
        """Bring here what lies elsewhere. Raises PeerLost if it lay with a peer that has gone; nothing has changed."""
        for update, _, _ in self._rows:
            update.data  # noqa: B018 - to look at it is to bring it

    def drop(self, update: Weights) -> None:
        """An update does not count after all."""
        self._rows = [row for row in self._rows if row[0] is not update]

    def mean(self, allocate: Allocate = plain_memory) -> Weights:
        """By how much the program's optimizer changes what was sent out, for whoever is above."""
        base = self._rows[-1][2].order.weights
        assert base is not None  # updates answer orders that have some
        made = self._made(base)
        delta = Weights(base.layout, allocate(base.nbytes))
        for out, after, before in zip(delta.segments, made.segments, base.segments, strict=True):
            out[...] = after - before
        return delta

    def finish(
        self,
        base: Weights,
        step: Step,
        allocate: Allocate = plain_memory,
        *,
        averaged: Collection[str] = (),
        perturb: Perturb | None = None,
    ) -> Weights:
        """The next model; the step is not asked. `averaged` and `perturb` are for means of numbers."""
        return self._made(base) if self._rows else base

    def finish_into(
        self,
        target: Target,
        base: Weights,
        step: Step,
        *,
        averaged: Collection[str] = (),
        perturb: Perturb | None = None,
    ) -> None:
        """Write it into the memory of a model."""
        made = self.finish(base, step)
        for number, segment in enumerate(made.segments):
            for out, where in target.parts(number, slice(0, segment.size)):
                out[...] = segment[where]

    def _made(self, base: Weights) -> Weights:
        """What `do` makes of a base.

        Raises:
            RunError: it makes no weights of it that the model could have, or the form of these is not known.
        """
        last = self._rows[-1][2]
        form = last.order.extras.get(self._name, {}).get("form")
        if form is None:
            raise RunError(f"{self._name}: the order says no form of weights; do all workers have the same optimizer?")
        if isinstance(self._own, Asked):
            self._own.averaged = last.order.extras[self._name].get("averaged", [])
        values = self._one_by_one(base, form) if last.late else self._at_once(base, form)
        if values is None:
            return base
        try:
            return out_of(values, base.layout)
        except WeightsError as error:
            raise RunError(
                f"optimizer {self._name}, as its `do` has aggregated round {last.order.round}: {error}"
            ) from None

    def _at_once(self, base: Weights, form: str) -> Any:
        cache = Cache({answer.end: TrainResult(in_form(u, form), count) for u, count, answer in self._rows})
        asked = self._rows[-1][2].asked
        return self._own.do(in_form(base, form), cache, total=int(self.total), num_trainers=asked)

    def _one_by_one(self, base: Weights, form: str) -> Any:
        sum_: Any = None
        for update, count, answer in self._rows:
            cache = Cache({answer.end: TrainResult(in_form(update, form), count, answer.round)})
            sum_ = self._own.do(sum_, cache, total=count, version=answer.order.round)
        if sum_ is None:
            return None
        return self._own.scale_add_agg_weights(in_form(base, form), sum_, len(self._rows))
