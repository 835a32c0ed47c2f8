"""Role code: an archive with a folder per role is looked at once, and cut into one archive per role."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from flame.config.job import program_folders
from flame.config.unpack import pack, unpack
from flame.errors import ConfigError, NotFound


def split(archive: bytes) -> dict[str, bytes]:
    """An archive for each top-level folder with a program, the folder's name included; equal files make equal bytes.

    Raises:
        ConfigError: it is no archive, a name in it leads elsewhere or to no folder, or it is too large.
    """
    with tempfile.TemporaryDirectory(prefix="flame-code-") as scratch:
        file, into = Path(scratch, "code.zip"), Path(scratch, "code")
        file.write_bytes(archive)
        into.mkdir()
        try:
            unpack(file, into)
        except ConfigError as error:
            raise ConfigError(error.path.replace(f"{scratch}/", ""), error.reason, error.fix) from None
        folders = [folder for folder in sorted(into.iterdir()) if (folder / "main.py").is_file()]
        return {one.name: pack(sorted(file for file in one.rglob("*") if file.is_file()), into) for one in folders}


def programs(parts: Mapping[str, bytes], roles: Collection[str]) -> dict[str, bytes]:
    """For each role an archive with its program's folder, from those of all folders.

    Raises:
        NotFound: a role has none.
    """
    found = {role: [parts[name] for name in program_folders(role) if name in parts] for role in roles}
    for role, own in found.items():
        if not own:
            raise NotFound(f"no code found for role {role}")
    return {role: own[0] for role, own in found.items()}
