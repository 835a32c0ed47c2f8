"""What an optimizer is: one algorithm, in two halves.

The *server half* is a `Step`: it makes the next model from the last one and the mean of the updates. The
*client half* is a `Regularizer`: it adds a term to the loss that a trainer minimises. Either may do nothing.
One algorithm is one file; the `sort` of a config's `optimizer` leads to it through `flame.extend`.

What the halves have to say to each other travels in `extras[name]` of orders and updates:

```
server   tell ──────────────▶ begin    client      with every order
         hear, beside ◀────── finish               with every update
```

A middle aggregator passes on what the server tells, hears what those below it say, and relays it as one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from flame.weights.adapters import Adapter
from flame.weights.layout import Allocate, Layout, Weights
from flame.weights.target import Target
from flame.wire.message import Order

Said = Mapping[str, Any]
"""What one half says to the other: plain values, and `Weights` of the model's layout, by name."""

Perturb = Callable[[int, slice, NDArray[np.float64]], None]
"""Adds noise to a block of a mean: the number of the segment, which of its elements, and their values."""


class Trained(msgspec.Struct, frozen=True):
    """What a trainer knows of the round that it has trained in.

    Attributes:
        samples: how many it has.
        metrics: what the program measured.
        learning_rate: of its own training; None if nobody says.
        epochs: how many times it goes through its samples, as the config has it.
        batch_size: samples of a step, as the config has it.
    """

    samples: int
    metrics: Mapping[str, Any]
    learning_rate: float | None = None
    epochs: int = 1
    batch_size: int | None = None


