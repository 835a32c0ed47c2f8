"""Four hospitals without a centre: the same functions, and only the TAG differs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from flame.tag import draw, template

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "without_centre"


@pytest.fixture(scope="module")
def accuracies(load, tmp_path_factory) -> dict[str, list[float]]:
    code, out = load("without_centre/compare.py"), tmp_path_factory.mktemp("without_centre")
    return {tag: code.last(code.run(tag, out / tag)) for tag in code.TAGS}


def test_no_centre_is_about_as_good_as_one(accuracies: dict[str, list[float]]) -> None:
    (centre,) = accuracies.pop("two-tier")
    assert centre > 0.75
    assert all(len(found) == 4 and abs(np.mean(found) - centre) < 0.03 for found in accuracies.values())


def test_everybody_agrees_where_everybody_is_a_neighbour(accuracies: dict[str, list[float]]) -> None:
    assert len(set(accuracies["gossip-full"])) == 1 < len(set(accuracies["gossip-ring"]))


@pytest.mark.parametrize("name", ["gossip-ring", "cyclic"])
def test_the_drawing_shows_the_tag(name: str) -> None:
    drawn = (EXAMPLE / f"{name}.svg").read_text(), draw(template(name), "svg")
    words = [re.findall(r">([^<>]+)</text>", svg) for svg in drawn]
    assert len(words[0]) > 2 and words[0] == words[1]
