"""The streaming weighted mean of updates.

Updates arrive one by one and leave as one step. All arithmetic is in float64 and in the order of arrival: the
sum is ((n1*u1 + n2*u2) + n3*u3) ..., the mean is that sum over (n1 + n2 + ...), and a value is rounded once,
to the model's dtype, when it is written. No routine is used whose order of summation depends on the size of a
block, the number of threads or the machine, so that the same updates in the same order give the same bits
everywhere.

Small models (up to 16,384 elements) are copied on arrival into the rows of a matrix, which is summed when it
is full. Of larger ones the reference is kept until a window of updates is there, and the window is then
summed block by block; with no more updates than the window, the only memory needed is a block.

A NaN or an infinity in an update reaches the mean and is not hidden: refuse such updates before
(`Weights.not_finite`). Integers beyond 2**53 lose their last digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flame.errors import WeightsError
from flame.optimizer import Answer, Step
from flame.privacy import Perturb
from flame.weights.layout import Allocate, Layout, Weights, plain_memory
from flame.weights.target import Target

Floats = NDArray[np.float64]
Reader = Callable[[int, NDArray[Any]], None]

SMALL = 16_384
ROOM = 32_768
BLOCK = 65_536
WORTH_A_THREAD = 2_000_000
LINE = 64


class Desk(NamedTuple):
    """What one thread needs to work on a block.

    Attributes:
        one, two: float64 of shape (elements of the block,).
        raw: uint8 of shape (8 * elements,), to read an update's bytes into. It begins at a cache line: the kernel
            copies to addresses that do not at a quarter of the speed.
    """

    one: Floats
    two: Floats
    raw: NDArray[np.uint8]

    @classmethod
    def of(cls, size: int) -> Desk:
        """A desk for blocks of at most `size` elements."""
        room = np.empty(24 * size + LINE, np.uint8)
        start = -room.ctypes.data % LINE
        one, two, raw = room[start : start + 24 * size].reshape(3, -1)
        return cls(one.view(np.float64), two.view(np.float64), raw)

    def cut(self, length: int) -> Desk:
        """The desk for a block of `length` elements."""
        return Desk(self.one[:length], self.two[:length], self.raw[: 8 * length])


Work = Callable[[int, slice, Desk], None]


class WeightedMean:
    """Folds updates into their mean, weighted by their samples.

    The caller gives the updates in a fixed order. An update that is kept by reference (`held` counts them)
    must not change until the fold is done with.

    Attributes:
        folded: how many updates went in.
        empty: how many came without weights or without samples; they are counted and add nothing.
        samples: the samples behind the updates folded.
        total: what the sum is divided by; the same as `samples`, unless updates were given shares of their own.
    """

    def __init__(self, *, window: int = 8, threads: int = 2) -> None:
        """Make an empty fold.

        Args:
            window: how many updates of a large model are summed at a time.
            threads: how many threads may share a model of more than 2,000,000 elements for each.
        """
        self.folded, self.empty, self.samples, self.total = 0, 0, 0.0, 0.0
        self._window, self._threads = window, threads
        self._layout: Layout | None = None
        self._rows: _Rows | None = None
        self._held: list[_Held] = []
        self._here = 0
        self._sums: list[Floats] | None = None

    def settle(self) -> None:
        """Read everything that is held, once and for all, into a sum of twice the model's size in float32.

        Raises:
            PeerLost: an update lay with a peer that has gone; nothing has changed.
        """
        if self._held and self._layout is not None:
            self._sum_window(self._layout)

    def drop(self, update: Weights) -> None:
        """An update that is held does not count after all."""
        (gone,) = [held for held in self._held if held.update is update]
        self._held.remove(gone)
        self._here -= gone.here
        self.folded -= 1
        self.samples -= gone.samples
        self.total -= gone.share
        if not self.folded:
            self._layout = None

    @property
    def held(self) -> int:
        """How many updates are kept by reference at this moment."""
        return len(self._held)

    def add(
        self,
        update: Weights | None,
        samples: float,
        reader: Reader | None = None,
        weighs: tuple[float, float] | None = None,
        answer: Answer | None = None,
    ) -> None:
        """Fold one update.

        One that lies elsewhere, or that has a reader, takes no memory here: it is kept until the end, however many
        there are.

        Args:
            update: the weights, or None for an update that carries none.
            samples: how many are behind it; 0 for nothing.
            reader: reads the update's bytes; without one they are looked at where they are.
            weighs: by what it is multiplied, and how much that adds to what the sum is divided by; its samples in
                both cases if that is not given.
            answer: whose it is, which makes no difference.

        Raises:
            WeightsError: another layout than the updates before it, or samples that are negative or not
            finite.
        """
        if not 0 <= samples < math.inf:
            raise WeightsError(f"an update cannot have {samples} samples")
        if update is None or samples == 0:
            self.empty += 1
            return
        if update.layout is not self._layout:
            self._meet(update.layout)
        weight, share = weighs or (float(samples), float(samples))
        if self._rows is not None:
            self._rows.put(update.segments, weight)
        else:
            self._held.append(_Held(update, weight, share, samples, reader))
            self._here += self._held[-1].here
            if self._here == self._window:
                self._sum_window(update.layout)
        self.folded += 1
        self.samples += samples
        self.total += share

    def mean(self, allocate: Allocate = plain_memory) -> Weights:
        """The mean of the updates, rounded once to their dtypes; integers to the nearest, halves to even.

        Raises:
            WeightsError: nothing was folded, so that there is no layout either.
        """
        layout = self._layout
        if layout is None:
            raise WeightsError("there is no mean of no updates")
        out = Weights(layout, allocate(layout.nbytes))
        written = out.segments

        def work(number: int, where: slice, desk: Desk) -> None:
            _round_into(written[number][where], self._mean_of(number, where, desk))

        self._sweep(layout, work)
        return out

    def finish(
        self,
        base: Weights,
        step: Step,
        allocate: Allocate = plain_memory,
        *,
        averaged: Collection[str] = (),
        perturb: Perturb | None = None,
    ) -> Weights:
        """The next model as new weights, in memory from `allocate`; otherwise as `finish_into`.

        Where nothing was folded, `base` itself is returned and the step is not asked.
        """
        if self._layout is None:
            return base
        out = Weights(base.layout, allocate(base.layout.nbytes))
        target = Target([[segment] for segment in out.segments])
        self.finish_into(target, base, step, averaged=averaged, perturb=perturb)
        return out

    def finish_into(
        self,
        target: Target,
        base: Weights,
        step: Step,
        *,
        averaged: Collection[str] = (),
        perturb: Perturb | None = None,
    ) -> None:
        """Write the next model: what `step` makes of `base` and the mean, rounded once to the dtypes of `base`.

        Integers and the tensors in `averaged` become base + mean, whatever the step; integers are rounded to the
        nearest. Where nothing was folded, nothing is written and the step is not asked.

        Args:
            target: where; it may be the memory of `base`.
            base: the model that the updates are relative to.
            step: the server half of an optimizer.
            averaged: names of tensors that are measured rather than learned: a step in a running variance could
                make it negative.
            perturb: changes every block of the mean's floating-point numbers before anything is made of it.

        Raises:
            WeightsError: the updates have another layout than `base`; nothing has been written.
        """
        if self._layout is None:
            return
        self._meet(base.layout)
        before, kinds = base.segments, base.layout.segments
        entries = zip(base.layout.entries, base.layout.spans, strict=True)
        kept = [span for entry, span in entries if entry.name in averaged]

        def work(number: int, where: slice, desk: Desk) -> None:
            mean, old = self._mean_of(number, where, desk), desk.two
            if perturb is not None and not kinds[number].exact:
                perturb(number, where, mean)
            np.copyto(old, before[number][where])
            plain = [(part, old[part] + mean[part]) for part in _parts(kept, number, where)]
            new = np.add(old, mean, out=old) if kinds[number].exact else step.block(number, where, old, mean)
            for part, values in plain:
                new[part] = values
            for out, part in target.parts(number, where):
                _round_into(out, new[part])

        step.open(base.layout)
        self._sweep(base.layout, work)
        step.close()

    def each(self, look: Callable[[int, slice, Floats], None]) -> None:
        """Show the mean block by block: the number of a segment, the elements of it, and their mean, not rounded.

        Blocks may come from several threads, but none comes twice.
        """
        if self._layout is not None:
            self._sweep(
                self._layout, lambda number, where, desk: look(number, where, self._mean_of(number, where, desk))
            )

    def _meet(self, layout: Layout) -> None:
        """Take the layout of the first update; refuse another one afterwards."""
        if self._layout is None:
            self._layout = layout
            if layout.size <= SMALL:
                self._rows = _Rows(layout)
        elif layout != self._layout:
            raise WeightsError(f"an update does not fit the others: {self._layout.difference(layout)}")

    def _sum_window(self, layout: Layout) -> None:
        """Move the window into the sums, which exist from the first full window on."""
        sums = self._sums or [np.empty(segment.size) for segment in layout.segments]

        def work(number: int, where: slice, desk: Desk) -> None:
            np.copyto(sums[number][where], self._sum_of(number, where, desk))

        self._sweep(layout, work)
        self._sums = sums
        self._held.clear()
        self._here = 0

    def _sum_of(self, number: int, where: slice, desk: Desk) -> Floats:
        """The sum of what has been folded, at `desk.one`."""
        total, spare = desk.one, desk.two
        held = iter(self._held)
        if self._sums is not None:
            np.copyto(total, self._sums[number][where])
        else:
            next(held).scaled(number, where, total, desk.raw)
        for update in held:
            update.scaled(number, where, spare, desk.raw)
            np.add(total, spare, out=total)
        return total

    def _mean_of(self, number: int, where: slice, desk: Desk) -> Floats:
        """The mean of what has been folded, at `desk.one`."""
        total = self._sum_of(number, where, desk)
        return np.divide(total, self.total, out=total)

    def _sweep(self, layout: Layout, work: Work) -> None:
        """Do some work on every block of the model."""
        if self._rows is not None:
            self._sums = self._rows.sums()
        blocks = [
            (number, slice(start, min(start + BLOCK, segment.size)))
            for number, segment in enumerate(layout.segments)
            for start in range(0, segment.size, BLOCK)
        ]
        threads = max(1, min(self._threads, layout.size // WORTH_A_THREAD))
        if any(held.update.source is not None for held in self._held):
            threads = 1  # what lies elsewhere comes in one order
        share = -(-len(blocks) // threads) or 1

        def run(first: int) -> None:
            desk = Desk.of(min(BLOCK, layout.size))
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                for number, where in blocks[first : first + share]:
                    work(number, where, desk.cut(where.stop - where.start))

        if threads == 1:
            run(0)
        else:
            from concurrent.futures import ThreadPoolExecutor

            # numpy lets go of the interpreter while it computes; the blocks have nothing in common.
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run, range(0, len(blocks), share)))


class _Held:
    """An update of a large model that is yet to be summed."""

    __slots__ = ("_reader", "here", "samples", "share", "update", "weight")

    def __init__(self, update: Weights, weight: float, share: float, samples: float, reader: Reader | None) -> None:
        self.update, self.weight, self.share, self.samples = update, weight, share, samples
        self._reader = reader or (update.source.read if update.source is not None else None)
        self.here = self._reader is None

    def scaled(self, number: int, where: slice, out: Floats, raw: NDArray[np.uint8]) -> None:
        """Write a block of the update, times its weight, into `out`; `raw` is free to read it into."""
        if self._reader is None:
            np.copyto(out, self.update.segments[number][where])
        else:
            segment = self.update.layout.segments[number]
            narrow = raw[: len(out) * segment.dtype.itemsize].view(segment.dtype)
            self._reader(segment.start + where.start * segment.dtype.itemsize, narrow)
            np.copyto(out, narrow)
        if self.weight != 1.0:
            np.multiply(out, self.weight, out=out)


class _Rows:
    """The updates of a small model, as rows of a float64 matrix; row 0 is the sum of the ones before."""

    def __init__(self, layout: Layout) -> None:
        bounds = np.cumsum([0, *(segment.size for segment in layout.segments)]).tolist()
        # numpy would sum a matrix of one column pairwise instead of in order.
        width = max(2, layout.size)
        self._matrix = np.zeros((1 + min(64, max(8, ROOM // width)), width))
        self._matrix[0] = -0.0
        self._columns = [slice(start, stop) for start, stop in pairwise(bounds)]
        self._cells = [[row[columns] for columns in self._columns] for row in self._matrix[1:]]
        self.weights: list[float] = []

    def put(self, segments: tuple[NDArray[Any], ...], weight: float) -> None:
        """Copy one update."""
        # Done for every update: an index and an assignment take half the time of a strict zip and copyto.
        for number, cell in enumerate(self._cells[len(self.weights)]):
            cell[...] = segments[number]
        self.weights.append(weight)
        if len(self.weights) == len(self._cells):
            self._sum()

    def sums(self) -> list[Floats]:
        """The sum of all updates, for every segment."""
        self._sum()
        return [self._matrix[0, columns] for columns in self._columns]

    def _sum(self) -> None:
        """Sum the rows in order. From -0.0, because that plus x is x, even where x is -0.0."""
        rows = self._matrix[: 1 + len(self.weights)]
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(rows[1:], np.array(self.weights)[:, None], out=rows[1:])
            rows[0] = np.add.reduce(rows, axis=0, initial=-0.0)
        self.weights.clear()


def _parts(spans: Iterable[tuple[int, slice]], number: int, where: slice) -> Iterator[slice]:
    """What lies of some spans in a block, counted from the block's start."""
    for segment, span in spans:
        start, stop = max(span.start, where.start), min(span.stop, where.stop)
        if segment == number and start < stop:
            yield slice(start - where.start, stop - where.start)


def _round_into(out: NDArray[Any], values: Floats) -> None:
    """Round float64 values to a dtype, once."""
    if out.dtype.kind == "i":
        np.rint(values, out=values)
    np.copyto(out, values, casting="unsafe")
