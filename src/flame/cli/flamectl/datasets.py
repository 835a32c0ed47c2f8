"""Datasets: where data lies, and who may know."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from flame.cli.flamectl import sources
from flame.cli.flamectl.apiserver import Apiserver, Failed
from flame.cli.flamectl.command import LIMIT, Command, Option
from flame.cli.flamectl.shown import pretty, table
from flame.control.records import Dataset

_ALL = Option(("-a", "--all"), {"action": "store_true", "help": "the public ones of everybody"})
NOT_FOUND = 404
_HEADER = ("Dataset ID", "Name", "Description", "Owner", "Public")


def _create(api: Apiserver, _: Namespace, file: str) -> str:
    made = api.ask("POST", "datasets", json=sources.dataset(Path(file))).value(str)
    # Upstream's server has the id in quotes within the JSON text, and its client shows them.
    return f'New dataset created successfully\n\tdataset ID: "{made.strip(chr(34))}"'


def _get(api: Apiserver, _: Namespace, dataset: str) -> str:
    # Upstream's server has no route for a single one.
    for everybody in (False, True):
        for one in api.ask("GET", "datasets", everybody=everybody).rows(dict[str, Any]):
            if one.get("id") == dataset:
                return pretty(one)
    raise Failed(NOT_FOUND, f"dataset id {dataset} not found")


def _list(api: Apiserver, options: Namespace) -> str:
    found = api.listed(Dataset, options.limit, "datasets", everybody=options.all)
    rows = [(one.id, one.name, one.description, one.user_id, str(one.is_public).lower()) for one in found]
    return table(_HEADER, rows)


def _update(api: Apiserver, _: Namespace, dataset: str, file: str) -> str:
    body = sources.dataset(Path(file)) | {"id": dataset, "userId": api.user}
    api.ask("PUT", "datasets", dataset, json=body)
    return "Updated dataset successfully"


def _remove(api: Apiserver, _: Namespace, dataset: str) -> str:
    api.ask("DELETE", "datasets", dataset)
    return f"Dataset '{dataset}' deleted successfully"


COMMANDS = (
    Command("create", "dataset", ("FILE",), "create a new dataset", _create),
    Command("get", "dataset", ("DATASET",), "get dataset", _get),
    Command("get", "datasets", (), "get datasets", _list, (LIMIT, _ALL)),
    Command("update", "dataset", ("DATASET", "FILE"), "update dataset", _update),
    Command("remove", "dataset", ("DATASET",), "delete dataset", _remove),
)
