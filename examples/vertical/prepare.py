"""Cut the patients of the heart example into columns: who they are is known to four parties, each knows something else.

Written are `data/practice.csv`, `data/laboratory.csv`, `data/cardiology.csv` (numbers in typical spreads; what is
missing is typical) and `data/outcomes.csv`. Each party knows most of the 920 patients, in an order of its own.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
HOSPITALS = HERE.parent / "heart" / "hospitals"
KNOWN = 0.95  # the share of the patients that a party knows

Row = Mapping[str, str]
Column = Callable[[Row], float]


def measured(column: str, typical: float, spread: float, *, never_zero: bool = False) -> Column:
    """A measurement in spreads from the typical value; one that is missing is typical."""

    def value(row: Row) -> float:
        missing = row[column] == "" or (never_zero and float(row[column]) == 0)
        return 0.0 if missing else round((float(row[column]) - typical) / spread, 4)

    return value


def is_(column: str, value: str) -> Column:
    """Whether a column has a value."""
    return lambda row: float(row[column] == value)


PARTIES: Mapping[str, Mapping[str, Column]] = {
    "practice": {
        "age": measured("age", 54, 9),
        "male": is_("sex", "Male"),
        "asymptomatic": is_("cp", "asymptomatic"),
        "non-anginal": is_("cp", "non-anginal"),
        "atypical": is_("cp", "atypical angina"),
        "blood-pressure": measured("trestbps", 132, 19, never_zero=True),
    },
    "laboratory": {
        "cholesterol": measured("chol", 245, 55, never_zero=True),
        "cholesterol-known": lambda row: float(row["chol"] not in ("", "0")),
        "fasting-sugar": is_("fbs", "TRUE"),
    },
    "cardiology": {
        "st-t-abnormality": is_("restecg", "st-t abnormality"),
        "hypertrophy": is_("restecg", "lv hypertrophy"),
        "heart-rate": measured("thalch", 137, 26),
        "exercise-angina": is_("exang", "TRUE"),
        "st-depression": measured("oldpeak", 0.9, 1.1),
    },
    "outcomes": {"narrowed": lambda row: float(row["num"] != "0")},
}


def prepare(out: Path, seed: int = 0) -> str:
    """Write the files unless they are there; returns what they hold, in words."""
    if (out / "outcomes.csv").exists():
        return f"{out}: already prepared"
    rows = []
    for path in sorted(HOSPITALS.glob("*.csv")):
        with path.open(newline="") as file:
            rows += list(csv.DictReader(file))
    rng = np.random.default_rng(seed)
    out.mkdir(parents=True, exist_ok=True)
    said = []
    for party, columns in PARTIES.items():
        known = rng.permutation(len(rows))[: round(KNOWN * len(rows))]
        save(out / f"{party}.csv", columns, [rows[number] for number in known])
        said.append(f"{party}: {len(known)} patients")
    return ", ".join(said)


def save(path: Path, columns: Mapping[str, Column], rows: list[Row]) -> None:
    """Write a file that is there either as a whole or not at all."""
    part = path.with_name(f"{path.stem}.{os.getpid()}.part")
    with part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", *columns])
        writer.writerows([row["id"], *(value(row) for value in columns.values())] for row in rows)
    part.replace(path)


if __name__ == "__main__":
    print(prepare(HERE / "data"))
