"""What a compressor is: how the weights of a message become fewer bytes, and numbers again.

Weights are cut into chunks, and each chunk is coded and squeezed on its own (`packed`), so that whoever folds an update
block by block unpacks it block by block. A compressor knows one chunk at a time and has both halves: what it codes, it
decodes. Integers never reach one: they travel as they are.

One compressor is one file; the `compression` of a channel leads to it through `flame.extend`. It is made with its
settings where something is packed, and without any where something is unpacked: what the receiver has to know is in the
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flame.weights.layout import Weights

Bytes: TypeAlias = NDArray[np.uint8]

Code: TypeAlias = Callable[[int, slice], Sequence[Bytes]]
"""Some elements of a segment, coded: runs of bytes whose contents differ in kind, so that each is squeezed apart."""


class Compressor(Protocol):
    """One way of packing, for the weights that one worker sends on one channel."""

    @property
    def relative(self) -> bool:
        """Whether only differences can be packed, because what is left out of one is added to the next."""

    def begin(self, weights: Weights) -> Code:
        """Begin to pack some weights.

        The result is called once for every chunk of every floating-point segment, in order.
        """

    def fits(self, nbytes: int, count: int, dtype: np.dtype[Any]) -> bool:
        """Whether that many bytes can be what `count` elements of a dtype became."""

    def state(self) -> Mapping[str, Any]:
        """What must be kept to go on later, as plain values and arrays; {} where there is nothing."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""

    def unpack(self, coded: Bytes, out: NDArray[Any]) -> None:
        """Write the elements that some bytes, of a size that fits, stand for.

        Args:
            coded: all runs of a chunk, end to end.
            out: floating-point, shape (elements,).

        Raises:
            DecodeError: they stand for none.
        """
