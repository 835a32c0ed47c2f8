"""One set of programs under every topology: a TAG file names a template, and no program changes."""

from __future__ import annotations

import difflib
import itertools
from pathlib import Path

import numpy as np
import pytest

from flame.cli import main as flame
from flame.lab.result import Result
from flame.tag import diff, read, template, templates
from flame.weights import safetensors

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "topologies"
FILES = {path.stem: path for path in sorted((EXAMPLE / "tags").glob("*.json"))}
APART = ("parallel", "parallel-trees", "clustered")
"""Several models, each of which learns from some of the sites."""
ALONE = ("distributed", "cyclic", *(name for name in FILES if name.startswith("gossip")))
"""Nobody leads, so that nobody is there who tests."""
STAR = [name for name in FILES if name not in APART and not name.startswith(("gossip", "cyclic"))]
"""Those that learn what a star learns."""
PACKED = ("cross-device", "edge-cloud")
"""Those whose channels round what is sent."""


def data_of(schema: Path) -> Path:
    """The data spec that has the trainers' groups."""
    groups = {one["param-channel"] for one in read(schema).role("trainer").group_association if "param-channel" in one}
    return EXAMPLE / (
        "by-region.json" if "eu" in groups else "by-place.json" if "eu-north" in groups else "dataSpec.json"
    )


@pytest.fixture(scope="module")
def run(topologies: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    out = tmp_path_factory.mktemp("topologies")
    schemas = {**FILES, "by hand": topologies / "schema.json", "three-tier": topologies / "three-tier.json"}
    for name, schema in schemas.items():
        files = [f"--schema={schema}", f"--data={data_of(schema)}"]
        rest = [f"--out={out / name}", "--hosts=0", "--seed=1", "--set=hyperparameters.rounds=15"]
        assert flame(["run", str(topologies), *files, *rest]) == 0, name
    return {name: Result(out / name) for name in schemas}


def test_every_template_that_a_star_s_programs_can_run_in_is_there() -> None:
    assert set(FILES) == set(templates()) - {"vertical"}


@pytest.mark.parametrize("one", FILES)
def test_at_most_ten_lines_change_to_any_other(one: str) -> None:
    for other in set(FILES) - {one}:
        changed = difflib.ndiff(FILES[one].read_text().splitlines(), FILES[other].read_text().splitlines())
        assert 0 < len([line for line in changed if line[0] in "+-"]) <= 10, other


def test_a_tag_written_by_hand_differs_from_its_template_in_few_lines(topologies: Path) -> None:
    for name, origin in (("schema.json", "two-tier"), ("three-tier.json", "hierarchical")):
        assert diff(template(origin), read(topologies / name)).lines_changed <= 10


def test_every_topology_learns_to_read(run: dict[str, Result]) -> None:
    reached = {name: run[name].final("train-accuracy" if name in ALONE else "test-accuracy") for name in run}
    assert {name: value for name, value in reached.items() if value < (0.6 if name in APART else 0.9)} == {}


@pytest.mark.parametrize("name", [*STAR, "by hand", "three-tier"])
def test_one_federation_learns_what_a_star_learns(run: dict[str, Result], name: str) -> None:
    star, other = (run[each].weights().arrays() for each in ("two-tier", name))
    assert np.abs(star["weights"]).max() > 0.5
    for tensor, values in star.items():
        np.testing.assert_allclose(other[tensor], values, rtol=1e-9, atol=0.05 if name in PACKED else 1e-12)


def test_whoever_mixes_with_all_has_the_model_of_all(run: dict[str, Result]) -> None:
    others = list((run["gossip-full"].history.path / "models").iterdir())
    assert len(others) == 5
    for path in others:
        for name, values in safetensors.read(path).arrays().items():
            np.testing.assert_allclose(values, run["gossip-full"].weights().arrays()[name], rtol=1e-9, atol=1e-12)


def test_regions_that_never_meet_learn_less(run: dict[str, Result]) -> None:
    together = run["two-tier"].final("test-accuracy")
    apart = [curve[-1][1] for curve in run["parallel"].series("test-accuracy", role="aggregator").values()]
    assert together > 0.92
    assert len(apart) == 2 and max(apart) < together - 0.1


def test_clusters_are_the_regions_that_nobody_has_told(run: dict[str, Result]) -> None:
    chosen = [run["clustered"].series("cluster")[f"trainer/{number}"][-1][1] for number in range(6)]
    assert chosen in ([0] * 3 + [1] * 3, [1] * 3 + [0] * 3)
    assert run["clustered"].final("loss") < run["two-tier"].final("loss")


def test_every_topology_has_the_workers_it_should(run: dict[str, Result]) -> None:
    roles = {name: run[name].history.facts["roles"] for name in ("two-tier", "three-tier", "parallel", "deep")}
    assert roles == {
        "two-tier": {"aggregator": 1, "trainer": 6},
        "three-tier": {"aggregator": 1, "middle-aggregator": 2, "trainer": 6},
        "parallel": {"aggregator": 2, "trainer": 6},
        "deep": {"middle-aggregator-1": 1, "middle-aggregator-2": 2, "top-aggregator": 1, "trainer": 6},
    }
    for one, other in itertools.combinations(ALONE, 2):
        assert run[one].history.facts["roles"] == run[other].history.facts["roles"] == {"trainer": 6}
