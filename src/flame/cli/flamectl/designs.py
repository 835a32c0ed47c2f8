"""Designs, and the two things that each holds: a schema, which is its TAG, and code."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from msgspec import Struct

from flame.cli.flamectl import sources
from flame.cli.flamectl.apiserver import Apiserver, Failed
from flame.cli.flamectl.command import LIMIT, Command, Option
from flame.cli.flamectl.shown import pretty, table
from flame.errors import ConfigError

_USED = "design used in job"
"""How the server says that a design is in use."""
_DESC = Option(("-d", "--desc"), {"metavar": "TEXT", "help": "what it is, for people"})
_NAME = Option(("-n", "--name"), {"metavar": "NAME", "help": "its name, for people"})
_FORCE = Option(("-f", "--force"), {"action": "store_true", "help": "even if jobs use it"})


class _Design(Struct):
    """A design as a list has it."""

    id: str
    name: str = ""
    description: str = ""


def _create(api: Apiserver, options: Namespace, design: str) -> str:
    api.ask("POST", "designs", json={"id": design, "userId": api.user, "description": options.desc or ""})
    return f"New design '{design}' created successfully"


def _get(api: Apiserver, _: Namespace, design: str) -> str:
    return pretty(api.ask("GET", "designs", design).value(dict[str, Any]))


def _list(api: Apiserver, options: Namespace) -> str:
    found = api.listed(_Design, options.limit, "designs")
    return table(("Deisgn ID", "Name", "Description"), [(one.id, one.name, one.description) for one in found])


def _update(api: Apiserver, options: Namespace, design: str) -> str:
    if options.name is None and options.desc is None:
        raise ConfigError("update design", "changes nothing", "give --name, --desc or both")
    now = api.ask("GET", "designs", design).value(_Design)
    name = now.name if options.name is None else options.name
    desc = now.description if options.desc is None else options.desc
    body = {"id": design, "userId": api.user, "name": name, "description": desc}
    api.ask("PUT", "designs", design, json=body)
    return "Updated design successfully"


def _remove(api: Apiserver, options: Namespace, design: str) -> str:
    try:
        api.ask("DELETE", "designs", design, params={"forceDelete": str(options.force).lower()})
    except Failed as failure:
        hint = "; use --force to delete it all the same" if _USED in str(failure) and not options.force else ""
        raise Failed(failure.code, f"{failure}{hint}") from None
    return f"Design '{design}' deleted successfully"


def _create_schema(api: Apiserver, _: Namespace, design: str, file: str) -> str:
    api.ask("POST", "designs", design, "schema", json=sources.schema(Path(file)))
    return f"Schema created successfully for design '{design}'"


def _get_schema(api: Apiserver, _: Namespace, design: str) -> str:
    return pretty(api.ask("GET", "designs", design, "schema").value(dict[str, Any]))


def _update_schema(api: Apiserver, _: Namespace, design: str, file: str) -> str:
    api.ask("PUT", "designs", design, "schema", json=sources.schema(Path(file)))
    return f"Updated schema successfully for design {design}"


def _remove_schema(api: Apiserver, _: Namespace, design: str) -> str:
    api.ask("DELETE", "designs", design, "schema")
    return "Deleted schema successfully"


def _create_code(api: Apiserver, _: Namespace, design: str, file: str) -> str:
    name, content = sources.code(Path(file))
    upload = {"fileData": (name, content, "application/zip")}
    api.ask("POST", "designs", design, "code", data={"fileName": name}, files=upload)
    return f"Code created successfully for design '{design}'"


def _get_code(api: Apiserver, _: Namespace, design: str) -> str:
    content = api.ask("GET", "designs", design, "code").content
    file = Path(f"{design}.zip")
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ConfigError(str(file), f"cannot be written: {error.strerror}") from None
    return f"Downloaded {file} successfully"


def _get_revision(api: Apiserver, _: Namespace, design: str) -> str:
    return pretty(api.ask("GET", "designs", design, "code", "revision").value(dict[str, Any]))


def _remove_code(api: Apiserver, _: Namespace, design: str) -> str:
    api.ask("DELETE", "designs", design, "code")
    return f"Deleted code for design '{design}' successfully"


COMMANDS = (
    Command("create", "design", ("DESIGN",), "create a new design", _create, (_DESC,)),
    Command("create", "schema", ("DESIGN", "FILE"), "create schema", _create_schema),
    Command("create", "code", ("DESIGN", "ZIP_OR_FOLDER"), "create code", _create_code),
    Command("get", "design", ("DESIGN",), "get design", _get),
    Command("get", "designs", (), "get designs", _list, (LIMIT,)),
    Command("get", "schema", ("DESIGN",), "get schema", _get_schema),
    Command("get", "code", ("DESIGN",), "get code", _get_code),
    Command("get", "coderevision", ("DESIGN",), "get code revision", _get_revision),
    Command("update", "design", ("DESIGN",), "update design", _update, (_NAME, _DESC)),
    Command("update", "schema", ("DESIGN", "FILE"), "update schema", _update_schema),
    Command("remove", "design", ("DESIGN",), "delete design", _remove, (_FORCE,)),
    Command("remove", "schema", ("DESIGN",), "delete schema", _remove_schema),
    Command("remove", "code", ("DESIGN",), "delete code", _remove_code),
)
