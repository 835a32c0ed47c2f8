"""Gaussian noise for flat buffers: the same bits whatever the blocks' order, the threads or the hosts.

Philox (J. Salmon, M. Moraes, R. Dror, D. Shaw: Parallel Random Numbers: As Easy as 1, 2, 3. SC 2011) makes numbers from
a key and a counter. A release has a key of its own, a block of the buffer a place in the counter. Without a seed a key
is 128 bits of the operating system's; with one it follows from the seed, the worker and the release's number, so that a
simulation can be repeated: who knows the seed can take the noise off again.

The noise is a float64 added to a float64 and rounded; what I. Mironov says of floating-point noise (On Significance of
the Least Significant Bits for Differential Privacy. CCS 2012) holds for it as for any library that does the same.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK = 65_536
"""Elements that are worked on at a time."""


class Stream:
    """The noise of one release."""

    __slots__ = ("_key",)

    def __init__(self, key: int) -> None:
        self._key = key

    def add(self, segment: int, where: slice, values: Floats, std: float) -> None:
        """Add noise to a block in place.

        Args:
            segment: the number of the block's segment in the layout.
            where: the elements of that segment; a release always cuts it in the same way.
            values: float64 of shape (elements,).
            std: the noise's standard deviation.
        """
        counter = [0, 0, where.start, segment]
        draws = np.random.Generator(np.random.Philox(key=self._key, counter=counter)).standard_normal(len(values))
        np.multiply(draws, std, out=draws)
        np.add(values, draws, out=values)


class Noise:
    """A worker's streams, a new one for every release.

    Args:
        seed: from which all of them follow; None for the operating system's randomness.
    """

    def __init__(self, seed: str | None = None) -> None:
        self._seed = seed
        self._count = 0

    @property
    def count(self) -> int:
        """How many keys were given so far."""
        return self._count

    def skip(self, count: int) -> None:
        """So many keys have been given, elsewhere."""
        self._count = count

    def key(self) -> int:
        """128 bits that were never given before."""
        self._count += 1
        if self._seed is None:
            return int.from_bytes(os.urandom(16), "little")
        from hashlib import blake2b  # it brings OpenSSL, 3.5 MB that most workers never need

        text = f"{self._seed}/{self._count}".encode()
        return int.from_bytes(blake2b(text, digest_size=16).digest(), "little")

    def stream(self) -> Stream:
        """The next release's noise."""
        return Stream(self.key())
