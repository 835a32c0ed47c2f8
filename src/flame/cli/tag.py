"""`flame tag`: check, expand, draw and compare TAGs, and write one from a template."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from flame import extend
from flame.errors import ConfigError, TagError
from flame.lab.theme import plural
from flame.tag import (
    Finding,
    Tag,
    WorkerSpec,
    check,
    diff,
    draw,
    dumps,
    expand,
    json_schema,
    read,
    read_data,
    template,
    templates,
)
from flame.tag.invariants import BACKENDS, Data
from flame.tag.templates import options_of

SubParsers = Any  # argparse gives its action no public generic name
Arguments = argparse.Namespace


def register(subparsers: SubParsers) -> None:
    """Adds `flame tag …` to the command line."""
    tag = subparsers.add_parser("tag", help="check, expand, draw and compare TAGs", description=__doc__)
    commands = tag.add_subparsers(required=True, metavar="COMMAND")

    one = _command(commands, "check", _check, "list every broken invariant")
    _add_files(one)
    _add_data(one, "check against these datasets too")
    one.add_argument(
        "--code", type=Path, metavar="DIR", help="check that each role has a folder with a main.py in here"
    )

    one = _command(commands, "expand", _expand, "list every worker")
    _add_files(one)
    _add_data(one, "the datasets", required=True)
    one.add_argument("--job-id", default="job", metavar="ID", help="enters every task id (default: job)")

    one = _command(commands, "draw", _draw, "draw the roles and channels, or with --data the workers")
    _add_files(one)
    _add_data(one, "draw the workers that these datasets give")
    one.add_argument("--form", choices=("text", "mermaid", "svg"), default="text", help="default: text")

    one = _command(commands, "diff", _diff, "what changed from one TAG to another")
    one.add_argument("files", nargs=2, metavar="FILE", help="before, after")

    one = _command(commands, "template", _template, "write a TAG from a template; without a name, list them")
    one.add_argument("name", nargs="?", metavar="NAME", help="the template")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option; lists by commas")

    _command(commands, "schema", _schema, "write the JSON Schema of TAG files, for editors")


def _command(commands: SubParsers, name: str, run: Callable[[Arguments], int], what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="a TAG: schema.json, or the same in YAML")


def _add_data(parser: argparse.ArgumentParser, what: str, *, required: bool = False) -> None:
    parser.add_argument("--data", metavar="dataSpec.json", required=required, help=what)


def _check(arguments: Arguments) -> int:
    data = read_data(arguments.data) if arguments.data else None
    code = _folders(arguments.code) if arguments.code else None
    rows: list[dict[str, Any]] = []
    for file in arguments.files:
        findings: list[Finding] = []
        try:
            tag = read(file, code=code, backends=_backends(), data=data)
            told = f"{file}: sound: {plural(len(tag.roles), 'role')}, {plural(len(tag.channels), 'channel')}"
        except TagError as error:
            findings = _found(error)
            told = ""
            print(error, file=sys.stderr)
        rows.append({"file": file, "sound": not findings, "findings": [dataclasses.asdict(one) for one in findings]})
        if told and not arguments.json:
            print(told)
    if arguments.json:
        _print_json({"files": rows})
    return 0 if all(row["sound"] for row in rows) else 2


def _expand(arguments: Arguments) -> int:
    data = read_data(arguments.data)
    rows = [_expanded(file, data, arguments.job_id) for file in arguments.files]
    for file, (_, workers) in zip(arguments.files, rows, strict=True):
        if arguments.json:
            continue
        if len(rows) > 1:
            print(f"# {file}")
        for worker in workers:
            groups = " ".join(f"{channel}={group}" for channel, group in worker.group_association.items())
            print("\t".join((worker.task_id, worker.role, groups, worker.dataset)).rstrip())
    if arguments.json:
        told = [
            {"file": f, "workers": [_worker(w) for w in row[1]]} for f, row in zip(arguments.files, rows, strict=True)
        ]
        _print_json({"files": told})
    return 0


def _draw(arguments: Arguments) -> int:
    data = read_data(arguments.data) if arguments.data else None
    drawings: list[dict[str, str]] = []
    for file in arguments.files:
        tag, workers = _expanded(file, data, "job") if data is not None else (_read(file), None)
        drawings.append({"file": file, "form": arguments.form, "drawing": draw(tag, arguments.form, workers)})
    if arguments.json:
        _print_json({"files": drawings})
    else:
        print("\n".join(row["drawing"] for row in drawings), end="")
    return 0


def _diff(arguments: Arguments) -> int:
    before, after = map(_read, arguments.files)
    found = diff(before, after)
    if arguments.json:
        _print_json(found.to_dict())
    else:
        print(found)
    return 0


def _template(arguments: Arguments) -> int:
    if arguments.name is None:
        known = templates()
        if arguments.json:
            _print_json({name: {"description": told, "options": options_of(name)} for name, told in known.items()})
        else:
            wide, columns = 2 + max(map(len, known)), max(60, shutil.get_terminal_size((120, 24)).columns)
            page = textwrap.TextWrapper(columns, subsequent_indent=" " * wide, break_on_hyphens=False)
            for name, told in known.items():
                options = ", ".join(f"{key}={_shown(value)}" for key, value in options_of(name).items())
                page.initial_indent = f"{name:<{wide}}"
                print(page.fill(told))
                page.initial_indent = page.subsequent_indent
                print(page.fill(f"options: {options}"))
        return 0
    tag = template(arguments.name, **_options(arguments.name, arguments.set))
    if arguments.json:
        _print_json(tag.to_dict())
    else:
        print(dumps(tag), end="")
    return 0


def _schema(_: Arguments) -> int:
    _print_json(json_schema())
    return 0


def _read(file: str) -> Tag:
    return read(file, backends=_backends())


def _expanded(file: str, data: Data, job_id: str) -> tuple[Tag, list[WorkerSpec]]:
    tag = _read(file)
    if found := check(tag, data=data, backends=_backends()):
        raise TagError(found, file)
    return tag, expand(tag, data, job_id=job_id)


def _found(error: TagError) -> list[Finding]:
    return [finding for finding in error.findings if isinstance(finding, Finding)]


def _folders(code: Path) -> Collection[str]:
    if not code.is_dir():
        raise ConfigError("--code", f"{code} is not a folder")
    return {folder.name for folder in code.iterdir() if (folder / "main.py").is_file()}


def _backends() -> Collection[str]:
    return {*BACKENDS, *extend.names("backend")}


def _options(name: str, settings: list[str]) -> dict[str, Any]:
    """The options of a template from `key=value`, each of the type of its default."""
    defaults = options_of(name) if name in templates() else {}
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError("--set", f"{setting!r} has no value", "write KEY=VALUE")
        default = defaults.get(key)
        if isinstance(default, tuple):
            found[key] = tuple(part.strip() for part in text.split(","))
        elif isinstance(default, int):
            if not text.lstrip("-").isdecimal():
                raise ConfigError(f"--set {key}", f"{text!r} is not a whole number")
            found[key] = int(text)
        else:
            found[key] = text
    return found


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _worker(worker: WorkerSpec) -> dict[str, Any]:
    return {
        "taskid": worker.task_id,
        "role": worker.role,
        "groupAssociation": worker.group_association,
        "dataset": worker.dataset,
        "computeId": worker.compute,
    }


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))
