"""Every kind of value that may be sent, and what it means for two of them to be the same."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum, IntEnum

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flame.weights import Weights
from flame.wire.arrays import DTYPES, TENSORS
from flame.wire.keys import MessageType

DTYPE_NAMES = sorted(DTYPES)
TENSOR_NAMES = sorted(TENSORS)


class Colour(Enum):
    RED = 1


class Number(IntEnum):
    ONE = 1


def same(one: object, other: object) -> bool:
    """Equal in value, type, order of keys and, for numbers, in every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bits(one) == bits(other)
    if isinstance(one, Weights):
        return one.layout == other.layout and one.data.tobytes() == other.data.tobytes()
    if isinstance(one, dict):
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return np.float64(one).tobytes() == np.float64(other).tobytes()
    return one == other


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def tensor(name: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, shape, generator=generator).to(getattr(torch, name))


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
dtypes = st.sampled_from(DTYPE_NAMES).map(lambda name: DTYPES[name])
arrays = dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shapes))
numpy_scalars = dtypes.flatmap(lambda dtype: hnp.arrays(dtype, ())).map(lambda array: array[()])
tensors = st.builds(tensor, st.sampled_from(TENSOR_NAMES), shapes.map(tuple), st.integers(0, 9))
members = st.sampled_from(MessageType)
atoms = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
keys = st.recursive(atoms | numpy_scalars | members, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
weights = st.dictionaries(
    st.text("abc.", min_size=1), hnp.arrays(st.sampled_from(["f4", "i8"]), shapes), min_size=1, max_size=4
).map(Weights.pack)
values = st.recursive(
    atoms | arrays | numpy_scalars | tensors | members | weights,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(keys, inner, max_size=5)
        | st.lists(st.tuples(keys, inner), max_size=5).map(OrderedDict)
    ),
    max_leaves=20,
)
