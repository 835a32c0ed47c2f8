"""A model whose tensors are copied one by one, because a framework keeps them and only hands copies out or in.

What differs from framework to framework is a `Form`: which tensors there are, and how they are read and written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from flame.errors import WeightsError
from flame.weights.layout import Allocate, Layout, Weights, carried, plain_memory


class Tensor(NamedTuple):
    """What is known of a tensor without looking at its values; `dtype` is the model's own."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Form(Protocol):
    """How the tensors of one framework's model are reached; always of the model as it is now."""

    @property
    def model(self) -> Any:
        """The model, as the user made it."""

    @property
    def averaged(self) -> frozenset[str]:
        """The names of what is measured, not learned."""

    def tensors(self) -> Iterable[Tensor]:
        """What the model holds, in an order that is the same on every worker."""

    def read(self) -> Mapping[str, NDArray[Any]]:
        """The values by name; they are not written into."""

    def write(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put values, of the model's own dtypes, into the model; the arrays are the model's to keep."""

    def pack(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """Values in the form in which programs see weights; the arrays are the program's to keep."""


@runtime_checkable
class Lasting(Protocol):
    """A model that holds more than what travels: moments of an optimizer, random streams, counters."""

    def beside(self) -> dict[str, Any]:
        """What it needs beside its weights to go on later, as plain values and arrays."""

    def put_beside(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `beside` returned."""


class Copied:
    """A model, seen as flat weights; see `flame.weights.adapters.Adapter`."""

    __slots__ = ("_form", "layout")

    def __init__(self, form: Form) -> None:
        tensors = list(form.tensors())
        self._form = form
        self.layout = Layout.plan((tensor.name, _carried(tensor), tensor.shape) for tensor in tensors)

    @property
    def model(self) -> Any:
        """The model, as the user made it."""
        return self._form.model

    @property
    def averaged(self) -> frozenset[str]:
        """The tensors that are measured, not learned."""
        return self._form.averaged

    def snapshot(self, allocate: Allocate = plain_memory) -> Weights:
        """A copy of the model's tensors."""
        return self._copied(self.layout, allocate)

    def load(self, weights: Weights) -> None:
        """Copy weights into the model.

        Raises:
            WeightsError: another layout, or a tensor of the model whose shape or kind changed.
        """
        self._agree(weights.layout)
        self._form.write(self._own(weights))

    def target(self) -> None:
        """None: it is loaded as a whole."""

    def delta(self, base: Weights, allocate: Allocate = plain_memory) -> Weights:
        """The model minus `base`, in the dtypes of the layout."""
        self._agree(base.layout)
        weights = self._copied(base.layout, allocate)
        for after, before in zip(weights.segments, base.segments, strict=True):
            np.subtract(after, before, out=after)
        return weights

    def as_dict(self, weights: Weights) -> Any:
        """Weights as private arrays of the model's dtypes, in the form that the framework's programs know."""
        self._agree(weights.layout)
        return self._form.pack(self._own(weights))

    def beside(self) -> dict[str, Any]:
        """What the model needs beside its weights to go on later; see `Lasting`."""
        return self._form.beside() if isinstance(self._form, Lasting) else {}

    def put_beside(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `beside` returned."""
        if isinstance(self._form, Lasting):
            self._form.put_beside(kept)

    def _copied(self, layout: Layout, allocate: Allocate) -> Weights:
        self._fitting()
        values = self._form.read()
        weights = Weights(layout, allocate(layout.nbytes))
        for name, view in weights.arrays().items():
            np.copyto(view, values[name], casting="unsafe")
        return weights

    def _own(self, weights: Weights) -> dict[str, NDArray[Any]]:
        """Private copies of weights, in the model's dtypes and order."""
        views = weights.arrays()
        return {name: views[name].astype(dtype) for name, dtype in self._fitting().items()}

    def _fitting(self) -> dict[str, np.dtype[Any]]:
        """The model's own dtype of every tensor, all of which must still fit the layout."""
        now = {tensor.name: tensor for tensor in self._form.tensors()}
        for entry in self.layout.entries:
            tensor = now.get(entry.name)
            if tensor is None:
                raise WeightsError(f"tensor {entry} is no longer in the model")
            if tensor.shape != entry.shape or _carried(tensor).kind != entry.dtype.kind:
                raise WeightsError(f"tensor {entry} has become {tensor.dtype.name}{list(tensor.shape)}")
        if len(now) != len(self.layout.entries):
            more = sorted(set(now) - {entry.name for entry in self.layout.entries})[0]
            raise WeightsError(f"tensor {more} has been added to the model since the first round")
        return {tensor.name: tensor.dtype for tensor in now.values()}

    def _agree(self, layout: Layout) -> None:
        """Adopt the other side's layout object when it is equal: the next comparison is then by identity."""
        if layout is not self.layout:
            if layout != self.layout:
                raise WeightsError(f"these weights do not fit the model: {self.layout.difference(layout)}")
            self.layout = layout


def _carried(tensor: Tensor) -> np.dtype[Any]:
    """The dtype in which a tensor travels; bfloat16 is not one of numpy's, but of a library that adds it."""
    if tensor.dtype.name == "bfloat16":
        return np.dtype(np.float32)
    return carried(tensor.name, tensor.dtype)
