"""What a server half keeps from round to round: vectors over all that is learned."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from flame.errors import ConfigError
from flame.optimizer.halves import Floats
from flame.weights.layout import Layout, Weights


class Kept:
    """Float64 vectors over all floating-point elements of a model, zero when the first layout is seen.

    Args:
        names: what they are called in a state.
    """

    def __init__(self, *names: str) -> None:
        self._names = names
        self._kept: dict[str, Floats] = {}
        self._starts: list[int] = []

    def open(self, layout: Layout) -> None:
        """Make the vectors for a layout; later ones must have as many elements.

        Raises:
            ConfigError: the vectors were kept for a model of another size.
        """
        sizes = [segment.size for segment in layout.segments if not segment.exact]
        self._starts = [sum(sizes[:number]) for number in range(len(sizes))]
        if not self._kept:
            self._kept = {name: np.zeros(sum(sizes)) for name in self._names}
            return
        kept = next(iter(self._kept.values())).size
        if kept != sum(sizes):
            raise ConfigError("optimizer", f"its state is for {kept} elements, and the model has {sum(sizes)}")

    @property
    def segments(self) -> int:
        """How many segments hold what is learned: they come first in a layout."""
        return len(self._starts)

    def part(self, name: str, segment: int, where: slice) -> Floats:
        """A view of some elements of a segment."""
        start = self._starts[segment]
        return self._kept[name][start + where.start : start + where.stop]

    def add_to(self, weights: Weights, name: str, *, but: Collection[str] = ()) -> None:
        """Add a vector to weights, in place, except to the tensors in `but`; nothing before the first round."""
        if not self._kept:
            return
        self.open(weights.layout)
        entries = zip(weights.layout.entries, weights.layout.spans, strict=True)
        for entry, (number, where) in entries:
            if entry.dtype.kind == "f" and entry.name not in but:
                out = weights.segments[number][where]
                out[...] = out + self.part(name, number, where)

    def state(self) -> dict[str, Floats]:
        """The vectors by name, not copied; {} before the first round."""
        return dict(self._kept)

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from vectors, which are copied.

        Raises:
            ConfigError: they are not those that are kept, each flat and all of one length.
        """
        kept = {name: np.array(state[name], np.float64) for name in self._names if name in state}
        flat = len({array.shape for array in kept.values()}) == 1 and all(array.ndim == 1 for array in kept.values())
        if state and (set(state) != set(self._names) or not flat):
            *names, last = self._names
            wanted = f"{', '.join(names)} and {last}" if names else last
            raise ConfigError("optimizer", f"a state of {wanted} is needed, not of {', '.join(state)}")
        self._kept = kept
