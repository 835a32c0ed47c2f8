"""Memory that several processes of one machine can see, used again and again.

A segment is an anonymous file (`memfd_create`) mapped into memory. It has no name, so nothing can be left behind in
`/dev/shm`, whatever happens: the kernel takes it back when the last process that maps it ends. Peers get the file
descriptor over a unix socket and map it once. A segment goes back to the pool when nobody here holds an array over it
and every peer has said that it is done; it is never unmapped in between, because fresh pages cost more than copying.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from flame.errors import ChannelError

Bytes = NDArray[np.uint8]

SMALLEST = 64 * 1024
"""Below this many bytes a copy through the socket is cheaper than a shared segment."""


@dataclass(slots=True, eq=False)
class Segment:
    """One piece of memory that can be shared.

    Attributes:
        number: its name between this process and its peers.
        memory: the mapping; `capacity` bytes.
        fd: the anonymous file behind it.
        held: whether an array of this process lies over it.
        lent: how many messages under way or in use elsewhere lie over it.
        known_to: the links whose peer has mapped it.
    """

    number: int
    memory: mmap.mmap
    fd: int
    capacity: int
    held: bool = False
    lent: int = 0
    known_to: set[int] = field(default_factory=set)


Reader = Callable[[int, NDArray[np.generic]], None]
"""Fills an array from the bytes that begin so many bytes after the start."""


def _read(fd: int, base: int, start: int, out: NDArray[np.generic]) -> None:
    view, at = out.data.cast("B"), base + start
    while view:
        got = os.preadv(fd, [view], at)
        if not got:
            raise ChannelError(f"a shared segment ends before byte {at}")
        view, at = view[got:], at + got


class Pool:
    """The segments that this process owns."""

    def __init__(self) -> None:
        self._segments: dict[int, Segment] = {}
        self._free: list[Segment] = []
        self._roots: dict[int, Segment] = {}
        self._foreign: dict[int, tuple[int, int]] = {}
        self._retired: set[int] = set()
        self._next = 0

    def allocate(self, nbytes: int) -> Bytes:
        """Uninitialised memory, shape `(nbytes,)`, dtype uint8.

        It belongs to the caller for as long as an array over it lives. Small pieces are ordinary memory.
        """
        if nbytes < SMALLEST:
            return np.empty(nbytes, np.uint8)
        segment = self._take(nbytes)
        segment.held = True
        array: Bytes = np.frombuffer(segment.memory, np.uint8, nbytes)
        key = id(array)
        self._roots[key] = segment
        weakref.finalize(array, self._dropped, key, segment).atexit = False
        return array

    def find(self, array: NDArray[np.generic]) -> tuple[Segment, int] | None:
        """The segment that an array's memory lies in, and where in it; None if it is not the pool's."""
        root: object = array
        while isinstance(root, np.ndarray):
            segment = self._roots.get(id(root))
            if segment is not None:
                start = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
                return segment, int(start)
            root = root.base
        return None

    def adopt(self, array: Bytes, fd: int, start: int) -> None:
        """Remember that an array of a peer's shows the bytes from `start` on of a file, until it goes."""
        self._foreign[id(array)] = (fd, start)
        weakref.finalize(array, self._disowned, id(array)).atexit = False

    def retire(self, fd: int) -> None:
        """Close a peer's file as soon as no array shows it."""
        if any(fd == used for used, _ in self._foreign.values()):
            self._retired.add(fd)
        else:
            os.close(fd)

    def reader(self, array: NDArray[np.generic]) -> Reader | None:
        """A way to read a peer's array without mapping its pages into this process; None for any other array.

        Looking at memory makes it resident here and costs a page fault for every few pages; reading the file does
        not, so that a host which folds many large updates stays as small as its model.
        """
        root: object = array
        while isinstance(root, np.ndarray):
            place = self._foreign.get(id(root))
            if place is not None:
                fd, start = place
                at = start + array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
                return partial(_read, fd, int(at))
            root = root.base
        return None

    def lend(self, segment: Segment) -> None:
        """A message over this segment goes to a peer."""
        segment.lent += 1

    def give_back(self, number: int, times: int) -> None:
        """A peer is done with some messages over a segment.

        Raises:
            ChannelError: the peer gives back what it was not lent.
        """
        segment = self._segments.get(number)
        if segment is None or not 0 < times <= segment.lent:
            raise ChannelError(f"segment {number} given back {times} time(s) too often")
        segment.lent -= times
        self._recycle(segment)

    def segment(self, number: int) -> Segment:
        """A segment by its number."""
        return self._segments[number]

    @property
    def nbytes(self) -> int:
        """How much memory the pool owns, in bytes, in use or not."""
        return sum(segment.capacity for segment in self._segments.values())

    def close(self) -> None:
        """Close the files; memory that arrays still lie over stays until they go."""
        for segment in self._segments.values():
            os.close(segment.fd)
        self._segments.clear()
        self._free.clear()

    def _take(self, nbytes: int) -> Segment:
        fitting = [s for s in self._free if nbytes <= s.capacity <= 2 * nbytes]
        if fitting:
            best = min(fitting, key=lambda segment: segment.capacity)
            self._free.remove(best)
            return best
        capacity = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        fd = os.memfd_create("flame", os.MFD_CLOEXEC)
        os.ftruncate(fd, capacity)
        segment = Segment(self._next, mmap.mmap(fd, capacity), fd, capacity)
        self._segments[segment.number] = segment
        self._next += 1
        return segment

    def _dropped(self, key: int, segment: Segment) -> None:
        self._roots.pop(key, None)
        segment.held = False
        self._recycle(segment)

    def _disowned(self, key: int) -> None:
        fd, _ = self._foreign.pop(key)
        if fd in self._retired:
            self._retired.remove(fd)
            self.retire(fd)

    def _recycle(self, segment: Segment) -> None:
        if not segment.held and not segment.lent and segment.number in self._segments:
            self._free.append(segment)
