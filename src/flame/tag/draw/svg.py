"""A picture as one SVG element without references.

It draws its own ground, so that any page, light or dark, may hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from flame.tag.draw.layout import Bend, Layout, arrange
from flame.tag.draw.picture import Picture

COLOURS = 6

_STYLE = """
.flame-tag{--ground:#fbfbfa;--box:#ffffff;--edge:#c9ced6;--ink:#1d2733;--soft:#667284;--data:#e8f1fb;
--c0:#2f6fb2;--c1:#b4552d;--c2:#3d7f4f;--c3:#7d55a8;--c4:#a8437a;--c5:#6f6a1d;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
@media
(prefers-color-scheme:dark){.flame-tag{--ground:#171c22;--box:#222a33;--edge:#465260;--ink:#e8edf3;--soft:#9fadbd;
--data:#1d3248;--c0:#7db4ee;--c1:#eea07c;--c2:#86cf9b;--c3:#c3a1ea;--c4:#ee94c2;--c5:#d3cc74}}
.flame-tag .ground{fill:var(--ground)}
.flame-tag .box{fill:var(--box);stroke:var(--edge);stroke-width:1.25}
.flame-tag .data{fill:var(--data)}
.flame-tag text{fill:var(--ink);text-anchor:middle;dominant-baseline:central;font-size:11px}
.flame-tag .head{font-size:13px;font-weight:600}
.flame-tag .soft{fill:var(--soft)}
.flame-tag .title{font-size:12px;fill:var(--soft);text-anchor:start}
.flame-tag .line{fill:none;stroke-width:1.75;stroke-linecap:round}
.flame-tag .pill{fill:var(--ground);stroke-width:1}
.flame-tag .halo{fill:var(--ground);opacity:.88}
""" + "".join(
    f".flame-tag .line.c{i},.flame-tag .pill.c{i}{{stroke:var(--c{i})}}.flame-tag text.c{i}{{fill:var(--c{i})}}\n"
    for i in range(COLOURS)
)


def render(picture: Picture) -> str:
    """The picture as an SVG element."""
    layout = arrange(picture)
    width, height = round(layout.width), round(layout.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flame-tag" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" style="max-width:100%;height:auto" role="img" '
        f'aria-label="{escape(picture.title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}" rx="12"/>',
        _text(16, 18, picture.title, "title"),
        *(f'<path class="line c{_colour(bend)}" d="{bend.path}"/>' for bend in layout.bends),
        *_boxes(picture, layout),
        *_labels(layout.bends),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _boxes(picture: Picture, layout: Layout) -> Iterator[str]:
    for box, spot in zip(picture.boxes, layout.spots, strict=True):
        kind = "box data" if box.has_data else "box"
        for shift in (8, 4, 0) if box.is_many else (0,):
            yield _rect(spot.x + shift, spot.y - shift, spot.width, spot.height, 8, kind)
        told = [(box.title, "head"), *((text, "soft") for text in box.lines)]
        top = spot.y + spot.height / 2 - (len(told) - 1) * 8
        for i, (text, style) in enumerate(told):
            yield _text(spot.middle, top + 16 * i, text, style)


def _labels(bends: Iterable[Bend]) -> Iterator[str]:
    for bend in bends:
        for tag in bend.tags:
            yield _rect(tag.x, tag.y, tag.width, tag.height, 3, "halo")
            yield _text(tag.middle, tag.y + tag.height / 2, tag.text, "soft")
        label = bend.label
        yield _rect(label.x, label.y, label.width, label.height, 9, f"pill c{_colour(bend)}")
        rows = label.text.split("\n")
        for i, row in enumerate(rows):
            y = label.y + label.height / 2 + 14 * (i - (len(rows) - 1) / 2)
            yield _text(label.middle, y, row, "soft" if i else f"c{_colour(bend)}")


def _colour(bend: Bend) -> int:
    return bend.channel % COLOURS


def _rect(x: float, y: float, width: float, height: float, radius: int, style: str) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}" rx="{radius}"'
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" {size}/>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
