"""Bytes of one significance side by side: those that are alike squeeze well, those that are noise need not be tried."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.compression import Bytes


def apart(values: NDArray[Any]) -> list[Bytes]:
    """The bytes of some numbers: all first ones, all second ones, and so on; one run each."""
    width = values.dtype.itemsize
    return list(np.ascontiguousarray(np.ascontiguousarray(values).view(np.uint8).reshape(-1, width).T))


def together(coded: Bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The numbers whose bytes lie apart, end to end."""
    return np.ascontiguousarray(coded.reshape(dtype.itemsize, -1).T).reshape(-1).view(dtype)
