"""A picture for the terminal: boxes below each other, and each line a bracket in a lane at their right."""

from __future__ import annotations

from dataclasses import dataclass

from flame.tag.draw.picture import Line, Picture, width


@dataclass(slots=True)
class _Port:
    """Where a line leaves a box: the row, and which of the line's two ends it is."""

    line: Line
    end: int
    row: int = 0


def render(picture: Picture) -> str:
    """The picture as lines of text."""
    if not picture.boxes:
        return f"{picture.title}: no roles\n"
    ports = [_ports(picture, box) for box in range(len(picture.boxes))]
    inner = 2 + max(width(text) for box in picture.boxes for text in (box.title, *box.lines))
    rows: list[str] = []
    left: list[str] = []
    for box, mine in zip(picture.boxes, ports, strict=True):
        content = [box.title + (" ◆" if box.has_data else ""), *box.lines]
        content += [""] * (len(mine) - len(content))
        left.append("┌" + "─" * (inner + 2) + "┐")
        for i, told in enumerate(content):
            edge = "├" if i < len(mine) else "│"
            if i < len(mine):
                mine[i].row = len(left)
            left.append("│ " + told + " " * (inner - width(told)) + " " + edge)
        left.append("└" + "─" * (inner + 2) + "┘")
    rows = _brackets(left, [port for mine in ports for port in mine], inner + 4)
    legend = ["", "◆ consumes data"] if any(box.has_data for box in picture.boxes) else []
    return "\n".join([picture.title, *rows, *legend]) + "\n"


def _ports(picture: Picture, box: int) -> list[_Port]:
    """The ports of a box, so that lines cross little: those that go up, self-loops, those that go down."""
    up = [line for line in picture.lines if line.ends[1] == box and line.ends[0] < box]
    loops = [line for line in picture.lines if line.ends == (box, box)]
    down = [line for line in picture.lines if line.ends[0] == box and line.ends[1] > box]
    up.sort(key=lambda line: -line.ends[0])
    down.sort(key=lambda line: -line.ends[1])
    return [
        *(_Port(line, 1) for line in up),
        *(_Port(line, end) for line in loops for end in (0, 1)),
        *(_Port(line, 0) for line in down),
    ]


def _brackets(left: list[str], ports: list[_Port], start: int) -> list[str]:
    spans: dict[int, tuple[Line, int, int]] = {}
    for port in ports:
        line, top, _ = spans.get(id(port.line), (port.line, port.row, port.row))
        spans[id(port.line)] = (line, min(top, port.row), max(top, port.row))
    lanes = _lanes({key: (top, bottom) for key, (_, top, bottom) in spans.items()})
    told = max((width(tags) for line, _, _ in spans.values() for tags in line.tags), default=0)
    first = start + (told + 4 if told else 2)
    cells = [list(row) for row in left]
    # A wide letter fills two columns but is one item of the list, hence the padding by measured width.
    grid = [[" "] * (first - start + 3 * len(spans) + 2) for _ in left]
    for port in ports:
        lane = first - start + 3 * lanes[id(port.line)]
        self_loop = port.line.ends[0] == port.line.ends[1]
        tags = "" if self_loop and port.end else port.line.tags[port.end]
        for column, letter in enumerate(f"─ {tags} ".replace("─  ", "──") if tags else "─"):
            grid[port.row][column] = letter
        for column in range(width(f"─ {tags} ") if tags else 1, lane):
            grid[port.row][column] = "┼" if grid[port.row][column] == "│" else "─"
        _, top, bottom = spans[id(port.line)]
        grid[port.row][lane] = "┐" if port.row == top else "┘"
    for key, (_, top, bottom) in spans.items():
        lane = first - start + 3 * lanes[key]
        for row in range(top + 1, bottom):
            grid[row][lane] = "┼" if grid[row][lane] == "─" else "│"
    lines = ["".join(cell) + "".join(extra).rstrip() for cell, extra in zip(cells, grid, strict=True)]
    margin = first + 3 * (max(lanes.values(), default=0)) + 2
    for line, top, _ in spans.values():
        groups = f" ({line.groups})" if line.groups else ""
        lines[top] += " " * (margin - width(lines[top])) + f"{line.name}{groups}"
    return lines


def _lanes(spans: dict[int, tuple[int, int]]) -> dict[int, int]:
    """A lane for each bracket, short ones inside, so that no two brackets of a lane overlap."""
    taken: list[list[tuple[int, int]]] = []
    lanes: dict[int, int] = {}
    for key, (top, bottom) in sorted(spans.items(), key=lambda item: (item[1][1] - item[1][0], item[1])):
        free = next(
            (i for i, lane in enumerate(taken) if all(bottom < a or b < top for a, b in lane)),
            len(taken),
        )
        if free == len(taken):
            taken.append([])
        taken[free].append((top, bottom))
        lanes[key] = free
    return lanes
