"""Those with the largest losses are asked, of some that are drawn by the size of their data.

Y. J. Cho, J. Wang, G. Joshi: Towards Understanding Biased Client Selection in Federated Learning. AISTATS 2022
(Client Selection in Federated Learning: Convergence Analysis and Power-of-Choice Selection Strategies, 2020); the
variant rpow-d, in which a peer's loss is the one that it had when it was last heard, so that nobody is asked twice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from flame.common.settings import refuse_others
from flame.errors import ConfigError, RunError
from flame.selector.choice import Choice, kept, put_back
from flame.selector.drawing import drawn
from flame.selector.numbers import in_bounds, number_in

LOSS, SAMPLES = "loss", "samples"


class PowerOfChoice:
    """Draws d candidates, each with a chance in proportion to its samples, and asks the k with the largest losses.

    Somebody who was never heard has an infinite loss, and as many samples as others on average.

    Args:
        generator: draws.
        k: how many are asked.
        d: how many candidates there are, `k` or more; with d = k the choice is by size alone.

    Raises:
        ConfigError: a setting that there is not, or a value that it cannot have.
    """

    name = "power-of-choice"

    def __init__(self, *, generator: random.Random, k: Any = None, d: Any = None, **others: Any) -> None:
        refuse_others("selector", "power-of-choice", others, ("k", "d"))
        if type(k) is not int or k < 1:
            raise ConfigError("selector.kwargs.k", f"is {k!r}", "how many are asked, 1 or more")
        if type(d) is not int or d < k:
            raise ConfigError("selector.kwargs.d", f"is {d!r}", "how many candidates there are, k or more")
        self.k, self.d = k, d
        self._generator = generator
        self._choice = Choice()
        self._loss: dict[str, float] = {}
        self._samples: dict[str, float] = {}
        self._relayed: dict[str, tuple[float, float]] = {}

    def state(self) -> dict[str, Any]:
        """All that was heard, and whom was chosen."""
        heard = {end: (self._loss[end], self._samples[end]) for end in self._loss}
        return {"heard": heard, "choice": self._choice.state(), "generator": kept(self._generator)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        if state:
            for end, (loss, samples) in state["heard"].items():
                self._loss[end], self._samples[end] = loss, samples
            self._choice.restore(state["choice"])
            put_back(self._generator, state["generator"])

    def says(self, metrics: Mapping[str, Any], samples: int) -> dict[str, Any]:
        """The metric `loss`, and the samples behind it.

        Raises:
            RunError: the worker has not measured it.
        """
        loss = number_in(metrics, LOSS)
        if loss is None and samples:
            raise RunError(f"the selector power-of-choice chooses by the metric loss; measured: {list(metrics)}")
        return {LOSS: max(0.0, loss or 0.0), SAMPLES: float(samples)}

    def relay(self) -> dict[str, Any]:
        """The mean of the losses that were heard since the last time, by samples, and the samples."""
        heard, self._relayed = self._relayed.values(), {}
        samples = sum(size for _, size in heard)
        return {LOSS: sum(loss * size for loss, size in heard) / samples if samples else 0.0, SAMPLES: float(samples)}

    def hear(self, end: str, number: int, seconds: float | None, said: object) -> None:
        """Note an answer.

        Raises:
            RunError: it says no loss, or none that could be.
        """
        if said == {}:
            return
        self._loss[end] = in_bounds(said, LOSS, self.name, end)
        self._samples[end] = in_bounds(said, SAMPLES, self.name, end)
        self._relayed[end] = self._loss[end], self._samples[end]

    def select(self, ends: Sequence[str], properties: Mapping[str, Any]) -> Sequence[str]:
        """The ends chosen for this round that are still there."""
        return self._choice.renew(ends, properties, self._chosen)

    def _chosen(self, ends: Sequence[str]) -> list[str]:
        usual = sum(self._samples.values()) / len(self._samples) if self._samples else 1.0
        candidates = drawn({end: self._samples.get(end, usual) for end in ends}, self.d, self._generator)
        candidates.sort(key=lambda end: self._loss.get(end, math.inf), reverse=True)
        picked = set(candidates[: self.k])
        return [end for end in ends if end in picked]
