"""Bytes of one significance side by side: those that are alike squeeze well, those that are noise need not be tried."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.compression import Bytes


def apart(values: NDArray[Any]) -> list[Bytes]:
    """The bytes of some numbers: all first ones, all second ones, and so on; one run each."""
    flat, width = np.ascontiguousarray(values).view(np.uint8), values.dtype.itemsize
    return [flat[plane::width].copy() for plane in range(width)]


def together(coded: Bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The numbers whose bytes lie apart, end to end."""
    width = dtype.itemsize
    size = len(coded) // width
    whole = np.empty(size * width, np.uint8)
    for plane in range(width):
        whole[plane::width] = coded[plane * size : (plane + 1) * size]
    return whole.view(dtype)
