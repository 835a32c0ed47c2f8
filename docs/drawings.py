"""Draw every template again: `python docs/drawings.py`, or `make fix`; a test compares what is there."""

from __future__ import annotations

from pathlib import Path

from flame.tag import draw, template, templates

FOLDER = Path(__file__).resolve().parent / "drawings"


def drawings() -> dict[str, str]:
    """The drawing of each template as it is by default, by its file's name."""
    return {f"{name}.svg": draw(template(name), "svg") for name in templates()}


if __name__ == "__main__":
    for name, svg in drawings().items():
        (FOLDER / name).write_text(svg)
