"""An example goes from any horizontal template to any other: a few lines of its TAG change, and no program."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import numpy as np
import pytest

import flame
from flame.lab.result import Result
from flame.tag import read

SITES = ["eu-1", "eu-2", "eu-3", "na-1", "na-2", "na-3"]
TAGS = {
    "two-tier": {"template": "two-tier"},
    "cross-silo": {"template": "cross-silo"},
    "cross-device": {"template": "cross-device"},
    "hierarchical": {"template": "hierarchical", "options": {"regions": ["eu", "na"]}},
    "deep": {"template": "deep", "options": {"regions": ["eu/north", "eu/south", "na/east"]}},
    "load-balanced": {"template": "load-balanced"},
    "edge-cloud": {"template": "edge-cloud", "options": {"regions": ["eu", "na"]}},
    "parallel": {"template": "parallel", "options": {"experiments": ["eu", "na"]}},
    "parallel-trees": {"template": "parallel-trees", "options": {"experiments": ["a"], "regions": ["eu", "na"]}},
    "coordinated": {"template": "coordinated"},
    "lifl-coordinated": {"template": "lifl-coordinated"},
    "distributed": {"template": "distributed"},
    "hybrid": {"template": "hybrid", "options": {"groups": ["eu", "na"]}},
    "gossip-ring": {"template": "gossip-ring"},
    "gossip-grid": {"template": "gossip-grid"},
    "gossip-full": {"template": "gossip-full"},
    "gossip-random": {"template": "gossip-random"},
    "cyclic": {"template": "cyclic"},
}
OTHERWISE = ("parallel", "cyclic", "gossip-ring", "gossip-grid", "gossip-full", "gossip-random")
"""Those that learn something else than a star: by design, as docs/explanation/one-engine.md has it."""
PACKED = ("cross-device", "edge-cloud")
"""Those whose channels round what is sent."""


def text(name: str) -> list[str]:
    """The TAG's file as one would write it: an option a line."""
    options = [f"    {json.dumps(key)}: {json.dumps(value)}," for key, value in TAGS[name].get("options", {}).items()]
    below = ['  "options": {', *options[:-1], *(line.rstrip(",") for line in options[-1:]), "  }"] if options else []
    return ["{", f'  "template": {json.dumps(TAGS[name]["template"])}{"," if below else ""}', *below, "}"]


@pytest.fixture(scope="module")
def run(topologies: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    runs = {}
    for name in TAGS:
        folder = tmp_path_factory.mktemp(name)
        (folder / "schema.json").write_text("\n".join(text(name)))
        trainer = read(TAGS[name]).role("trainer")
        groups = list(dict.fromkeys(next(iter(one.values())) for one in trainer.group_association))
        dealt = {group: SITES[at :: len(groups)] for at, group in enumerate(groups)}
        (folder / "dataSpec.json").write_text(json.dumps([{"role": "trainer", "datasetGroups": dealt}]))
        runs[name] = flame.run(
            topologies,
            schema=folder / "schema.json",
            data_spec=folder / "dataSpec.json",
            hosts=0,
            rounds=15,
            out=folder / "run",
        )
    return runs


@pytest.mark.parametrize("one", TAGS)
def test_at_most_ten_lines_change(one: str) -> None:
    for other in TAGS:
        changed = [line for line in difflib.ndiff(text(one), text(other)) if line[0] in "+-"]
        assert len(changed) <= 10 and bool(changed) == (one != other)


@pytest.mark.parametrize("name", TAGS)
def test_every_topology_learns_to_read(run: dict[str, Result], topologies: Path, name: str) -> None:
    with np.load(topologies / "data" / "test.npz") as file:
        images, labels = file["images"], file["labels"]
    model = run[name].weights().arrays()
    accuracy = ((images @ model["weights"] + model["bias"]).argmax(axis=1) == labels).mean()
    assert accuracy > (0.6 if name == "parallel" else 0.85)


@pytest.mark.parametrize("name", [name for name in TAGS if name not in OTHERWISE])
def test_one_federation_learns_what_a_star_learns(run: dict[str, Result], name: str) -> None:
    star, other = (run[each].weights().arrays() for each in ("two-tier", name))
    for tensor, values in star.items():
        np.testing.assert_allclose(other[tensor], values, rtol=1e-9, atol=0.05 if name in PACKED else 1e-12)