class Step(Protocol):
    """The server half, asked block by block, so that no array of the model's size is needed in between.

    A round is `open`, then `block` for every block of every floating-point segment, from several threads but
    never twice for the same place, then `close`. Integers are none of a step's business: they become base +
    mean.

    What the client halves say is told to it before: `hear` for every update that counts, in the order in which they
    were folded, then `gathered`. Among equals in a tree (a middle aggregator) it takes no step, and `relay` follows.
    """

    @property
    def repeatable(self) -> bool:
        """Whether blocks may be asked for again after `open`, because a round's updates had to be read again.

        A step that hears says False: what it has heard stays true, once its blocks are asked for.
        """

    def tell(self, sent: Weights, averaged: Collection[str]) -> Said:
        """What goes to the client halves with an order; {} for nothing.

        Args:
            sent: the model, which is about to be sent out: a fresh copy that may be changed in place, and that the
                updates will be relative to.
            averaged: names of tensors that are measured rather than learned.
        """

    def hear(self, end: str, samples: int, said: Said) -> None:
        """What was said with an update that counts, less the `Weights` in it.

        Raises:
            RunError: it does not say what it should.
        """

    def gathered(self, ends: Sequence[str]) -> None:
        """All has been heard; `ends` are the peers that are there, whether they were asked or not."""

    def beside(self, name: str, segment: int, where: slice, mean: NDArray[np.float64]) -> None:
        """A block of the mean of the `Weights` that were said under a name, weighed like the updates themselves.

        Called for every block of every segment, after all that `block` is called for.

        Args:
            name: the name.
            segment: the number of the segment in the layout.
            where: the elements of that segment.
            mean: float64 of shape (elements,); may be overwritten.
        """

    def relay(self) -> Said:
        """What has been heard, as the client half of one peer would say it; means of `Weights` are added to it."""

    def open(self, layout: Layout) -> None:
        """A round's blocks will come from models of this layout; state is allocated on first use."""

    def block(
        self, segment: int, where: slice, base: NDArray[np.float64], mean: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The next model at elements `where` of a segment.

        Args:
            segment: the number of the segment in the layout.
            where: the elements of that segment.
            base: the model that was sent out, float64 of shape (elements,); may be overwritten.
            mean: the mean update, likewise.

        Returns:
            The new values, not yet rounded; they may lie in `base` or `mean`.
        """

    def close(self) -> None:
        """All blocks of the round have been asked for."""

    def state(self) -> dict[str, NDArray[np.float64]]:
        """What must be kept to go on later, as arrays by name, not copied; {} where there is nothing."""

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Go on from what `state` returned."""


class Answer(NamedTuple):
    """Whose update it is that is folded.

    Attributes:
        end: its sender.
        round: the round that it is for.
        order: what was sent out in the round in which it counts.
        asked: how many were asked in that round, so far.
        late: whether answers to earlier rounds count.
    """

    end: str
    round: int
    order: Order
    asked: int
    late: bool


class Fold(Protocol):
    """What becomes of the updates of a round: their weighted mean, unless an optimizer has a `fold` of its own.

    An optimizer whose updates cannot be averaged has an attribute `fold`, a class or function that makes an empty one.
    If it has a method `meet` besides, that is given the model's adapter before each order of the worker at the top, and
    the fold is told whose each update is.
    """

    @property
    def held(self) -> int:
        """How many updates are kept by reference at this moment."""

    @property
    def folded(self) -> int:
        """How many updates went in."""

    @property
    def total(self) -> float:
        """What the sum of the updates is divided by; where nothing is, how many there are."""

    def add(
        self,
        update: Weights,
        samples: float,
        reader: Callable[[int, NDArray[Any]], None] | None = None,
        weighs: tuple[float, float] | None = None,
        answer: Answer | None = None,
    ) -> None:
        """Take one update; its peer is asked for the bytes when they are needed."""

    def settle(self) -> None:
        """Read everything that is held. Raises PeerLost if it lay with a peer that has gone; nothing has changed."""

    def drop(self, update: Weights) -> None:
        """An update that is held does not count after all."""

    def mean(self, allocate: Allocate = ...) -> Weights:
        """What the updates come to, for whoever is above."""

    def finish(
        self,
        base: Weights,
        step: Step,
        allocate: Allocate = ...,
        *,
        averaged: Collection[str] = (),
        perturb: Perturb | None = None,
    ) -> Weights:
        """The next model, as new weights."""

    def finish_into(
        self,
        target: Target,
        base: Weights,
        step: Step,
        *,
        averaged: Collection[str] = (),
        perturb: Perturb | None = None,
    ) -> None:
        """Write the next model into the memory of a model whose size stays."""


class Regularizer(Protocol):
    """The client half, of any framework whose arrays know arithmetic."""

    @property
    def wanted(self) -> bool:
        """Whether the algorithm is nothing without a program that asks for its term."""

    @property
    def get_term(self) -> Callable[..., Any]:
        """A function of whatever the algorithm looks at, by name; it gives a scalar to add to the loss."""

    def save_state(self, state: Any, **values: Any) -> None:
        """Before or after training: remember what the algorithm needs of the models."""

    def update(self) -> None:
        """The round is over."""

    def begin(self, said: Said, sent: Weights, adapter: Adapter) -> Weights:
        """An order has come.

        Args:
            said: what the server half tells.
            sent: the model that was sent, shared: not to be changed.
            adapter: the trainer's model, not loaded yet.

        Returns:
            What training begins from; `sent`, as a rule.
        """

    def finish(self, delta: Weights, trained: Trained, adapter: Adapter) -> Said:
        """Training is over; what goes to the server half with the update.

        Args:
            delta: the model minus what was sent, about to be sent itself; may be changed in place.
            trained: what the trainer knows of the round.
            adapter: the trainer's model, trained.

        Raises:
            RunError: the program has not done what the algorithm needs.
        """

    def state(self) -> Mapping[str, Any]:
        """What must be kept from round to round to go on later, as plain values and arrays; {} where nothing must."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""


class Optimizer(Protocol):
    """One algorithm of federated optimization."""

    @property
    def name(self) -> str:
        """Its `sort` in a config; its halves talk through `extras[name]` of a message."""

    @property
    def synchronous(self) -> bool:
        """Whether it makes no sense with updates that come a round late."""

    @property
    def step(self) -> Step:
        """The server half."""

    def weigh(self, samples: int, staleness: int, said: Said) -> tuple[float, float]:
        """How an update counts: by what it is multiplied, and how much that adds to what the sum is divided by.

        Args:
            samples: how many are behind it.
            staleness: how many rounds ago its base was sent out; 0 in a synchronous federation.
            said: what its client half, or a middle aggregator's relay, said with it.

        Raises:
            RunError: it does not say what it should.
        """

    @property
    def regularizer(self) -> Regularizer:
        """The client half."""
