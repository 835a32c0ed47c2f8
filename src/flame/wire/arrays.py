"""Arrays as bytes: the closed table of element types, and numpy and torch on either side of it.

An element type goes over the wire as a short name that is looked up in a table here, never as anything that
numpy or torch would have to parse; `object`, text, date and structured arrays have no name, so they cannot be
sent. Bytes are little-endian and in C order.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import prod
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flame.errors import DecodeError

Bytes: TypeAlias = NDArray[np.uint8]
"""A flat, contiguous run of bytes."""

MAX_DIMENSIONS = 32
MAX_ARRAY = 1 << 62

DTYPES = MappingProxyType(
    {
        name: np.dtype("<" + name)
        for name in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
    }
)
"""Wire name of a numpy element type: its kind and its size in bytes."""

TENSORS = MappingProxyType(
    {"bool": 1, "bfloat16": 2, "complex64": 8, "complex128": 16}
    | {f"float{bits}": bits // 8 for bits in (16, 32, 64)}
    | {f"{kind}{bits}": bits // 8 for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
)
"""Wire name of a torch element type (torch's own name for it), and its size in bytes."""


def name_of(dtype: np.dtype[Any]) -> str | None:
    """The wire name of a numpy element type, of either byte order; None if such elements may not be sent."""
    name = dtype.str[1:]
    return name if name in DTYPES else None


def snapshot(array: NDArray[Any], name: str) -> Bytes:
    """The elements of an array as bytes that nobody will change.

    A writable array is copied, so that its owner may go on writing into it. A read-only one that owns its
    memory, and is laid out as the wire wants it, is handed on as it is.
    """
    frozen = not array.flags.writeable and array.flags.owndata
    plain = np.array(array, dtype=DTYPES[name], order="C", copy=not frozen or None)
    return plain.reshape(-1).view(np.uint8)


def is_tensor(value: object) -> bool:
    """Whether a value is a torch tensor. Does not import torch: without torch nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and type(value) in (torch.Tensor, torch.nn.Parameter)


def tensor_bytes(tensor: Any) -> tuple[str, Sequence[int], Bytes] | None:
    """Element type, shape and a private copy of the elements of a tensor; None if it may not be sent.

    It may live on any device and be part of a graph; only its numbers are taken.
    """
    import torch

    name = str(tensor.dtype).removeprefix("torch.")
    if name not in TENSORS or tensor.layout is not torch.strided or tensor.device.type == "meta":
        return None
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    flat = plain.clone(memory_format=torch.contiguous_format).reshape(-1)
    return name, tuple(tensor.shape), flat.view(torch.uint8).numpy()


def shape_from(dims: Sequence[object], itemsize: int, received: int) -> tuple[int, ...]:
    """A shape as it was claimed, once it is known to fit the bytes that came with it.

    Raises:
        DecodeError: a dimension is no size, or the shape asks for other than `received` bytes.
    """
    shape = tuple(dim for dim in dims if type(dim) is int and dim >= 0)
    if len(shape) != len(dims):
        raise DecodeError(f"array: dimensions {list(dims)} are not sizes")
    if len(shape) > MAX_DIMENSIONS:
        raise DecodeError(f"array: {len(shape)} dimensions; at most {MAX_DIMENSIONS}")
    # The second product makes (2**62, 0), which needs no bytes, as unwelcome as (2**62,).
    if prod(shape) * itemsize != received or prod(dim or 1 for dim in shape) * itemsize > MAX_ARRAY:
        raise DecodeError(f"array: shape {list(shape)} of {itemsize} B each; {received} B were received")
    return shape


def array_from(name: str, dims: Sequence[object], data: Bytes, *, copy: bool) -> NDArray[Any]:
    """An array over received bytes: a private, writable copy, or else a read-only view of them.

    Raises:
        DecodeError: unknown element type, or a shape that does not fit the bytes.
    """
    dtype = DTYPES.get(name)
    if dtype is None:
        raise DecodeError(f"array: unknown element type {name!r:.40}")
    shape = shape_from(dims, dtype.itemsize, len(data))
    if name == "b1":
        _check_truth(data)
    view: NDArray[Any] = np.ndarray(shape, dtype, data)
    if copy:
        return view.copy()
    view.flags.writeable = False
    return view


def tensor_from(name: str, dims: Sequence[object], data: Bytes) -> Any:
    """A tensor with a private copy of received bytes (torch has no read-only tensors). Imports torch.

    Raises:
        DecodeError: unknown element type, a shape that does not fit the bytes, or there is no torch here.
    """
    if name not in TENSORS:
        raise DecodeError(f"tensor: unknown element type {name!r:.40}")
    shape = shape_from(dims, TENSORS[name], len(data))
    if name == "bool":
        _check_truth(data)
    try:
        import torch
    except ImportError as error:
        raise DecodeError("tensor: torch is not installed here, so a tensor cannot be received") from error
    tensor = torch.empty(shape, dtype=getattr(torch, name))
    tensor.reshape(-1).view(torch.uint8).numpy()[:] = data
    return tensor


def _check_truth(data: Bytes) -> None:
    if len(data) and data.max() > 1:
        raise DecodeError("array: a truth value that is neither 0 nor 1")
