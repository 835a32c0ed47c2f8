"""Weights to compress: small ones of any shape, and ones of more than a chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from flame.compression import Compressor
from flame.compression.fp16 import Half
from flame.compression.int8 import Int8
from flame.compression.packed import Packed, pack
from flame.compression.topk import TopK
from flame.weights.layout import TYPE_NAMES, Weights

MAKERS: dict[str, Any] = {"fp16": Half, "int8": Int8, "topk": TopK}

ANY = {"allow_nan": True, "allow_infinity": True}
FINITE = {"allow_nan": False, "allow_infinity": False, "min_value": -1e30, "max_value": 1e30}


def one_array(name: str, elements: dict[str, Any]) -> st.SearchStrategy[NDArray[Any]]:
    dtype = np.dtype(name)
    shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20)
    if dtype.kind == "i":
        return arrays.arrays(dtype, shapes)
    bound = float(np.finfo(dtype).max)
    limits = {
        key: max(-bound, min(bound, value)) if key.endswith("value") else value for key, value in elements.items()
    }
    width = 8 * dtype.itemsize
    if "min_value" in limits and width < 64:
        narrow = np.dtype(f"float{width}").type
        limits |= {key: float(narrow(limits[key])) for key in ("min_value", "max_value")}
    return arrays.arrays(dtype, shapes, elements=st.floats(width=width, **limits))


def weights(elements: dict[str, Any] = ANY, names: tuple[str, ...] = TYPE_NAMES) -> st.SearchStrategy[Weights]:
    """Some tensors of any dtype."""
    tensors = st.lists(st.sampled_from(names).flatmap(lambda name: one_array(name, elements)), max_size=5)
    return tensors.map(lambda some: Weights.pack({f"t{number}": array for number, array in enumerate(some)}))


def several_chunks(seed: int = 0, scale: float = 0.01) -> Weights:
    """More than a chunk of float32, less than one of float16, some float64 and integers."""
    generator = np.random.default_rng(seed)
    return Weights.pack(
        {
            "w": (generator.standard_normal((300, 700)) * scale).astype(np.float32),
            "h": (generator.standard_normal((9, 31)) * scale).astype(np.float16),
            "d": generator.standard_normal((11, 13)) * scale,
            "b": (generator.standard_normal(50) * scale).astype(np.float32),
            "n": generator.integers(-(2**40), 2**40, 70_000),
        }
    )


def source(given: Weights, name: str, compressor: Compressor | None = None) -> Packed:
    """The packed form of weights."""
    found = pack(given, name, compressor or MAKERS[name]()).source
    assert isinstance(found, Packed)
    return found


class Away:
    """A body that lies elsewhere: it can be read in one direction only, from the start or from where it was rewound."""

    def __init__(self, body: NDArray[np.uint8]) -> None:
        self.nbytes, self._body, self._at = body.nbytes, body, 0

    def load(self) -> NDArray[np.uint8]:
        return self._body.copy()

    def read(self, start: int, out: NDArray[Any]) -> None:
        assert start >= self._at, "it is read backwards"
        out[:] = self._body[start : start + len(out)]
        self._at = start

    def rewind(self) -> None:
        self._at = 0
