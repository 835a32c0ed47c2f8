"""Functions of the user's own give the answers that numpy gives on the pooled values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import flame
from flame.errors import TagError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

DIR = EXAMPLES / "custom_functions"


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, float]:
    records = flame.run(DIR, out=tmp_path_factory.mktemp("custom") / "run").metrics
    (record,) = [record for record in records if record.role == "statistician"]
    return record.values


@pytest.fixture(scope="module")
def pooled() -> np.ndarray:
    return np.concatenate([np.loadtxt(path) for path in sorted((DIR / "ages").glob("*.txt"))])


def test_count_and_mean(answers: dict[str, float], pooled: np.ndarray) -> None:
    assert answers["count"] == len(pooled) == 920
    assert answers["mean"] == pytest.approx(pooled.mean(), rel=1e-12)


def test_quantiles_are_exact(answers: dict[str, float], pooled: np.ndarray) -> None:
    asked = json.loads((DIR / "modelSpec.json").read_text())["hyperparameters"]["quantiles"]
    found = [answers[f"quantile-{share:g}"] for share in asked]
    assert found == np.quantile(pooled, asked, method="inverted_cdf").tolist()


def test_histogram_is_exact(answers: dict[str, float], pooled: np.ndarray) -> None:
    edges = np.linspace(pooled.min(), pooled.max(), 9)
    found = [answers[f"bin-{number}"] for number in range(8)]
    # A bin is open on its left, so that one question per edge is enough.
    expected = np.diff([0, *((pooled <= edge).sum() for edge in edges[1:])])
    assert found == expected.tolist()
    assert sum(found) == len(pooled)


def test_a_function_that_nobody_answers_is_refused_before_anything_runs(tmp_path: Path) -> None:
    shutil.copytree(DIR, tmp_path / "job")
    schema = tmp_path / "job" / "schema.json"
    schema.write_text(schema.read_text().replace('"askQuestion", ', ""))
    with pytest.raises(TagError, match=r"hospital\[1\]: 'hearQuestion' would wait for ever"):
        flame.run(tmp_path / "job", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_hospital_sends_a_value(load) -> None:
    hospital = load("custom_functions/hospital/main.py").Hospital
    assert set(hospital.get_func_tags()) == {"shareSummary", "hearQuestion", "shareCounts"}
    values = {len(Path(path).read_text().split()) for path in (DIR / "ages").glob("*.txt")}
    assert min(values) > 100  # far more values than the numbers that any message holds
