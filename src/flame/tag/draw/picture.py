"""What there is to draw: boxes on levels and lines between them, whatever the form."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from flame.tag.expand import WorkerSpec
from flame.tag.invariants import distances
from flame.tag.protocol import JOINS_COLUMNS
from flame.tag.schema import Channel, Tag

MOST_BOXES = 5
MOST_GROUPS = 4
TIMES = "\N{MULTIPLICATION SIGN}"

Kind = tuple[str, tuple[str, ...]]  # a role, and its group on each of its channels


@dataclass(frozen=True, slots=True)
class Box:
    """A role, or workers that are equal but for their data.

    Attributes:
        title: its first line.
        lines: further lines.
        level: how many channels it is away from the data.
        has_data: whether it consumes data.
        is_many: whether it stands for several workers.
    """

    title: str
    lines: tuple[str, ...]
    level: int
    has_data: bool
    is_many: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A channel between two boxes, or one group of it.

    Attributes:
        ends: the two boxes' indices, the one drawn further up first; the same twice for a self-loop.
        channel: the channel's index.
        name: the channel's name.
        groups: the groups that it stands for, as text.
        tags: what each end does here, as text.
    """

    ends: tuple[int, int]
    channel: int
    name: str
    groups: str
    tags: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, the ones furthest from the data first, and the lines between them."""

    title: str
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def width(text: str) -> int:
    """The columns that a text takes on a terminal."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def printable(picture: Picture) -> Picture:
    """The same picture with a blank for each control character: names of an unchecked TAG may hold any."""

    def plain(text: str) -> str:
        return "".join(letter if letter.isprintable() else " " for letter in text)

    boxes = [replace(box, title=plain(box.title), lines=tuple(map(plain, box.lines))) for box in picture.boxes]
    lines = [
        replace(
            line,
            name=plain(line.name),
            groups=plain(line.groups),
            tags=(plain(line.tags[0]), plain(line.tags[1])),
        )
        for line in picture.lines
    ]
    return Picture(plain(picture.title), tuple(boxes), tuple(lines))


def some(names: Iterable[str], most: int = MOST_GROUPS) -> str:
    """The first of some names, and how many more there are."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(listed[:most]) + (f" +{rest:,}" if rest > 0 else "")


def of_roles(tag: Tag) -> Picture:
    """The roles of a TAG and its channels."""
    level = _levels(tag)
    names = sorted(dict.fromkeys(role.name for role in tag.roles), key=lambda name: -level.get(name, 0))
    roles = {role.name: role for role in tag.roles}
    boxes = [
        Box(
            title=name,
            lines=("one per dataset",) if roles[name].is_data_consumer else _count(roles[name].replica, "replicas"),
            level=level.get(name, 0),
            has_data=roles[name].is_data_consumer,
            is_many=roles[name].is_data_consumer or roles[name].replica > 1 or len(roles[name].group_association) > 1,
        )
        for name in names
    ]
    lines = []
    for i, channel in enumerate(tag.channels):
        if channel.pair[0] in names and channel.pair[1] in names:
            upper, lower = sorted(channel.pair, key=names.index)
            tags = (some(channel.tags_of(upper), 9), some(channel.tags_of(lower), 9))
            backend = f" over {channel.backend}" if channel.backend else ""
            packed = f" as {channel.compression}" if channel.compression else ""
            ends = (names.index(upper), names.index(lower))
            lines.append(Line(ends, i, channel.name, some(channel.groups) + backend + packed, tags))
    return Picture(tag.name, tuple(boxes), tuple(lines))


def of_workers(tag: Tag, workers: Sequence[WorkerSpec]) -> Picture:
    """The workers of an expanded TAG: equal ones are one box, and so are all beyond a role's first few."""
    level = _levels(tag)
    consumers = {role.name for role in tag.data_consumers()}
    counts = _kinds(tag, workers)
    kinds = sorted(counts, key=lambda kind: (-level.get(kind[0], 0), kind[0], [_natural(g) for g in kind[1]]))
    shown: list[list[Kind]] = []
    for role in dict.fromkeys(kind[0] for kind in kinds):
        mine = [kind for kind in kinds if kind[0] == role]
        cut = len(mine) if len(mine) <= MOST_BOXES + 1 else MOST_BOXES
        shown += [[kind] for kind in mine[:cut]] + ([mine[cut:]] if mine[cut:] else [])
    boxes = []
    for some_kinds in shown:
        role, groups = some_kinds[0]
        total = sum(counts[kind] for kind in some_kinds)
        channels = [channel.name for channel in tag.channels_of(role)]
        told = tuple(f"{name}: {group}" for name, group in zip(channels, groups, strict=True))
        if len(some_kinds) > 1:
            told = (f"in {len(some_kinds):,} more groups",)
        boxes.append(Box(f"{role} {TIMES}{total:,}", told, level.get(role, 0), role in consumers, total > 1))
    return Picture(f"{tag.name}: {len(workers):,} workers", tuple(boxes), tuple(_meetings(tag, shown)))


def _natural(group: str) -> list[tuple[int, str]]:
    """Sorts `r2` before `r10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", group)]


def _kinds(tag: Tag, workers: Sequence[WorkerSpec]) -> Counter[Kind]:
    """How many workers there are of each kind; expansion shares associations, so few have to be looked at."""
    by_association = Counter((worker.role, id(worker.group_association)) for worker in workers)
    first = {(worker.role, id(worker.group_association)): worker for worker in reversed(workers)}
    counts: Counter[Kind] = Counter()
    for key, count in by_association.items():
        worker = first[key]
        channels = tag.channels_of(worker.role)
        counts[worker.role, tuple(channel.group_of(worker.group_association) for channel in channels)] += count
    return counts


def _meetings(tag: Tag, shown: list[list[Kind]]) -> Iterable[Line]:
    for i, channel in enumerate(tag.channels):
        members: dict[str, dict[str, set[int]]] = {}
        for box, kinds in enumerate(shown):
            for role, groups in kinds:
                if role in channel.pair:
                    place = tag.channels_of(role).index(channel)
                    members.setdefault(groups[place], {}).setdefault(role, set()).add(box)
        found: dict[tuple[int, int], list[str]] = {}
        for group, boxes in members.items():
            for pair in _pairs(channel, boxes):
                found.setdefault(pair, []).append(group)
        for ends, groups_met in found.items():
            yield Line(ends, i, channel.name, some(groups_met, 1), ("", ""))


def _pairs(channel: Channel, boxes: dict[str, set[int]]) -> Iterable[tuple[int, int]]:
    one, other = (sorted(boxes.get(role, ())) for role in channel.pair)
    if channel.is_self_loop:
        return [(a, b) for a in one for b in one if a <= b]
    return [(min(a, b), max(a, b)) for a in one for b in other]


def _levels(tag: Tag) -> dict[str, int]:
    # Who joins the columns of others stands above them, although it has data too.
    joining = {owner for channel in tag.channels for owner in channel.tag_owner(JOINS_COLUMNS)}
    consumers = [role.name for role in tag.data_consumers()]
    starts = [name for name in consumers if name not in joining] or consumers or [role.name for role in tag.roles[:1]]
    return distances(starts, [channel.pair for channel in tag.channels])


def _count(number: int, what: str) -> tuple[str, ...]:
    return (f"{number} {what}",) if number > 1 else ()
