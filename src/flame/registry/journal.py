"""Checkpoints: all that a run needs to go on after a round, in files that are there whole or not at all.

```
checkpoints/
├── record                 what has been measured so far; it only grows, and each checkpoint says how much of it counts
├── 5/                     after round 5
│   ├── manifest.json      round, seed, job, and the size and digest of every other file; written last
│   ├── model.safetensors  the model of the worker that leads; others' are in models/
│   └── host-0.state       the state of each worker that was in this host
└── 10/
```

A checkpoint is written as `10.part`, every file of it is brought to the disk, and then it gets its name: a process that
is killed in between leaves the one before as it was. Of those that are whole the newest two are kept.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

from flame.errors import ConfigError, DecodeError
from flame.weights import safetensors
from flame.weights.layout import Weights
from flame.wire import codec

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
KEPT = 2
VERSION = 1

_COUNT = Struct("<I")
_SIZE = Struct("<Q")
_CHUNK = 1 << 20


class File(NamedTuple):
    """A file of a checkpoint: its path in the checkpoint's folder, bytes, and BLAKE2b digest in hex."""

    path: str
    nbytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One that is whole.

    Attributes:
        folder: where it lies.
        round: the round after which it was made.
        manifest: what else it says of itself.
        states: each worker's state by the worker's name, encoded: see `state_of`.
    """

    folder: Path
    round: int
    manifest: Mapping[str, Any]
    states: Mapping[str, codec.Payload] = field(repr=False)

    def state_of(self, worker: str) -> dict[str, Any] | None:
        """A worker's state; None if it had none.

        Raises:
            DecodeError: it is no state.
        """
        payload = self.states.get(worker)
        if payload is None:
            return None
        state: dict[str, Any] = codec.decode(payload.header, payload.buffers)
        engine = state["engine"]
        if isinstance(engine.get("model"), str):
            engine["model"] = safetensors.read(self.folder / engine["model"])
        return state

    def record(self) -> bytes:
        """What had been measured until then."""
        with (self.folder.parent / "record").open("rb") as file:
            return file.read(self.manifest["record"]["nbytes"])


def write_states(
    folder: Path, host: int, states: Iterable[tuple[str, Mapping[str, Any] | codec.Payload]], model: Mapping[str, str]
) -> list[File]:
    """Write the states of a host's workers, and bring them to the disk.

    Args:
        folder: the checkpoint's, not yet under its name.
        host: the host's number.
        states: each worker's name and state; one that is encoded already goes in as it is.
        model: the file of a worker's model, where it is not the usual one.
    """
    files = []
    path = folder / f"host-{host}.state"
    digest = blake2b(digest_size=16)
    with path.open("wb") as out:
        for name, state in states:
            if not isinstance(state, codec.Payload):
                engine = dict(state["engine"])
                if isinstance(engine.get("model"), Weights):
                    where = model.get(name, f"models/{name.replace('/', '-')}.safetensors")
                    files.append(_write_model(folder, where, engine["model"]))
                    engine["model"] = where
                state = codec.encode({**state, "engine": engine})
            for piece in _pieces(name, state):
                digest.update(piece)
                out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return [*files, File(path.name, path.stat().st_size, digest.hexdigest())]


def commit(
    top: Path, number: int, files: Iterable[File], manifest: Mapping[str, Any], *, spared: int | None = None
) -> None:
    """Make a checkpoint out of what is in its folder, and take away those that are too many, but for `spared`."""
    part, whole = part_of(top, number), top / str(number)
    content = {"version": VERSION, "round": number, **manifest, "files": sorted(files)}
    text = json.dumps(content)
    sealed = json.dumps({"digest": _digest(text.encode()), "content": text})
    _write(part / "manifest.json", sealed.encode())
    for folder in (part / "models", part):
        if folder.is_dir():
            _sync(folder)
    shutil.rmtree(whole, ignore_errors=True)
    part.rename(whole)
    _sync(top)
    for old in sorted(_numbers(top), reverse=True)[KEPT:]:
        if old != spared:
            shutil.rmtree(top / str(old), ignore_errors=True)


def clear(run: Path, *, after: int = 0) -> None:
    """Take away every checkpoint of a later round; all of them, and the record, if none is before it."""
    top = run / FOLDER
    if not after:
        shutil.rmtree(top, ignore_errors=True)
    for number in _numbers(top):
        if number > after:
            shutil.rmtree(top / str(number), ignore_errors=True)


def part_of(top: Path, number: int) -> Path:
    """The folder in which a checkpoint is made."""
    return top / f"{number}.part"


def begin(top: Path, number: int) -> Path:
    """An empty folder to make a checkpoint in; what an earlier attempt has left is taken away."""
    for left in top.glob("*.part"):
        shutil.rmtree(left, ignore_errors=True)
    part = part_of(top, number)
    part.mkdir(parents=True)
    return part


def newest(run: Path, *, before: int | None = None) -> Checkpoint:
    """The newest checkpoint of a run that is whole, of those before a round; newer ones that are not are warned of.

    Raises:
        ConfigError: there is none.
    """
    top = run / FOLDER
    if not top.is_dir():
        raise ConfigError(str(run), "has no checkpoint", "run it with --checkpoint N to be able to resume it")
    for number in sorted(_numbers(top, before), reverse=True):
        try:
            return _read(top / str(number))
        except (OSError, ValueError, KeyError, TypeError) as fault:
            logger.warning("checkpoint %s is damaged and passed over: %s", top / str(number), fault)
    raise ConfigError(str(top), "holds no checkpoint that is whole", "start the run again")


def has_any(run: Path, *, before: int | None = None) -> bool:
    """Whether there is a checkpoint, whole or not; of those before a round."""
    return bool(_numbers(run / FOLDER, before))


class RecordFile:
    """What was measured, appended before each checkpoint.

    Args:
        top: the folder of the run's checkpoints, which is made.
        before: what it holds to begin with.
    """

    def __init__(self, top: Path, before: bytes = b"") -> None:
        top.mkdir(parents=True, exist_ok=True)
        path = top / "record"
        if not (before and path.is_file() and path.stat().st_size >= len(before)):
            _write(path, before)
        self._file = path.open("r+b")
        self._file.truncate(len(before))
        self._file.seek(len(before))
        self._digest = blake2b(before, digest_size=16)
        self._nbytes = len(before)

    def append(self, data: bytes) -> dict[str, Any]:
        """Add bytes and bring them to the disk; returns what a manifest says of all of it."""
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._digest.update(data)
        self._nbytes += len(data)
        return {"nbytes": self._nbytes, "digest": self._digest.hexdigest()}

    def close(self) -> None:
        """Nothing is added any more."""
        self._file.close()


def _read(folder: Path) -> Checkpoint:
    """A checkpoint. Raises ValueError, OSError or KeyError if it is not whole."""
    sealed = json.loads((folder / "manifest.json").read_bytes())
    if _digest(sealed["content"].encode()) != sealed["digest"]:
        raise ValueError("its manifest has been changed")
    manifest = json.loads(sealed["content"])
    if manifest["version"] != VERSION:
        raise ValueError(f"it is of version {manifest['version']}; here it is {VERSION}")
    states: dict[str, codec.Payload] = {}
    for path, nbytes, digest in manifest["files"]:
        if _digest_of(folder / path, nbytes) != digest:
            raise ValueError(f"{path} is not what was written")
        if path.endswith(".state"):
            states.update(_parsed((folder / path).read_bytes()))
    record = manifest["record"]
    if _digest_of(folder.parent / "record", record["nbytes"], exactly=False) != record["digest"]:
        raise ValueError("the record of what was measured is not what was written")
    return Checkpoint(folder, manifest["round"], manifest, states)


def _pieces(name: str, payload: codec.Payload) -> Iterator[bytes]:
    """A worker's state as runs of bytes: how many parts there are, how long each is, and the parts."""
    buffers = []
    for buffer in payload.buffers:
        assert isinstance(buffer, bytes | bytearray | memoryview | np.ndarray)  # nothing kept lies elsewhere
        buffers.append(bytes(buffer))
    parts = [name.encode(), bytes(payload.header), *buffers]
    yield _COUNT.pack(len(parts)) + b"".join(_SIZE.pack(len(part)) for part in parts)
    yield from parts


