"""Files that hold more than settings: weights, and archives of code."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator

import numpy as np

from flame.config.unpack import unpack
from flame.errors import ConfigError, WeightsError
from flame.weights import Weights, safetensors
from targets.inputs import cut, joined, scratch


def run_safetensors(data: bytes) -> None:
    """A WeightsError or weights, which can be written and are read as they were."""
    path = scratch() / "read.safetensors"
    if data[:1] and data[0] & 1:
        header, values = [*cut(data[1:]), b"", b""][:2]
        data = b" " + len(header).to_bytes(8, "little") + header + values
    path.write_bytes(data[1:])
    with contextlib.suppress(WeightsError):
        metadata = safetensors.read_metadata(path)
        assert all(type(text) is str for row in metadata.items() for text in row)
    try:
        weights = safetensors.read(path)
    except WeightsError:
        return
    assert weights.nbytes <= len(data)
    path = scratch() / "written.safetensors"
    safetensors.write(path, weights)
    again = safetensors.read(path)
    assert again.layout == weights.layout and again.data.tobytes() == weights.data.tobytes()


def safetensors_seeds() -> Iterator[bytes]:
    for arrays in (
        {"w": np.arange(6.0, dtype="f4").reshape(2, 3), "n": np.arange(3), "e": np.zeros((0, 2), "f2")},
        {"b": np.ones(3, "i1"), "d": np.array(1.5)},
        {},
    ):
        path = scratch() / "seed.safetensors"
        safetensors.write(path, Weights.pack(arrays), {"made by": "hand"})
        data = path.read_bytes()
        size = 8 + int.from_bytes(data[:8], "little")
        yield b"\x00" + data
        yield b"\x01" + joined(data[8:size], data[size:])
    other = {
        "a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [8, 12]},
    }
    yield b"\x01" + joined(json.dumps(other).encode(), bytes(12))


MOST_UNPACKED = 1 << 16


def run_archive(data: bytes) -> None:
    """A ConfigError or files, none of which is outside of the folder; they are no larger than they may be."""
    around = scratch() / "archive"
    around.mkdir(exist_ok=True)
    path, into = around / "code.zip", around / "into"
    path.write_bytes(data)
    try:
        with contextlib.suppress(ConfigError):
            unpack(path, into, max_bytes=MOST_UNPACKED)
        assert {each.name for each in around.iterdir()} <= {path.name, into.name}
        files = [each for each in into.rglob("*") if not each.is_dir()] if into.exists() else []
        assert not any(each.is_symlink() for each in files)
        # The file in which the limit is met has a block more.
        assert sum(each.stat().st_size for each in files) <= MOST_UNPACKED + (1 << 20)
    finally:
        shutil.rmtree(into, ignore_errors=True)


def archive_seeds() -> Iterator[bytes]:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as content:
            content.writestr("trainer/main.py", "print()\n" * 20)
            content.writestr("aggregator/main.py", "")
            content.writestr("aggregator/deep/er.py", "x")
        yield file.getvalue()
