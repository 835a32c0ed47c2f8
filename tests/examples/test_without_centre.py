"""Four hospitals without a centre: the same functions, and only the TAG differs."""

from __future__ import annotations

import numpy as np
import pytest


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
