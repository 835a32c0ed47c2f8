"""dataSpec.json: which datasets each group of each data consumer has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flame.errors import TagError
from flame.tag.finding import Finding, at, hint, join
from flame.tag.invariants import Data
from flame.tag.keys import COMMENT
from flame.tag.load import load

_KEYS = ("role", "datasetGroups")
_EXAMPLE = 'write [{"role": "trainer", "datasetGroups": {"default": ["dataset-1"]}}]'


def read_data(source: str | Path | list[object]) -> Data:
    """The datasets of a dataSpec file, or of the values that one holds, as `expand` and `check` take them.

    The file is a list with one object per role: `{"role": …, "datasetGroups": {group: [dataset, …]}}`. A
    dataset may be listed several times, for as many workers.

    Raises:
        TagError: it cannot be read or has another form; the two forms of old (`{"fromSystem": …}`, and an
            object by
            role) are refused by name.
    """
    name = "" if isinstance(source, list) else str(source)
    content = source if isinstance(source, list) else load(source)
    findings: list[Finding] = []
    if isinstance(content, Mapping):
        old = "fromSystem" if "fromSystem" in content else "role by role"
        findings.append(Finding("", f"has an old form, {{{old}: …}}, that is no longer read", _EXAMPLE, "data-shape"))
        content = []
    if not isinstance(content, list):
        findings.append(Finding("", "is not a list", _EXAMPLE, "data-shape"))
        content = []
    data: dict[str, dict[str, list[str]]] = {}
    for i, row in enumerate(content):
        findings += _row(at(i), row, data)
    if findings:
        raise TagError(findings, name)
    return data


def _row(path: str, row: object, data: dict[str, dict[str, list[str]]]) -> list[Finding]:
    if not isinstance(row, Mapping):
        return [Finding(path, "is not an object", _EXAMPLE, "data-shape")]
    found = [
        Finding(join(path, str(key)), "is not a key of a dataSpec", hint(str(key), _KEYS), "unknown-key")
        for key in row
        if key not in (*_KEYS, COMMENT)
    ]
    role, groups = row.get("role"), row.get("datasetGroups")
    if not isinstance(role, str) or not role:
        found.append(Finding(join(path, "role"), "is not the name of a role", _EXAMPLE, "data-shape"))
    elif role in data:
        found.append(Finding(join(path, "role"), f"{role!r} has an entry already", "join the two", "data-shape"))
    if not isinstance(groups, Mapping):
        found.append(Finding(join(path, "datasetGroups"), "is not an object by group", _EXAMPLE, "data-shape"))
        groups = {}
    listed: dict[str, list[str]] = {}
    for group, some in groups.items():
        spot = join(path, "datasetGroups", str(group))
        if group == COMMENT:
            continue
        if not isinstance(some, list):
            found.append(Finding(spot, "is not a list of datasets", "put it in brackets", "data-shape"))
            continue
        wrong = [j for j, one in enumerate(some) if not isinstance(one, str) or not one]
        found += [Finding(f"{spot}[{j}]", "is not the name of a dataset", "write text", "data-shape") for j in wrong]
        listed[str(group)] = [one for one in some if isinstance(one, str)]
    if isinstance(role, str):
        data.setdefault(role, listed)
    return found
