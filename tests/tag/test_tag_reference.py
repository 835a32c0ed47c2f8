"""The reference page names every key, invariant, function tag and template, in the words of the code."""

from __future__ import annotations

from pathlib import Path

from flame.tag import templates
from flame.tag.check import INVARIANTS
from flame.tag.keys import CHANNEL, COMPRESSION, CONNECTOR, GROUP_BY, ROLE, TAG
from flame.tag.protocol import BUILT_IN
from flame.tag.templates import options_of

PAGE = (Path(__file__).parents[2] / "docs/reference/tag.md").read_text(encoding="utf-8")


def row(*cells: str) -> str:
    [found] = [
        line for line in PAGE.splitlines() if line.startswith(f"| `{cells[0]}` |") and all(c in line for c in cells)
    ]
    return found


def test_every_key_is_documented() -> None:
    for key in {
        key.name + key.doc: key for key in (*TAG, *ROLE, *CHANNEL, *COMPRESSION, *GROUP_BY, *CONNECTOR)
    }.values():
        assert f"| `{key.name}` |" in PAGE and f"| {key.doc} |" in PAGE


def test_every_invariant_is_documented() -> None:
    for rule in INVARIANTS:
        row(rule.__name__.replace("_", "-"), (rule.__doc__ or "").strip().splitlines()[0])


def test_every_function_tag_is_documented_in_its_order() -> None:
    places = [PAGE.index(row(tag, *action.partners)) for tag, action in BUILT_IN.items()]
    assert places == sorted(places)


def test_every_template_and_option_is_documented() -> None:
    for name, told in templates().items():
        row(name, told, *(f"`{option}=" for option in options_of(name)))
