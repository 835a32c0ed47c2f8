"""One program, three topologies: only the TAG differs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from flame.cli import main as flame
from flame.lab.result import Result
from flame.tag import diff, draw, read, template

TAGS = {
    "two-tier": ("schema.json", "dataSpec.json", "two-tier"),
    "three-tier": ("three-tier.json", "by-region.json", "hierarchical"),
    "parallel": ("parallel.json", "by-region.json", "parallel"),
}


@pytest.fixture(scope="module")
def runs(topologies: Path, tmp_path_factory) -> dict[str, Result]:
    out = tmp_path_factory.mktemp("topologies")
    for name, (tag, data, _) in TAGS.items():
        files = [f"--schema={topologies / tag}", f"--data={topologies / data}"]
        assert flame(["run", str(topologies), *files, f"--out={out / name}"]) == 0
    return {name: Result(out / name) for name in TAGS}


@pytest.mark.parametrize("name", TAGS)
def test_at_most_ten_lines_of_a_template_are_changed(topologies: Path, name: str) -> None:
    tag, _, origin = TAGS[name]
    assert diff(template(origin), read(topologies / tag)).lines_changed <= 10


@pytest.mark.parametrize("name", TAGS)
def test_the_drawing_shows_the_tag(topologies: Path, name: str) -> None:
    words = [
        re.findall(r">([^<>]+)</text>", svg)
        for svg in ((topologies / f"{name}.svg").read_text(), draw(read(topologies / TAGS[name][0]), "svg"))
    ]
    assert len(words[0]) > 4 and words[0] == words[1]


def test_three_tiers_learn_the_same_weights_as_two(runs: dict[str, Result]) -> None:
    two, three = (runs[name].weights().arrays() for name in ("two-tier", "three-tier"))
    assert np.abs(two["weights"]).max() > 0.5
    for name in two:
        np.testing.assert_allclose(three[name], two[name], rtol=1e-9, atol=1e-12)


def test_regions_that_never_meet_learn_less(runs: dict[str, Result]) -> None:
    together = runs["two-tier"].final("test-accuracy")
    apart = [curve[-1][1] for curve in runs["parallel"].series("test-accuracy", role="aggregator").values()]
    assert together > 0.92
    assert len(apart) == 2 and max(apart) < together - 0.1


def test_every_topology_has_the_workers_it_should(runs: dict[str, Result]) -> None:
    assert {name: run.history.facts["roles"] for name, run in runs.items()} == {
        "two-tier": {"aggregator": 1, "trainer": 6},
        "three-tier": {"aggregator": 1, "middle-aggregator": 2, "trainer": 6},
        "parallel": {"aggregator": 2, "trainer": 6},
    }
