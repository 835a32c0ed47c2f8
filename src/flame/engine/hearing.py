"""What the client halves of an optimizer say with the updates of a round, until the server half is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from flame.backend.pool import Pool
from flame.engine.fold import SMALL, WeightedMean
from flame.errors import RunError, WeightsError
from flame.optimizer import Said, Step
from flame.weights.layout import Layout, Weights
from flame.wire.message import Update

_NOTHING: Mapping[str, Weights] = MappingProxyType({})


class Heard(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What was said with one update.

    Attributes:
        end: by whom.
        samples: how many are behind it.
        plain: what of it is plain values.
        weights: what of it is as large as the model.
    """

    end: str
    samples: int
    plain: Said
    weights: Mapping[str, Weights]


def heard(end: str, update: Update, name: str) -> Heard:
    """What was said with an update; its weights are brought here, if they lay elsewhere.

    Raises:
        RunError: something else than values by name was said.
        PeerLost: some of it lay with a peer that has gone.
    """
    if not update.extras:
        return Heard(end, update.samples, {}, _NOTHING)
    said: Any = update.extras.get(name, {})
    if not isinstance(said, dict):
        raise RunError(f"{end} said a {type(said).__name__} in extras[{name!r}]; values by name are due")
    weights = {key: value for key, value in said.items() if isinstance(value, Weights)}
    for each in weights.values():
        each.data  # noqa: B018 - to look at it is to bring it
    return Heard(end, update.samples, {k: v for k, v in said.items() if k not in weights}, weights)


def not_finite(said: Heard) -> bool:
    """Whether what was said holds a NaN or an infinity; large weights are not looked through: it costs a pass."""
    return bool(said.weights) and any(each.layout.size <= SMALL and each.not_finite() for each in said.weights.values())


class Hearing:
    """What has been said in a round: plain values one by one, weights as their running means.

    Args:
        memory: for the means.
    """

    def __init__(self, memory: Pool) -> None:
        self._memory = memory
        self._heard: list[Heard] = []
        self._means: dict[str, WeightedMean] = {}

    def note(self, said: Heard) -> Heard:
        """The update that it was said with counts; returns what is kept of it, without weights."""
        note = Heard(said.end, said.samples, said.plain, _NOTHING) if said.weights else said
        self._heard.append(note)
        return note

    def holds(self, note: Heard) -> bool:
        """Whether it still counts."""
        return any(each is note for each in reversed(self._heard))

    def fold(self, said: Heard, layout: Layout, weighs: tuple[float, float]) -> None:
        """Fold the weights in what was said; there is no way back.

        Raises:
            WeightsError: they do not fit the model.
        """
        for name, weights in said.weights.items():
            if weights.layout != layout:
                raise WeightsError(f"what {said.end} said as {name}: {layout.difference(weights.layout)}")
            mean = self._means.setdefault(name, WeightedMean())
            mean.add(weights, said.samples, self._memory.reader(weights.data), weighs)

    def forget(self, end: str, samples: int) -> None:
        """The last update of a peer with so many samples does not count after all."""
        for number in range(len(self._heard) - 1, -1, -1):
            if (self._heard[number].end, self._heard[number].samples) == (end, samples):
                del self._heard[number]
                return

    def tell(self, step: Step, ends: Sequence[str]) -> None:
        """Let a step hear what was said one by one."""
        for said in self._heard:
            step.hear(said.end, said.samples, said.plain)
        step.gathered(ends)

    def show(self, step: Step) -> None:
        """Let a step see the means."""
        for name, mean in sorted(self._means.items()):
            mean.each(lambda segment, where, block, name=name: step.beside(name, segment, where, block))  # type: ignore[misc]

    def relayed(self, step: Step) -> Said:
        """All of it as one peer would say it."""
        means = {name: mean.mean(self._memory.allocate) for name, mean in sorted(self._means.items())}
        return {**step.relay(), **means}
