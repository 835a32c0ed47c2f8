"""Models that are dicts and lists of JAX arrays, nested as one likes: the only file that names JAX.

JAX arrays never change, so that loading puts new arrays into the program's dicts and lists, in place of the old ones.
Where an array lies in something that cannot be changed itself (a tuple, a FrozenDict, a TrainState), the model is
refused with what to do instead. A tensor is named by its path, `params/Dense_0/kernel`; JAX sorts the keys of a
dict, and so do the layouts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from flame.errors import WeightsError
from flame.weights.copied import Copied, Tensor

REMEDY = {
    "FrozenDict": "let `self.model` be `flax.core.unfreeze(params)`",
    "TrainState": "let `self.model` be `state.params`: begin `train` with `state = state.replace(params=self.model)`"
    " and end it with `self.model = state.params`",
}


def adapt(model: Any) -> Copied | None:
    """The adapter of a tree of JAX arrays; None where there is no JAX array in it.

    Raises:
        WeightsError: it holds JAX arrays, and something that cannot be sent or changed.
    """
    if not any(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(model)):
        return None
    return Copied(TreeForm(model))


class Leaf(NamedTuple):
    """An array, and where it lies."""

    holder: Any
    key: Any
    array: Any


class TreeForm:
    """Nested dicts and lists of JAX arrays; see `flame.weights.copied.Form`."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def averaged(self) -> frozenset[str]:
        """What lies under `batch_stats`, where flax keeps running statistics."""
        return frozenset(name for name in self._leaves() if "batch_stats" in name.split("/"))

    def tensors(self) -> list[Tensor]:
        """The arrays, by their paths."""
        return [Tensor(name, leaf.array.dtype, leaf.array.shape) for name, leaf in self._leaves().items()]

    def read(self) -> dict[str, NDArray[Any]]:
        """The arrays in this machine's memory."""
        return {name: np.asarray(leaf.array) for name, leaf in self._leaves().items()}

    def write(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put new arrays in place of the old ones, on the same devices."""
        for name, leaf in self._leaves().items():
            leaf.holder[leaf.key] = placed(arrays[name], leaf.array)

    def pack(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """JAX arrays in dicts and lists of the model's own structure."""
        return _rebuilt(self.model, "", arrays)

    def _leaves(self) -> dict[str, Leaf]:
        found: dict[str, Leaf] = {}
        for name, leaf in _walk(self.model, "", None, None):
            if name in found:
                raise WeightsError(f"two arrays of the model would both be named {name}")
            found[name] = leaf
        return found


def placed(array: NDArray[Any], like: Any) -> Any:
    """An array as a JAX array on the devices of another one; a numpy array stays as it is."""
    return jax.device_put(array, like.sharding) if isinstance(like, jax.Array) else array


def plain(name: str, array: Any) -> Any:
    """The array itself.

    Raises:
        WeightsError: it is a random key, which is nothing to average, or no array at all.
    """
    if not isinstance(array, jax.Array | np.ndarray):
        raise WeightsError(f"{name} is {type(array).__name__}; a model is made of arrays")
    if not isinstance(array.dtype, np.dtype):
        raise WeightsError(f"{name} is a random key: keep it outside of the model, every worker has its own")
    return array


def _walk(node: Any, path: str, holder: Any, key: Any) -> Iterator[tuple[str, Leaf]]:
    for below, child in _children(node):
        name = f"{path}/{below}" if path else str(below)
        if _is_container(child):
            yield from _walk(child, name, node, below)
        else:
            array = plain(name, child)
            if not isinstance(node, MutableMapping | MutableSequence):
                raise WeightsError(f"{name} lies in a {type(node).__name__}, which cannot be changed: {_remedy(node)}")
            yield name, Leaf(node, below, array)


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    """What lies in a container, in JAX's own order."""
    if isinstance(node, Mapping) and not _fixed(node):
        return iter(sorted(node.items()))
    if isinstance(node, Sequence) and not _fixed(node):
        return iter(enumerate(node))
    raise WeightsError(f"a {type(node).__name__} cannot be changed in place: {_remedy(node)}")


def _is_container(node: Any) -> bool:
    """Whether JAX sees more than one thing in it."""
    return not jax.tree_util.all_leaves([node])


def _fixed(node: Any) -> bool:
    """A mapping or named tuple of somebody else's."""
    return type(node).__name__ in REMEDY or hasattr(node, "_fields")


def _remedy(node: Any) -> str:
    return REMEDY.get(type(node).__name__, "let `self.model` be a dict or list, and keep arrays in dicts and lists")


def _rebuilt(node: Any, path: str, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if not _is_container(node):
        return placed(arrays[path], node)
    built = {key: _rebuilt(child, f"{path}/{key}" if path else str(key), arrays) for key, child in _children(node)}
    if isinstance(node, Mapping):
        return {key: built[key] for key in node}
    return tuple(built.values()) if isinstance(node, tuple) else list(built.values())


def numbers(value: Any) -> NDArray[Any]:
    """An array in this machine's memory; of random keys, the numbers that they are made of."""
    keyed = jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(value) if keyed else value)


def drawn(array: NDArray[Any], like: Any) -> Any:
    """What `numbers` took, as an array or as random keys like those that are there."""
    keyed = jax.numpy.issubdtype(like.dtype, jax.dtypes.prng_key)
    value = jax.numpy.asarray(array)
    return jax.random.wrap_key_data(value, impl=jax.random.key_impl(like)) if keyed else value