def _parsed(data: bytes) -> Iterator[tuple[str, codec.Payload]]:
    view, at = memoryview(data), 0
    while at < len(data):
        (count,) = _COUNT.unpack_from(view, at)
        at += _COUNT.size
        sizes = [_SIZE.unpack_from(view, at + _SIZE.size * number)[0] for number in range(count)]
        at += _SIZE.size * count
        parts = []
        for size in sizes:
            if at + size > len(data):
                raise DecodeError("a state is cut short")
            parts.append(view[at : at + size])
            at += size
        yield str(parts[0], "utf-8"), codec.Payload(parts[1], parts[2:])


def _write_model(folder: Path, where: str, weights: Weights) -> File:
    path = folder / where
    path.parent.mkdir(exist_ok=True)
    safetensors.write(path, weights)
    nbytes = path.stat().st_size
    return File(where, nbytes, _digest_of(path, nbytes))


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _digest_of(path: Path, nbytes: int, *, exactly: bool = True) -> str:
    """The digest of a file's first bytes; "" if it has fewer, or, where that counts, more."""
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < nbytes or (exactly and size != nbytes):
            return ""
        while nbytes:
            chunk = file.read(min(nbytes, _CHUNK))
            digest.update(chunk)
            nbytes -= len(chunk)
    return digest.hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _numbers(top: Path, before: int | None = None) -> list[int]:
    if not top.is_dir():
        return []
    numbers = [int(path.name) for path in top.iterdir() if path.name.isascii() and path.name.isdecimal()]
    return numbers if before is None else [number for number in numbers if number < before]
