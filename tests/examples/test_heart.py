"""Four hospitals, one model that serves the patients of all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def rows(load, tmp_path_factory) -> list:
    return load("heart/compare.py").compare(out=tmp_path_factory.mktemp("heart") / "run")


def test_one_model_serves_everybody_better_than_any_hospitals_own(rows: list) -> None:
    federated = np.mean([row.together_home for row in rows])
    assert federated > max(row.alone_everywhere for row in rows)
    assert federated > np.mean([row.alone_everywhere for row in rows]) + 0.03


def test_it_beats_the_majority_where_that_is_not_nearly_everybody(rows: list) -> None:
    assert all(row.together_home > row.majority + 0.02 for row in rows if row.majority < 0.8)


def test_all_920_patients_are_there_and_differ_by_hospital(load) -> None:
    code = load("heart/trainer/main.py")
    labels = [code.patients(path)[1] for path in sorted(Path(EXAMPLES / "heart" / "hospitals").glob("*.csv"))]
    assert [len(one) for one in labels] == [304, 293, 123, 200]
    assert np.ptp([one.mean() for one in labels]) > 0.5


def test_held_out_patients_are_never_fitted(load) -> None:
    code = load("heart/trainer/main.py")
    labels = np.array([0.0] * 30 + [1.0] * 70)
    held_out = code.halves(labels)
    assert held_out[:30].sum() == 9 and held_out[30:].sum() == 21
    np.testing.assert_array_equal(held_out, code.halves(labels))


def test_the_table_has_a_line_per_hospital_and_one_of_means(load, rows: list) -> None:
    lines = load("heart/compare.py").table(rows).splitlines()
    assert len(lines) == 6 and lines[-1].startswith("mean") and " 920" in lines[-1]
