"""`do` of the optimizers here: what the `do` of a program's own optimizer that subclasses one may call.

The engine never asks for it: it folds updates as they come, block by block. An optimizer whose class has a `do` of its
own is asked as every one that is written for Cisco's Flame; see `flame.optimizer.abstract`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flame.common.typing import ModelWeights
from flame.optimizer import Step
from flame.optimizer.train_result import TrainResult
from flame.weights.layout import Layout, Weights
from flame.weights.plain import arrays_of, in_form, out_of, word_for

_PACKAGE = __name__.rpartition(".")[0]


class Asked:
    """An optimizer whose server half takes nothing but the mean of the updates, weighted by their samples.

    Attributes:
        step: the server half.
        averaged: the tensors, such as running means, in which no step is taken: they are plainly averaged.
    """

    step: Step
    averaged: Sequence[str] = ()

    def do(
        self,
        base_weights: ModelWeights,
        cache: dict[str, TrainResult],
        *,
        total: int = 0,
        version: int = 0,
        **kwargs: Any,
    ) -> ModelWeights | None:
        """The next model.

        Args:
            base_weights: the model that was sent out, in the framework's form.
            cache: the updates by their senders, which are relative to it; it is emptied, unless there are no samples.
            total: how many samples are behind them all; whoever has taken some out of the cache says how many are left.
            version: not looked at.
            kwargs: not looked at.

        Returns:
            New weights in the form of `base_weights`; None if there are no updates, or no samples behind them.

        Raises:
            WeightsError: an update does not fit the model.
        """
        if not cache or not total:
            return None
        arrays = arrays_of(base_weights)
        layout = Layout.of(arrays)
        base = Weights.pack(arrays, layout=layout)
        means = [np.zeros(segment.size) for segment in layout.segments]
        for end in list(cache):
            result = cache.pop(end)
            for mean, values in zip(means, out_of(result.weights, layout).segments, strict=True):
                mean += np.multiply(values, result.count / total, dtype=np.float64)
        self.step.open(layout)
        for number, (values, mean) in enumerate(zip(base.segments, means, strict=True)):
            now = values.astype(np.float64)
            plain = now + mean
            if layout.segments[number].exact:
                values[...] = np.rint(plain)
                continue
            values[...] = self.step.block(number, slice(0, values.size), now, mean)
            for where in self._averaged(layout, number):
                values[where] = plain[where]
        self.step.close()
        made: ModelWeights = in_form(base, word_for(base_weights))
        return made

    def _averaged(self, layout: Layout, segment: int) -> Iterator[slice]:
        """Where the tensors of a segment lie that are averaged; those of a list are known by their places alone."""
        names = {*self.averaged, *(name.partition(".")[0] for name in self.averaged)}
        for entry, (number, where) in zip(layout.entries, layout.spans, strict=True):
            if number == segment and entry.name in names:
                yield where


def asks_itself(optimizer: Any) -> bool:
    """Whether an optimizer has a `do`, or what belongs to it, that a program has written."""
    own = [getattr(optimizer, name, None) for name in ("do", "scale_add_agg_weights")]
    return any(each is not None and not str(each.__module__).startswith(f"{_PACKAGE}.") for each in own)


def added(values: Any, more: Any, times: float) -> Any:
    """Weights of any form plus others of that form, which count so many times; None stands for zeros."""
    if isinstance(more, Mapping):
        return {key: _sum(None if values is None else values[key], each, times) for key, each in more.items()}
    if isinstance(more, list | tuple):
        return [_sum(None if values is None else values[at], each, times) for at, each in enumerate(more)]
    return _sum(values, more, times)


def _sum(value: Any, more: Any, times: float) -> Any:
    return more * times if value is None else value + more * times
