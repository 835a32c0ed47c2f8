"""Weights in a file of the safetensors format.

The file is eight bytes of header length (little-endian), a JSON header that names every tensor with its
dtype, shape and byte range, and then the flat buffer as it is. A tensor's bytes follow the previous one's
without a hole. Such a file is read by the `safetensors` package and everything built on it, and holds nothing
but numbers and text.

Format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from flame.errors import WeightsError
from flame.weights.layout import MOST_DIMENSIONS, RANK, Allocate, Layout, Weights, plain_memory

NAMES = {dtype: f"{dtype.kind.upper()}{8 * dtype.itemsize}" for dtype in RANK}
DTYPES = {name: dtype for dtype, name in NAMES.items()}
LONGEST_HEADER = 100_000_000


def write(path: str | Path, weights: Weights, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights to a file, which appears whole or not at all.

    Args:
        path: the file; one that exists is replaced.
        weights: the values, written from their buffer in one piece.
        metadata: text to keep beside them.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    for entry in weights.layout.entries:
        header[entry.name] = {
            "dtype": NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [entry.start, entry.stop],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.write(weights.data.data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: str | Path, allocate: Allocate = plain_memory) -> Weights:
    """Read weights from a file, whoever wrote it.

    A file in the order of a layout is read in one piece into memory from `allocate`; another order is put
    right.

    Raises:
        WeightsError: not such a file, one that is cut short or too long, or a dtype that is not laid out. All
            sizes are checked against the file's before memory is allocated.
        OSError: the file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        tensors = _header(path, file)
        layout = Layout.plan((name, dtype, shape) for name, dtype, shape, _, _ in tensors)
        in_order = [entry.name for entry in layout.entries] == [tensor[0] for tensor in tensors]
        data = allocate(layout.nbytes) if in_order else plain_memory(layout.nbytes)
        if file.readinto(data.data) != layout.nbytes:
            raise WeightsError(f"{path}: the file was cut short while it was read")
    if in_order:
        return Weights(layout, data)
    arrays = {name: data[start:stop].view(dtype).reshape(shape) for name, dtype, shape, start, stop in tensors}
    return Weights.pack(arrays, allocate=allocate)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text that was kept beside the weights.

    Raises:
        WeightsError: not a file of this format.
        OSError: the file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        return {str(key): str(text) for key, text in _json(path, file).get("__metadata__", {}).items()}


Tensor = tuple[str, "np.dtype[Any]", Sequence[int], int, int]


def _header(path: Path, file: BinaryIO) -> list[Tensor]:
    """The tensors of a header, in the order of their bytes, which fill the rest of the file exactly."""
    header = _json(path, file)
    tensors = sorted(
        (_tensor(path, name, entry) for name, entry in header.items() if name != "__metadata__"),
        key=lambda tensor: tensor[3:],
    )
    end = 0
    for name, dtype, shape, start, stop in tensors:
        if start != end or stop - start != math.prod(shape) * dtype.itemsize:
            raise WeightsError(f"{path}: tensor {name} of {list(shape)} claims bytes {start} to {stop} after {end}")
        end = stop
    rest = os.fstat(file.fileno()).st_size - file.tell()
    if rest != end:
        raise WeightsError(f"{path}: the header describes {end} bytes, but {rest} follow it")
    return tensors


def _json(path: Path, file: BinaryIO) -> dict[str, Any]:
    """Read the header and leave the file at the first byte of data."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        raise WeightsError(f"{path}: not a safetensors file (a header of {length} bytes in a file of {size})")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the header is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise WeightsError(f"{path}: the header is not a JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _tensor(path: Path, name: str, entry: object) -> Tensor:
    """One tensor of a header that somebody wrote."""
    match entry:
        case {"dtype": str(type_name), "shape": [*shape], "data_offsets": [start, stop]} if type_name in DTYPES:
            # Few dimensions, before their product is taken: that of a million large ones would never be done.
            if len(shape) <= MOST_DIMENSIONS and all(
                type(number) is int and 0 <= number < 2**48 for number in (*shape, start, stop)
            ):
                return name, DTYPES[type_name], shape, start, stop
        case {"dtype": str(type_name)} if type_name not in DTYPES:
            raise WeightsError(f"{path}: tensor {name} is {type_name}; readable are {', '.join(DTYPES)}")
    raise WeightsError(f"{path}: tensor {name} has no valid dtype, shape and data_offsets")
