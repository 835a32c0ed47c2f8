"""Role code in zip archives: the same bytes for the same files, and nothing lands outside of where it is unpacked."""

from __future__ import annotations

import contextlib
import io
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from flame.errors import ConfigError

MAX_FILES = 10_000
MAX_BYTES = 256 << 20
_BLOCK = 1 << 20
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o100644 << 16
_BROKEN: tuple[type[Exception], ...] = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error),
    *(NotImplementedError, RuntimeError, EOFError, OSError, ValueError),
)
"""What `zipfile` raises of archives that are none; the last two for offsets and names that no file has."""
with contextlib.suppress(ImportError):  # not every Python has it
    from lzma import LZMAError

    _BROKEN += (LZMAError,)


def pack(files: Iterable[Path], top: Path) -> bytes:
    """An archive of files, with their names below a folder; neither when they were made nor by whom is in it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(top).as_posix(), _LONG_AGO)
            entry.external_attr = _PLAIN_FILE
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def unpack(archive: Path, into: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Unpack an archive whose top-level folders are roles.

    Every name is looked at before anything is written, and sizes are counted while unpacking: what the
    archive says of itself is not believed.

    Raises:
        ConfigError: it is no zip archive, has a file outside of a role's folder or a name that leads
            elsewhere, or is too large.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.filename.endswith("/")]
            if len(members) > MAX_FILES:
                raise ConfigError(str(archive), f"has {len(members)} files", f"at most {MAX_FILES} are unpacked")
            paths = [_checked(archive, member) for member in members]
            left = max_bytes
            for member, path in zip(members, paths, strict=True):
                left -= _extract(content, member, into / path, left)
                if left < 0:
                    raise ConfigError(str(archive), f"unpacks to more than {max_bytes} bytes", "remove data from it")
    except ConfigError:
        raise
    except _BROKEN as error:
        raise ConfigError(str(archive), f"cannot be unpacked: {error}") from error


def _checked(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    name = member.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise ConfigError(f"{archive}: {name}", "leads out of the archive", "store names relative to its top")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ConfigError(f"{archive}: {name}", "is a link", "store the file itself")
    if len(path.parts) < 2:
        raise ConfigError(f"{archive}: {name}", "failed to find a top level directory", "put it in a role's folder")
    return path


def _extract(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, limit: int) -> int:
    """Write one file and return its size; stop, still in the file, above the limit."""
    size = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with content.open(member) as source, target.open("wb") as file:
        while size <= limit and (block := source.read(_BLOCK)):
            size += len(block)
            file.write(block)
    return size
