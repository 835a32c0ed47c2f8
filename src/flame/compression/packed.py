"""Weights that are packed: chunks of bytes, here or elsewhere, that become numbers when they are looked at."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame.compression import Bytes, Compressor
from flame.compression.chunks import Chunk, chunk_at, chunks_of, number_of
from flame.compression.planes import apart, together
from flame.compression.zstd import Squeezer, expand
from flame.errors import DecodeError, PeerLost
from flame.extend import lookup, names
from flame.weights.layout import Allocate, Layout, Source, Weights, plain_memory

LONGEST_NAME = 64
ROW = np.dtype("<u4")


class Packed:
    """A `Source` of weights that are unpacked chunk by chunk, as they are read.

    Attributes:
        layout: of the weights.
        name: of the compressor.
        table: uint32 of shape (chunks, 2): bytes of each chunk before it was squeezed, and as it lies in the body.
        body: the chunks, end to end.
        sender: the end that it came from; it is lost if what it sent cannot be unpacked. None if it was made here.
    """

    __slots__ = ("_at", "_compressor", "_ends", "_kept", "body", "layout", "name", "sender", "table")

    def __init__(self, layout: Layout, name: str, table: NDArray[np.uint32], body: Bytes | Source) -> None:
        """Look at packed weights.

        Raises:
            DecodeError: nobody knows the compressor, or the sizes do not fit the layout.
        """
        self._compressor = _known(name)
        _check(layout, self._compressor, table, body.nbytes)
        self.layout, self.name, self.table, self.body = layout, name, table, body
        self.sender: str | None = None
        self._ends = np.cumsum(table[:, 1], dtype=np.int64)
        self._kept: tuple[int, NDArray[Any]] | None = None
        self._at = 0

    @property
    def nbytes(self) -> int:
        """How large it is once it is unpacked."""
        return self.layout.nbytes

    @property
    def packed_nbytes(self) -> int:
        """How large it is now, its table included."""
        return self.body.nbytes + self.table.nbytes

    @property
    def here(self) -> bool:
        """Whether the body is in this process's memory."""
        return isinstance(self.body, np.ndarray)

    def load(self) -> Bytes:
        """All of it, unpacked.

        Raises:
            PeerLost: what came from a peer is nonsense, or the peer has gone.
            DecodeError: what was made here is nonsense.
        """
        whole = np.empty(self.nbytes, np.uint8)
        self.rewind()
        self.read(0, whole)
        self.rewind()
        return whole

    def read(self, start: int, out: NDArray[Any]) -> None:
        """Fill an array with the bytes from `start` on; as `load`. Meant to be called with ascending starts."""
        view = out.reshape(-1).view(np.uint8)
        while len(view):
            number, chunk = chunk_at(self.layout, start)
            part = view[: chunk.stop - start]
            if len(part) == chunk.stop - chunk.start:
                self._unpack(number, chunk, part.view(chunk.dtype))
            else:
                part[:] = self._whole(number, chunk)[start - chunk.start :][: len(part)]
            start, view = start + len(part), view[len(part) :]

    def rewind(self) -> None:
        """It will be read from the start again, or not at all."""
        self._kept, self._at = None, 0
        if not isinstance(self.body, np.ndarray):
            self.body.rewind()

    def _whole(self, number: int, chunk: Chunk) -> Bytes:
        """The bytes of a chunk of which only a part is wanted; the next part is likely to be of it too."""
        if self._kept is None or self._kept[0] != number:
            values: NDArray[Any] = np.empty(chunk.size, chunk.dtype)
            self._unpack(number, chunk, values)
            self._kept = number, values
        return self._kept[1].view(np.uint8)

    def _unpack(self, number: int, chunk: Chunk, out: NDArray[Any]) -> None:
        coded_nbytes, nbytes = map(int, self.table[number])
        squeezed = self._bytes(number, int(self._ends[number]) - nbytes, nbytes)
        try:
            coded = expand(squeezed, coded_nbytes)
            if chunk.exact:
                out[:] = together(coded, chunk.dtype)
            else:
                self._compressor.unpack(coded, out)
        except DecodeError as error:
            if self.sender is None:
                raise
            raise PeerLost(self.sender, f"it sent what cannot be unpacked: {error}") from error

    def _bytes(self, number: int, start: int, nbytes: int) -> Bytes:
        """The bytes of a chunk as they lie in the body."""
        if isinstance(self.body, np.ndarray):
            return self.body[start : start + nbytes]
        if number < self._at:
            self.body.rewind()  # whoever lends a body reads it in one direction
        self._at = number
        squeezed = np.empty(nbytes, np.uint8)
        if nbytes:
            self.body.read(start, squeezed)
        return squeezed


def pack(weights: Weights, name: str, compressor: Compressor, allocate: Allocate = plain_memory) -> Weights:
    """The same weights, as far as the compressor keeps them the same, with a `Packed` as their source."""
    code, squeezer = compressor.begin(weights), Squeezer()
    table, parts = [], []
    for chunk in chunks_of(weights.layout):
        if chunk.exact:
            runs = apart(weights.segments[chunk.segment][chunk.where])
        else:
            runs = list(code(chunk.segment, chunk.where))
        parts.append(squeezer.squeeze(runs))
        table.append((sum(run.nbytes for run in runs), parts[-1].nbytes))
    body = allocate(sum(part.nbytes for part in parts))
    if parts:
        np.concatenate(parts, out=body)
    rows = np.array(table, ROW).reshape(-1, 2)
    return Weights(weights.layout, None, Packed(weights.layout, name, rows, body))


def packed(weights: Weights | None) -> Packed | None:
    """The source of weights, if they are packed."""
    source = None if weights is None else weights.source
    return source if isinstance(source, Packed) else None


@lru_cache(maxsize=16)
def _known(name: str) -> Compressor:
    """The half that unpacks, which needs no settings."""
    if len(name) > LONGEST_NAME:
        raise DecodeError("packed weights: the name of a compressor is too long")
    if name not in _names():
        raise DecodeError(f"packed weights: no compression named {name!r}; there are: {', '.join(_names())}")
    found: Compressor = lookup("compression", name)()
    return found


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    """The names of all compressors; whoever makes some up shall not have all that is installed read each time."""
    return tuple(names("compression"))


def _check(layout: Layout, compressor: Compressor, table: NDArray[np.uint32], nbytes: int) -> None:
    """Refuse sizes that cannot be; nothing has been allocated for them yet."""
    if table.shape != (number_of(layout), 2):
        raise DecodeError(f"packed weights: {len(table)} chunks; the layout has {number_of(layout)}")
    if int(table[:, 1].sum(dtype=np.int64)) != nbytes or (table[:, 1] > table[:, 0]).any():
        raise DecodeError(f"packed weights: the sizes of the chunks are not those of {nbytes} B")
    for chunk, coded in zip(chunks_of(layout), table[:, 0].tolist(), strict=True):
        fits = coded == chunk.stop - chunk.start if chunk.exact else compressor.fits(coded, chunk.size, chunk.dtype)
        if not fits:
            raise DecodeError(f"packed weights: {chunk.size} elements of {chunk.dtype.name} in {coded} B")
