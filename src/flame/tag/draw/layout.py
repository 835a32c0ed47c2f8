"""Where everything goes: levels as rows, lines as curves between them, labels where nothing else is.

A level is a distance from the data, so a line joins boxes of one row or of two neighbouring rows, and never
has to pass behind a box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from flame.tag.draw.picture import Box, Line, Picture, width

MARGIN, HEAD, ROW_GAP, BOX_GAP = 24.0, 40.0, 118.0, 44.0
LETTER, SMALL = 7.6, 6.3  # average advance in px of the two text sizes


@dataclass(frozen=True, slots=True)
class Spot:
    """A rectangle, in px from the top left corner, and the text in it."""

    x: float
    y: float
    width: float
    height: float
    text: str = ""

    @property
    def middle(self) -> float:
        """The middle of its width."""
        return self.x + self.width / 2

    def meets(self, other: Spot, room: float = 4) -> bool:
        """Whether the two overlap, or come nearer to each other than `room` px."""
        return (
            self.x < other.x + other.width + room
            and other.x < self.x + self.width + room
            and self.y < other.y + other.height + room
            and other.y < self.y + self.height + room
        )


@dataclass(frozen=True, slots=True)
class Bend:
    """A drawn line: its SVG path, its label, and what each end does."""

    channel: int
    path: str
    label: Spot
    tags: tuple[Spot, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole drawing, in px."""

    width: float
    height: float
    spots: tuple[Spot, ...]
    bends: tuple[Bend, ...]


@dataclass(slots=True)
class _Sides:
    """The lines that leave a box, by side."""

    top: list[int] = field(default_factory=list)
    bottom: list[int] = field(default_factory=list)
    loops: list[int] = field(default_factory=list)


def arrange(picture: Picture) -> Layout:
    """Places boxes and lines so that texts do not lie on each other, and none beyond an edge."""
    layout = _arranged(picture, 0)
    left = min((spot.x for spot in _texts(layout)), default=MARGIN)
    return layout if left >= MARGIN / 2 else _arranged(picture, MARGIN - left)


def _arranged(picture: Picture, indent: float) -> Layout:
    rows = _rows(picture)
    sides = _sides(picture, rows)
    spots = _spots(picture, rows, sides, indent)
    for box, side in enumerate(sides):
        for ports in (side.top, side.bottom):
            away = {i: _far(picture.lines[i], spots, box) for i in ports}
            ports.sort(key=away.__getitem__)
    taken = [Spot(s.x, s.y - 8, s.width + 8, s.height + 8) for s in spots]
    # Lines inside a row have the least choice of where their label goes, so they choose first.
    order = sorted(range(len(picture.lines)), key=lambda i: not _is_level(picture, picture.lines[i]))
    bends = {i: _draw(i, picture.lines[i], spots, sides, taken) for i in order}
    drawn = [bends[i] for i in range(len(picture.lines))]
    layout = Layout(0, 0, tuple(spots), tuple(drawn))
    right = max([spot.x + spot.width for spot in _texts(layout)], default=0) + MARGIN + 8
    low = max([spot.y + spot.height for spot in _texts(layout)], default=0) + MARGIN
    return replace(layout, width=max(right, 2 * MARGIN + 8 * width(picture.title)), height=low)


def _texts(layout: Layout) -> list[Spot]:
    """Everything in a drawing that holds text."""
    return [*layout.spots, *(b.label for b in layout.bends), *(tag for b in layout.bends for tag in b.tags)]


def _rows(picture: Picture) -> list[list[int]]:
    """The boxes of each level, the top one first; in a row, boxes stand near those they are joined to."""
    by_level: dict[int, list[int]] = defaultdict(list)
    for i, box in enumerate(picture.boxes):
        by_level[box.level].append(i)
    rows = [by_level[level] for level in sorted(by_level, reverse=True)]
    for _ in range(3):
        for now, before in [
            *zip(rows[1:], rows, strict=False),
            *zip(rows[-2::-1], rows[:0:-1], strict=False),
        ]:
            place = {box: (i + 0.5) / len(before) for i, box in enumerate(before)}
            now.sort(key=lambda box: _mean(place[o] for o in _joined(picture.lines, box) if o in place))
    return rows


def _joined(lines: Iterable[Line], box: int) -> list[int]:
    return [other for line in lines if box in line.ends for other in line.ends if other != box]


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.5


def _sides(picture: Picture, rows: Sequence[Sequence[int]]) -> list[_Sides]:
    sides = [_Sides() for _ in picture.boxes]
    row_of = {box: i for i, row in enumerate(rows) for box in row}
    for i, line in enumerate(picture.lines):
        one, other = line.ends
        if one == other:
            sides[one].loops.append(i)
        elif row_of[one] < row_of[other]:
            sides[one].bottom.append(i)
            sides[other].top.append(i)
        elif row_of[one] > row_of[other]:
            sides[one].top.append(i)
            sides[other].bottom.append(i)
        else:
            sides[one].bottom.append(i)
            sides[other].bottom.append(i)
    return sides


