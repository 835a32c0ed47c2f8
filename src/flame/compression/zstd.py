"""Runs of bytes, squeezed without loss by Zstandard (RFC 8878), and back within bounds that the receiver knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flame.compression import Bytes
from flame.errors import ConfigError, DecodeError

LEVEL = 1
"""Numbers that are mostly noise squeeze at level 3 no better than at 1, and slower."""


def require(path: str) -> Any:
    """The library that squeezes.

    Raises:
        ConfigError: it is not installed; `path` says who asked for it.
    """
    try:
        import zstandard
    except ImportError as error:
        raise ConfigError(path, "compression needs zstandard", "pip install 'flame-fl[compression]'") from error
    return zstandard


class Squeezer:
    """Squeezes; made once for many chunks."""

    def __init__(self) -> None:
        zstandard = require("compression")
        self._made = zstandard.ZstdCompressor(level=LEVEL)
        self._flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK

    def squeeze(self, runs: Sequence[Bytes]) -> Bytes:
        """The runs as one frame, or end to end where that is no longer."""
        total = sum(run.nbytes for run in runs)
        frame = self._made.compressobj(size=total)
        parts = []
        for run in runs:
            # Each run ends a block, and so has statistics of its own; noise becomes a block that is not squeezed.
            parts += [frame.compress(run), frame.flush(self._flush)]
        parts.append(frame.flush())
        squeezed = b"".join(parts)
        return np.frombuffer(squeezed, np.uint8) if len(squeezed) < total else np.concatenate([*runs, _NONE])


_NONE = np.empty(0, np.uint8)


def expand(squeezed: Bytes, nbytes: int) -> Bytes:
    """What was squeezed, which is `nbytes` long; bytes that are as long were not squeezed.

    Raises:
        DecodeError: it is not so long, or no frame, or there is nothing here that could read it.
    """
    if len(squeezed) == nbytes:
        return squeezed
    try:
        zstandard = require("compression")
    except ConfigError as error:
        raise DecodeError(f"packed weights: {error}") from error
    try:
        # The frame's own word for its size would be believed before anything is unpacked.
        if zstandard.frame_content_size(squeezed) != nbytes:
            raise DecodeError(f"packed weights: a chunk is not of {nbytes} B")
        whole = zstandard.ZstdDecompressor().decompress(squeezed, max_output_size=nbytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DecodeError(f"packed weights: {error}") from error
    if len(whole) != nbytes:
        raise DecodeError(f"packed weights: a chunk of {len(whole)} B, not {nbytes}")
    return np.frombuffer(whole, np.uint8)
