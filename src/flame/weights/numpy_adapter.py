"""Models that are numpy arrays: one array, a list or tuple of arrays, or a dict of arrays.

Values are written into the user's own arrays. An entry of a dict or list that the user replaced is followed,
so long as its shape stays and its dtype is still of the same kind.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flame.errors import WeightsError
from flame.weights.layout import Allocate, Layout, Weights, plain_memory
from flame.weights.target import Target


class Slot(NamedTuple):
    """Where one of the user's arrays lies: elements `where` of a segment, or all of it and in its shape.

    `kinds` are the kinds of dtype that the array may have: floats stay floats.
    """

    key: Any
    shape: tuple[int, ...]
    kinds: str
    segment: int
    where: slice
    whole: bool

    def view(self, segments: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """The array's part of a buffer, in the array's shape."""
        segment = segments[self.segment]
        return segment if self.whole else segment[self.where].reshape(self.shape)


class NumpyAdapter:
    """A numpy model, seen as flat weights; see `flame.weights.adapters.Adapter`."""

    __slots__ = ("_slots", "layout", "model")

    def __init__(self, model: Any) -> None:
        self.model = model
        keys = _keys(model)
        self.layout = Layout.of({name: model if key is None else model[key] for name, key in keys.items()})
        self._slots = tuple(
            Slot(
                key=keys[entry.name],
                shape=entry.shape,
                kinds="f" if entry.dtype.kind == "f" else "iub",
                segment=number,
                where=where,
                whole=(self.layout.segments[number].size,) == entry.shape,
            )
            for entry, (number, where) in zip(self.layout.entries, self.layout.spans, strict=True)
        )

    @property
    def averaged(self) -> frozenset[str]:
        """Nothing: every array is learned."""
        return frozenset()

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether a model is one of the supported forms, and holds at least one array."""
        if isinstance(model, MutableMapping):
            return bool(model) and all(isinstance(k, str) and isinstance(a, np.ndarray) for k, a in model.items())
        if isinstance(model, list | tuple):
            return bool(model) and all(isinstance(a, np.ndarray) for a in model)
        return isinstance(model, np.ndarray)

    def snapshot(self, allocate: Allocate = plain_memory) -> Weights:
        """A copy of the arrays."""
        weights = Weights(self.layout, allocate(self.layout.nbytes))
        segments = weights.segments
        for array, slot in self._arrays():
            np.copyto(slot.view(segments), array)
        return weights

    def load(self, weights: Weights) -> None:
        """Write weights into the user's arrays.

        Raises:
            WeightsError: another layout, an array whose shape or kind changed, or one that is read-only.
        """
        self._agree(weights.layout)
        segments = weights.segments
        for array, slot in self._arrays():
            if not array.flags.writeable:
                raise WeightsError(f"tensor {_name(slot.key)} is read-only, so that nothing can be loaded into it")
            view = slot.view(segments)
            np.copyto(array, view, casting="unsafe")

    def target(self) -> Target | None:
        """The user's own arrays, if all are contiguous, writable and of the layout's dtypes."""
        pieces: list[list[NDArray[Any]]] = [[] for _ in self.layout.segments]
        for array, slot in self._arrays():
            if array.dtype != self.layout.segments[slot.segment].dtype or not array.flags.carray:
                return None
            pieces[slot.segment].append(array.reshape(-1))
        return Target(pieces)

    def delta(self, base: Weights, allocate: Allocate = plain_memory) -> Weights:
        """The arrays minus `base`, in the dtypes of the layout."""
        self._agree(base.layout)
        weights = Weights(base.layout, allocate(base.layout.nbytes))
        before, after = base.segments, weights.segments
        for array, slot in self._arrays():
            np.subtract(array, slot.view(before), out=slot.view(after), casting="unsafe")
        return weights

    def as_dict(self, weights: Weights) -> Any:
        """Fresh arrays in the form and dtypes of the model."""
        self._agree(weights.layout)
        segments = weights.segments
        copies = {slot.key: slot.view(segments).astype(array.dtype) for array, slot in self._arrays()}
        if isinstance(self.model, np.ndarray):
            return copies[None]
        if isinstance(self.model, MutableMapping):
            return {key: copies[key] for key in self.model}
        ordered = [copies[key] for key in range(len(self.model))]
        return tuple(ordered) if isinstance(self.model, tuple) else ordered

    def _arrays(self) -> Iterator[tuple[NDArray[Any], Slot]]:
        """The user's arrays as they are now, each checked against its place."""
        model, alone = self.model, self._slots[0].key is None
        if not alone and len(model) != len(self._slots):
            raise WeightsError(f"the model has {len(model)} arrays now; it had {len(self._slots)}")
        for slot in self._slots:
            try:
                array = model if alone else model[slot.key]
            except (KeyError, IndexError):
                raise WeightsError(f"tensor {_name(slot.key)} is no longer in the model") from None
            if not isinstance(array, np.ndarray) or array.shape != slot.shape or array.dtype.kind not in slot.kinds:
                raise WeightsError(_changed(array, slot))
            yield array, slot

    def _agree(self, layout: Layout) -> None:
        """Adopt the other side's layout object when it is equal: the next comparison is then by identity."""
        if layout is not self.layout:
            if layout != self.layout:
                raise WeightsError(f"these weights do not fit the model: {self.layout.difference(layout)}")
            self.layout = layout


def _keys(model: Any) -> dict[str, Any]:
    """What to index the model with, by the name of each array; None stands for the model itself."""
    if isinstance(model, np.ndarray):
        return {_name(None): None}
    return {_name(key): key for key in (model if isinstance(model, MutableMapping) else range(len(model)))}


def _changed(array: Any, slot: Slot) -> str:
    """What happened to an array that no longer fits."""
    was = f"tensor {_name(slot.key)} held {'floats' if slot.kinds == 'f' else 'integers'} of {list(slot.shape)}"
    is_array = isinstance(array, np.ndarray)
    return f"{was}, and is {f'{array.dtype.name}{list(array.shape)}' if is_array else type(array).__name__} now"


def _name(key: Any) -> str:
    return "array" if key is None else str(key)
