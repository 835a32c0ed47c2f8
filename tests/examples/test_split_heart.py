"""Four parties that know different things about the same patients."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import flame
from flame.lab.result import Result
from flame.tag import read, template

PARTIES = ("practice", "laboratory", "cardiology")


@pytest.fixture(scope="module")
def folder(load) -> Path:
    folder = Path(load("vertical/prepare.py").__file__).parent
    load("vertical/prepare.py").prepare(folder / "data")
    return folder


def run(folder: Path, out: Path, *parties: str) -> Result:
    spec = out / "data.json"
    out.mkdir()
    groups = {"label-holder": ["outcomes"], "feature-holder": list(parties)}
    spec.write_text(json.dumps([{"role": role, "datasetGroups": {"default": some}} for role, some in groups.items()]))
    return flame.run(folder, data_spec=spec, hosts=0, out=out / "run")


def test_together_they_know_more_than_each_with_the_registry(folder: Path, tmp_path: Path) -> None:
    together = run(folder, tmp_path / "all", *PARTIES).final("test-accuracy")
    alone = [run(folder, tmp_path / party, party).final("test-accuracy") for party in PARTIES]
    assert together > 0.78 and together > max(alone) + 0.01
    assert sorted((tmp_path / "all/run/models").iterdir())[-1].name == "feature-holder-2.safetensors"


def test_no_party_has_the_columns_or_all_the_patients_of_another(folder: Path) -> None:
    tables = {}
    for party in (*PARTIES, "outcomes"):
        with (folder / "data" / f"{party}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        tables[party] = (set(header[1:]), {row[0] for row in rows})
    columns = [some for some, _ in tables.values()]
    assert sum(map(len, columns)) == len(set().union(*columns)) == 15
    patients = [some for _, some in tables.values()]
    assert all(len(some) == 874 for some in patients) and len(set.intersection(*patients)) < 800


def test_the_tag_is_the_template(folder: Path) -> None:
    assert read(folder / "schema.json") == template("vertical")
