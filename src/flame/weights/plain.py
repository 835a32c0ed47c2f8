"""Weights in the form in which a framework's programs see them, and back, without a model to look at.

The form is a word, so that a worker that has no model can be told it: `torch`, a dict of tensors; `list`, a list of
arrays in the model's order, as Keras has them; `array`, one array; `dict`, arrays by the names of their tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.errors import WeightsError
from flame.weights.adapters import Adapter
from flame.weights.layout import Entry, Layout, Weights, plain_memory


def form_of(adapter: Adapter) -> str:
    """The form of a model's weights; takes a copy of the model to see it."""
    return word_for(adapter.as_dict(adapter.snapshot()))


def word_for(seen: Any) -> str:
    """The form that weights have."""
    torch = sys.modules.get("torch")
    if isinstance(seen, np.ndarray):
        return "array"
    if isinstance(seen, list | tuple) and all(isinstance(each, np.ndarray) for each in seen):
        return "list"
    if torch is not None and isinstance(seen, dict) and all(isinstance(each, torch.Tensor) for each in seen.values()):
        return "torch"
    return "dict"


def in_form(weights: Weights, form: str) -> Any:
    """Weights in a form, as a private copy.

    Raises:
        WeightsError: there is no such form.
    """
    arrays = Weights(weights.layout, weights.data.copy()).arrays()
    if form == "torch":
        return import_module("flame.weights.torch_adapter").tensors(arrays)
    if form == "list":
        return [arrays[entry.name] for entry in _in_order(weights.layout)]
    if form == "array":
        (only,) = arrays.values()
        return only
    if form == "dict":
        return arrays
    raise WeightsError(f"there is no form of weights named {form!r:.40}")


def arrays_of(values: Any) -> dict[str, NDArray[Any]]:
    """Weights in any of the forms as arrays by name; those of a list are named after their places."""
    if isinstance(values, Mapping) or (isinstance(values, list | tuple) and any(map(_nested, values))):
        return {name: _array(value) for name, value in _leaves(values)}
    several = values if isinstance(values, list | tuple) else [values]
    return {str(place): _array(value) for place, value in enumerate(several)}


def out_of(values: Any, layout: Layout) -> Weights:
    """Weights out of any of the forms, rounded once to the layout's dtypes.

    Raises:
        WeightsError: a tensor is missing, or has another shape.
    """
    entries = _in_order(layout)
    if isinstance(values, Mapping) or (isinstance(values, list | tuple) and any(map(_nested, values))):
        found = dict(_leaves(values))
    elif isinstance(values, list | tuple):
        if len(values) != len(entries):
            raise WeightsError(f"{len(entries)} arrays are needed, not {len(values)}")
        found = {entry.name: value for entry, value in zip(entries, values, strict=True)}
    else:
        found = {entries[0].name: values}
    weights = Weights(layout, plain_memory(layout.nbytes))
    views = weights.arrays()
    for entry in entries:
        if entry.name not in found:
            raise WeightsError(f"tensor {entry} is missing")
        array = _array(found[entry.name])
        if array.shape != entry.shape:
            raise WeightsError(f"tensor {entry} is expected, but there is {array.dtype.name}{list(array.shape)}")
        exact = entry.dtype.kind == "i" and array.dtype.kind == "f"
        np.copyto(views[entry.name], np.rint(array) if exact else array, casting="unsafe")
    return weights


def _nested(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _leaves(values: Any, inside: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors of a tree, such as JAX programs have, by the way that leads to each."""
    for key, value in values.items() if isinstance(values, Mapping) else enumerate(values):
        if _nested(value):
            yield from _leaves(value, f"{inside}{key}/")
        else:
            yield f"{inside}{key}", value


def _in_order(layout: Layout) -> list[Entry]:
    """The tensors of a list in the list's order: their names begin with their places. Others as they are laid out."""
    places = [entry.name.partition(".")[0] for entry in layout.entries]
    if sorted(places) != sorted(map(str, range(len(places)))):
        return list(layout.entries)
    return sorted(layout.entries, key=lambda entry: int(entry.name.partition(".")[0]))


def _array(value: Any) -> NDArray[Any]:
    """An array, or whatever can become one; tensors are taken to this machine's memory."""
    if hasattr(value, "detach"):
        tensor = value.detach().cpu()
        value = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return np.asarray(value)
