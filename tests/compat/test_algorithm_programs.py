"""The programs of upstream's examples for single algorithms in two hosts, and what they refuse."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import references
from example import job_folder
from test_all_examples import LIBRARY

import flame
from flame.lab.result import Result

pytest.importorskip("torch")

EXAMPLES = {one.name: one for one in LIBRARY}
SCAFFOLD, FEDDYN, FEDGFT, ADAPTIVE = "cifar10_scaffold", "medmnist_feddyn", "compas_fedgft", "medmnist"


def run(folder: Path, name: str, hosts: int = 0, **changes: Any) -> Result:
    """An example with other settings."""
    folder.mkdir()
    with ExitStack() as stack:
        job = job_folder(dataclasses.replace(EXAMPLES[name], **changes), folder, stack, archive=False)
        return flame.run(job, hosts=hosts, out=folder / "out")


def curve(result: Result, name: str) -> list[float]:
    [values] = result.series(name, "aggregator").values()
    return [value for _, value in values]


@pytest.mark.parametrize("name", [SCAFFOLD, FEDDYN])
def test_statement_22_scaffold_and_feddyn_compute_their_formulas(tmp_path: Path, name: str) -> None:
    result = run(tmp_path / "job", name, hosts=2)
    EXAMPLES[name].law(np.array([curve(result, "first"), curve(result, "second")]).T)


def test_it_becomes_fairer(tmp_path: Path) -> None:
    fair = curve(run(tmp_path / "fair", FEDGFT, hosts=2, rounds=8), "bias")
    plain = {"optimizer": {"sort": "fedgft", "kwargs": {"fair": "SP", "gamma": 0}}}
    unfair = curve(run(tmp_path / "plain", FEDGFT, rounds=8, settings=plain), "bias")
    assert fair[0] == unfair[0] == pytest.approx(references.first_bias(), abs=1e-6)
    assert abs(fair[-1]) < abs(unfair[-1]) / 2


def test_roles_of_an_algorithm_refuse_another(tmp_path: Path) -> None:
    for name, algorithm in ((SCAFFOLD, "scaffold"), (FEDDYN, "feddyn"), (FEDGFT, "fedgft")):
        with pytest.raises(flame.errors.RecipeError, match=f"are for {algorithm}, not fedavg"):
            run(tmp_path / name, name, settings={})


def test_other_roles_refuse_an_algorithm_with_roles_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(flame.errors.RecipeError, match=r"flame\.mode\.horizontal\.fedgft, and none in between"):
        run(tmp_path / "job", ADAPTIVE, settings=EXAMPLES[FEDGFT].settings)


def test_a_scaffold_trainer_needs_k(tmp_path: Path) -> None:
    with pytest.raises(flame.errors.RecipeError, match=r"optimizer\.kwargs\.k"):
        run(tmp_path / "job", SCAFFOLD, settings={"optimizer": {"sort": "scaffold"}})
