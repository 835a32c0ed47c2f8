"""The files that a user gives, as the API server takes them: without comments, and with what they point to."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from flame.config.data import resolved
from flame.config.override import MODEL_KEYS
from flame.config.read import load_json, located, without_comments
from flame.config.unpack import pack
from flame.control.records import Body, Dataset, Job
from flame.errors import ConfigError
from flame.tag import read, read_data
from flame.tag.load import load

_BY_SERVER = ("id", "userId", "computeId", "schemaRevision", "codeRevision")
"""Keys that a file may have and the server fills in."""
_OBSOLETE = ("schemaVersion", "codeVersion")
"""Keys of old job files, which nothing reads any more."""
_PARTS = {"dataSpec": "dataSpecPath", "modelSpec": "modelSpecPath"}
"""What a job's description holds, and the key of job.json that names its file."""

_MAIN = "main.py"


def schema(file: Path) -> dict[str, Any]:
    """A TAG's values, from JSON or YAML, for the server to check; those of a template are made here."""
    content = load(file)
    if not isinstance(content, Mapping):
        raise ConfigError(str(file), "is not an object", "write one with name, roles and channels")
    return read(file).to_dict() if "template" in content else without_comments(content)


def dataset(file: Path) -> dict[str, Any]:
    """A dataset's description; the path of a `file://` is relative to the file, as for `flame run`."""
    rows = _known(_object(file), file, _keys(Dataset))
    url = rows.get("url")
    return rows | {"url": resolved(url, file.parent)} if isinstance(url, str) and url.startswith("file://") else rows


def job(file: Path) -> dict[str, Any]:
    """A job's description, with the contents of the files that it names; their paths are relative to its own."""
    rows = _object(file)
    body = _known({key: item for key, item in rows.items() if key not in _PARTS.values()}, file, _keys(Job))
    for part, key in _PARTS.items():
        path = _beside(file, rows, key, f"{part}.json")
        if path is None:
            continue
        body[part] = _model(path) if part == "modelSpec" else _data(path)
    return body


def code(source: Path) -> tuple[str, bytes]:
    """An archive's name and bytes. Of a folder, the archive of its roles' folders: the same bytes for the same files.

    A role's folder is one with a `main.py`; hidden files and compiled ones stay behind.
    """
    try:
        if source.is_dir():
            return f"{source.resolve().name}.zip", _packed(source)
        return source.name, source.read_bytes()
    except OSError as error:
        where = str(error.filename or source)
        raise ConfigError(where, f"cannot be read: {error.strerror}", "give a zip archive or a folder") from None


def _packed(folder: Path) -> bytes:
    roles = [one for one in sorted(folder.iterdir()) if (one / _MAIN).is_file()]
    if not roles:
        raise ConfigError(str(folder), f"has no folder with a {_MAIN}", "give the folder that has a folder per role")
    return pack((file for role in roles for file in _files(role)), folder)


def _files(role: Path) -> Iterator[Path]:
    for file in sorted(role.rglob("*")):
        parts = file.relative_to(role).parts
        if file.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield file


def _object(file: Path) -> dict[str, Any]:
    content = without_comments(load_json(file))
    if not isinstance(content, dict):
        raise ConfigError(str(file), "is not a JSON object", 'write {"key": value, …}')
    return {key: item for key, item in content.items() if item is not None}


def _keys(of: type[Body]) -> set[str]:
    """The keys of a record that a file may have: what the server fills in, and what has a file of its own, is none."""
    return {*of.__struct_encode_fields__} - {*_BY_SERVER, *_PARTS}


def _known(rows: Mapping[str, Any], file: Path, keys: Collection[str]) -> dict[str, Any]:
    """Without what the server fills in, and what it would refuse; upstream's client leaves that out, too."""
    for key in rows:
        if key not in (*keys, *_BY_SERVER, *_OBSOLETE):
            print(f"note: {located(str(file), key)}: is no setting and was left out", file=sys.stderr)
    return {key: item for key, item in rows.items() if key in keys}


def _model(file: Path) -> dict[str, Any]:
    rows = {"hyperparameters" if key == "hyperParameters" else key: item for key, item in _object(file).items()}
    return _known(rows, file, MODEL_KEYS)


def _data(file: Path) -> list[dict[str, Any]]:
    return [{"role": role, "datasetGroups": dict(groups)} for role, groups in read_data(file).items()]


def _beside(file: Path, rows: Mapping[str, Any], key: str, usual: str) -> Path | None:
    """The file that job.json names, or the usual one beside it; None if it names none and there is none."""
    name = rows.get(key, usual)
    if not isinstance(name, str):
        raise ConfigError(located(str(file), key), f"is {name!r}, not a file's name")
    path = file.parent / name
    if path.is_file():
        return path
    if key in rows:
        raise ConfigError(located(str(file), key), f"there is no file {name!r}", "the name is relative to this file's")
    return None