def _spots(picture: Picture, rows: Sequence[Sequence[int]], sides: Sequence[_Sides], indent: float) -> list[Spot]:
    sizes = [_size(box, sides[i], picture.lines) for i, box in enumerate(picture.boxes)]
    loop_room = [_loop_room(picture, one.loops) for one in sides]
    widths = [sum(sizes[b][0] + loop_room[b] + BOX_GAP for b in row) - BOX_GAP for row in rows]
    spots = [Spot(0, 0, 0, 0)] * len(picture.boxes)
    y = HEAD + 8
    for row, wide in zip(rows, widths, strict=True):
        x = MARGIN + indent + (max(widths) - wide) / 2
        tall = max(sizes[b][1] for b in row)
        for box in row:
            spots[box] = Spot(x, y + (tall - sizes[box][1]) / 2, *sizes[box])
            x += sizes[box][0] + loop_room[box] + BOX_GAP
        level = any(_is_level(picture, line) for line in picture.lines if line.ends[0] in row)
        crowd = max(0, max(len(sides[b].bottom) for b in row) - 1) * 22
        y += tall + ROW_GAP + crowd + (20 if level else 0)
    return spots


def _is_level(picture: Picture, line: Line) -> bool:
    one, other = line.ends
    return one != other and picture.boxes[one].level == picture.boxes[other].level


def _size(box: Box, sides: _Sides, lines: Sequence[Line]) -> tuple[float, float]:
    text = max([LETTER * width(box.title), *(SMALL * width(told) for told in box.lines)])
    slots = [
        sum(max(24.0, 14 + SMALL * max(map(width, lines[i].tags))) for i in side) for side in (sides.top, sides.bottom)
    ]
    return max(96.0, text + 32, *slots), 32 + 16.0 * len(box.lines) + (4 if box.lines else 0)


def _loop_room(picture: Picture, loops: Sequence[int]) -> float:
    return max((58 + _label_size(picture.lines[i])[0] for i in loops), default=0)


def _far(line: Line, spots: Sequence[Spot], here: int) -> float:
    return spots[line.ends[1] if line.ends[0] == here else line.ends[0]].middle


def _label_size(line: Line) -> tuple[float, float]:
    rows = [text for text in (line.name, line.groups) if text]
    return 18 + SMALL * max(map(width, rows)), 6 + 14.0 * len(rows)


def _port(i: int, side: Sequence[int], spot: Spot) -> float:
    return spot.x + spot.width * (side.index(i) + 0.5) / len(side)


def _draw(i: int, line: Line, spots: Sequence[Spot], sides: Sequence[_Sides], taken: list[Spot]) -> Bend:
    one, other = line.ends
    if one == other:
        return _loop(i, line, spots[one], sides[one], taken)
    points = []
    for box in line.ends:
        on_top = i in sides[box].top
        x = _port(i, sides[box].top if on_top else sides[box].bottom, spots[box])
        points.append((x, spots[box].y if on_top else spots[box].y + spots[box].height, -1 if on_top else 1))
    (x1, y1, d1), (x2, y2, d2) = points
    reach = abs(y2 - y1) * 0.5 if d1 != d2 else 96.0
    curve = ((x1, y1), (x1, y1 + d1 * reach), (x2, y2 + d2 * reach), (x2, y2))
    tags = tuple(_tag(text, x, y, down, taken) for text, (x, y, down) in zip(line.tags, points, strict=True) if text)
    label = _free(line, [_on(curve, t) for t in (0.5, 0.42, 0.58, 0.34, 0.66, 0.28, 0.72, 0.22, 0.78)], taken)
    path = "M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(
        *(value for point in curve for value in point)
    )
    return Bend(line.channel, path, label, tags)


def _loop(i: int, line: Line, spot: Spot, sides: _Sides, taken: list[Spot]) -> Bend:
    """A self-loop: out of the right side and back into it."""
    right, place = spot.x + spot.width, sides.loops.index(i)
    y = spot.y + spot.height / 2
    reach, half = 44 + 16 * place, min(spot.height / 2 - 6, 14 + 4 * place)
    path = (
        f"M{right:.1f} {y - half:.1f}C{right + reach:.1f} {y - half - 14:.1f} "
        f"{right + reach:.1f} {y + half + 14:.1f} {right:.1f} {y + half:.1f}"
    )
    wide, tall = _label_size(line)
    label = Spot(right + 40, y - tall / 2 + (tall + 6) * place, wide, tall, _label_text(line))
    told = line.tags[0]
    tags = [Spot(right + 44, label.y - 17, SMALL * width(told) + 6, 14, told)] if told else []
    taken += [label, *tags]
    return Bend(line.channel, path, label, tuple(tags))


def _tag(text: str, x: float, y: float, down: int, taken: list[Spot]) -> Spot:
    wide = SMALL * width(text) + 6
    spot = Spot(x - wide / 2, y + (6 if down > 0 else -26), wide, 14, text)
    taken.append(spot)
    return spot


def _free(line: Line, points: Sequence[tuple[float, float]], taken: list[Spot]) -> Spot:
    """The label's place: the first point on the line where it covers nothing, else the first of all."""
    wide, tall = _label_size(line)
    spots = [Spot(x - wide / 2, y - tall / 2, wide, tall, _label_text(line)) for x, y in points]
    best = next((spot for spot in spots if not any(spot.meets(other) for other in taken)), spots[0])
    taken.append(best)
    return best


def _label_text(line: Line) -> str:
    return "\n".join(text for text in (line.name, line.groups) if text)


def _on(curve: Sequence[tuple[float, float]], t: float) -> tuple[float, float]:
    """A point on a cubic Bézier curve."""
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    return sum(w * x for w, (x, _) in zip(weights, curve, strict=True)), sum(
        w * y for w, (_, y) in zip(weights, curve, strict=True)
    )
