"""How everything that the lab shows looks: colours, numbers in words, and escaping.

Colours are CSS variables under the class `flame`, once for light and once for dark. Names of workers,
metrics and settings come from users, so that every text goes through `escape` on its way into a page.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence

COLOURS = 8
"""How many colours a chart may use before it must repeat one."""

NOTHING, MINUS = "\u2013", "\u2212"
"""What stands for a missing number, and before a negative one."""

VARIABLES = """\
.flame{color-scheme:light dark;--ink:#1c2128;--mute:#667080;--faint:#a3abb6;--rule:#e6e8eb;
--page:#fff;--card:#f7f8f9;
--site:#adb5c0;--good:#0f8a6d;--bad:#c43d33;--bad-card:#fdf3f2;
--c0:#2563c9;--c1:#d1581a;--c2:#0f8a6d;--c3:#8146c4;--c4:#a87400;--c5:#c83a73;--c6:#0b7f9e;--c7:#6b5d4f}
@media (prefers-color-scheme:dark){.flame{--ink:#e4e7eb;--mute:#98a2b0;--faint:#69737f;--rule:#2b3036;
--page:#14171a;
--card:#1b1f23;--site:#59626d;--good:#4fd1ae;--bad:#f5847b;--bad-card:#2a1b1b;
--c0:#6ea8fe;--c1:#f59a5c;--c2:#4fd1ae;--c3:#c49bf5;--c4:#e6bd4a;--c5:#f58ab3;--c6:#5cc8e6;--c7:#bfae9c}}
"""

LETTER, BOLD = 6.7, 8.3
"""Generous mean widths of a letter at 12 px, plain and bold."""

# What XML cannot hold, and the marks that turn the direction of the text around them.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")

_ELLIPSES = re.compile("…+")
_WORD_END, _WORD_START = re.compile(r"[\w.]+$"), re.compile(r"^[\w.]+")


def escape(text: object) -> str:
    """The text of any value, fit for an element or a quoted attribute of HTML and SVG."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(text)), quote=True)


def shorten(text: str, width: int) -> str:
    """The text in at most `width` characters, its middle left out when it is longer."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def distinct(texts: Sequence[str], width: int) -> list[str]:
    """Each text in at most `width` characters, those that differ still told apart.

    When one is too long, what all of them begin or end with is left out first, then the middle of each; texts that
    would look alike after that are numbered. `width` must have room for such a number.
    """
    if all(len(text) <= width for text in texts):
        return list(texts)
    short = [_ELLIPSES.sub("…", shorten(text, width)) for text in _bare(texts)]
    if len(set(short)) == len(set(texts)):
        return short
    number_of = {text: at for at, text in enumerate(dict.fromkeys(texts), start=1)}
    return [shorten(f"{number_of[text]}: {text}", width) for text in texts]


def _bare(texts: Sequence[str]) -> list[str]:
    """The texts without the words that all of them begin or end with."""
    if len(set(texts)) < 2:
        return list(texts)
    head = _WORD_END.sub("", _common(texts))
    tails = [text[len(head) :] for text in texts]
    tail = _WORD_START.sub("", _common([text[::-1] for text in tails])[::-1])
    before, after = ("…" if len(end) > 1 else end for end in (head, tail))
    return [f"{before}{text[: len(text) - len(tail)]}{after}" for text in tails]


def _common(texts: Sequence[str]) -> str:
    """The longest text that all of them begin with."""
    low, high = min(texts), max(texts)
    return low[: next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))]


def number(value: float, digits: int = 4) -> str:
    """A number for people: four significant digits, `NaN` and `∞` by name."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        return f"{value:.2e}".replace("-", MINUS)
    if value == int(value):
        return f"{int(value):,}".replace("-", MINUS)
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{value:,.{min(places, digits)}f}".replace("-", MINUS)


def seconds(value: float) -> str:
    """A duration given in seconds: `38 ms`, `4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if not math.isfinite(value):
        return NOTHING
    if value < 0.9995:
        return f"{value * 1000:.0f} ms" if value >= 0.001 or value <= 0 else f"{value * 1e6:.0f} µs"
    if value < 99.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """A number of bytes: `312 B`, `4.1 kB`, `1.2 GB`."""
    if not math.isfinite(count):
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def plural(count: int, noun: str) -> str:
    """A count with its noun: `1 round`, `1,000 sites`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
