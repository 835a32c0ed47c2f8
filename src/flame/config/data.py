"""Which datasets each role and group has: dataSpec.json and the dataset files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from flame.config.read import convert, load_json, located
from flame.errors import ConfigError
from flame.tag import Role, Tag

#: For each data consumer and group: the datasets, each a URL and the compute that it belongs on.
Data = Mapping[str, Mapping[str, Sequence[tuple[str, str]]]]


class DatasetInfo(Struct, frozen=True, kw_only=True, rename="camel"):
    """A dataset's description: dataset*.json. Its `url` is what a worker is handed."""

    url: str
    id: str = ""
    name: str = ""
    description: str = ""
    data_format: str = ""
    realm: str = ""
    compute_id: str = ""
    is_public: bool = False
    user_id: str = ""


class RoleGroups(Struct, rename="camel"):
    """One entry of dataSpec.json: the datasets of a role's groups."""

    role: str
    dataset_groups: dict[str, list[str]]


class Found(NamedTuple):
    """A dataset, the file that it is in, and the names under which dataSpec.json may list it."""

    info: DatasetInfo
    file: Path
    names: frozenset[str]

    @property
    def use(self) -> tuple[str, str]:
        """The URL for a worker, relative paths resolved against the file's folder, and the compute."""
        return resolved(self.info.url, self.file.parent), self.info.compute_id or "default"


def find_datasets(directory: Path) -> list[Found]:
    """The datasets of `dataset*.json`, in the order of their names, `dataset10` after `dataset2`.

    A file holds one dataset or a list of them.

    Raises:
        ConfigError: a file that is not one.
    """
    found = []
    for file in sorted(directory.glob("dataset*.json"), key=_natural):
        content = load_json(file)
        if not isinstance(content, list):
            info = convert(content, DatasetInfo, str(file))
            found.append(Found(info, file, frozenset({info.id, info.name, file.stem} - {""})))
            continue
        for index, info in enumerate(convert(content, list[DatasetInfo], str(file))):
            names = {info.id, info.name, f"{file.stem}/{index}"}
            found.append(Found(info, file, frozenset(names - {""})))
    return found


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def resolved(url: str, directory: Path) -> str:
    """A relative path, plain or after `file://`, as an absolute `file://`; anything else as it is."""
    if url.startswith("file://"):
        path = url.removeprefix("file://")
    elif urlsplit(url).scheme:
        return url
    else:
        path = url
    return f"file://{(directory / path).absolute()}" if path else url


def assign(spec: Path | None, tag: Tag, found: Sequence[Found]) -> tuple[Data, list[str]]:
    """The datasets of each role and group, and notes on what had to be guessed.

    An id in dataSpec.json is a dataset's `id`, its `name`, or its file's name without `.json`; it may be
    listed more than once, for several workers. When none of the ids is known (a control plane gives datasets
    new ids), datasets are dealt out in order, and again from the first. So they are without a dataSpec.json.

    Raises:
        ConfigError: an unknown role, or an id that is unknown while others are known.
    """
    if spec is None:
        return _dealt(tag, found)
    entries = convert(load_json(spec), list[RoleGroups], str(spec))
    known = {name: one for one in reversed(found) for name in one.names}
    roles = [role.name for role in tag.roles]
    listed = [name for entry in entries for names in entry.dataset_groups.values() for name in names]
    guessed = bool(listed and found) and known.keys().isdisjoint(listed)
    deck = cycle(found)
    data: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for i, entry in enumerate(entries):
        if entry.role not in roles:
            where = located(str(spec), f"[{i}].role")
            raise ConfigError(where, f"no role named {entry.role!r}", f"there are: {', '.join(roles)}")
        groups = data.setdefault(entry.role, {})
        for group, names in entry.dataset_groups.items():
            where = located(str(spec), f"[{i}].datasetGroups.{group}")
            chosen = islice(deck, len(names)) if guessed else _by_name(names, known, where)
            groups[group] = [one.use for one in chosen]
    note = f"{spec.name} names no dataset of this folder; its {len(listed)} are dealt out in order"
    return data, [note] if guessed else []


def _by_name(names: Sequence[str], known: Mapping[str, Found], where: str) -> Iterator[Found]:
    for i, name in enumerate(names):
        if name not in known:
            fix = f"there are: {', '.join(sorted(known)) or 'no dataset*.json files'}"
            raise ConfigError(f"{where}[{i}]", f"no dataset {name!r}", fix)
        yield known[name]


def _dealt(tag: Tag, found: Sequence[Found]) -> tuple[Data, list[str]]:
    """Datasets dealt out to the groups of every data consumer; without any, one bare worker per group."""
    data = {}
    for role in tag.data_consumers():
        groups = _groups(role)
        uses = [one.use for one in found] or [("", "default")] * len(groups)
        data[role.name] = {group: uses[i :: len(groups)] for i, group in enumerate(groups)}
    count = f"{len(found)} datasets are" if found else "one worker without a dataset is"
    return data, [f"no dataSpec.json: {count} dealt out to each group in turn"]


def _groups(role: Role) -> list[str]:
    """A name for each association of a role: a group that no other has, otherwise its first."""
    names = []
    for association in role.group_association:
        others = {group for one in role.group_association if one is not association for group in one.values()}
        own = [group for group in association.values() if group not in others]
        names.extend((own or list(association.values()))[:1])
    return list(dict.fromkeys(names))
