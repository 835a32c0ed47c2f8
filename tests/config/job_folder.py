"""A small job's folder, to be broken in as many ways as there are tests."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = {
    "name": "two tiers",
    "roles": [
        {"name": "trainer", "isDataConsumer": True, "groupAssociation": [{"param": "us"}, {"param": "eu"}]},
        {"name": "aggregator", "groupAssociation": [{"param": "us"}, {"param": "eu"}]},
    ],
    "channels": [
        {
            "name": "param",
            "pair": ["trainer", "aggregator"],
            "groupBy": {"type": "tag", "value": ["us", "eu"]},
            "funcTags": {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]},
        }
    ],
}
JOB = {
    "name": "lungs",
    "designId": "two-tier",
    "backend": "mqtt",
    "maxRunTime": 1800,
    "dataSpecPath": "dataSpec.json",
    "modelSpecPath": "modelSpec.json",
    "schemaVersion": "1",
}
MODEL = {
    "baseModel": {"name": "", "version": 1},
    "hyperparameters": {"batchSize": 32, "rounds": 10, "temperature": 0.5},
    "dependencies": ["numpy >= 1.2.0"],
    "selector": {"sort": "random", "kwargs": {"k": 1}},
    "optimizer": {"sort": "fedadam", "kwargs": {"eta": 0.1}},
}
DATA = [{"role": "trainer", "datasetGroups": {"us": ["one", "dataset2", "one"], "eu": ["6355f7dc"]}}]
DATASETS = {
    "dataset1.json": {
        "name": "one",
        "url": "https://data.example.org/1.npz",
        "dataFormat": "npz",
        "realm": "us",
    },
    "dataset2.json": {"url": "sites/2.npz", "//": "beside this file"},
    "dataset10.json": {"id": "6355f7dc", "url": "file://./10.npz", "computeId": "eu-1"},
}


def write(top: Path, files: Mapping[str, Any], roles: tuple[str, ...] = ("trainer", "aggregator")) -> Path:
    """Write files (text as it is, anything else as JSON) and a folder with a program for each role."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (top / name).write_text(text, encoding="utf-8")
    for role in roles:
        (top / role).mkdir()
        (top / role / "main.py").write_text("", encoding="utf-8")
    return top


def job_folder(top: Path, **change: Any) -> Path:
    """The whole folder; `change` replaces a file's content by its stem, or leaves it out if None."""
    usual: dict[str, Any] = {"schema": SCHEMA, "job": JOB, "modelSpec": MODEL, "dataSpec": DATA}
    usual |= {name.removesuffix(".json"): content for name, content in DATASETS.items()}
    return write(top, {f"{name}.json": row for name, row in (usual | change).items() if row is not None})


def archive(path: Path, members: Mapping[str | zipfile.ZipInfo, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        for name, text in members.items():
            content.writestr(name, text)
    return path
