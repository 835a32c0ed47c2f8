import json
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flame.errors import WeightsError
from flame.weights import Weights, safetensors
from flame.weights.layout import TYPE_NAMES

package = pytest.importorskip("safetensors.numpy")
named = st.dictionaries(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8),
    hnp.arrays(st.sampled_from(TYPE_NAMES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    min_size=1,
    max_size=6,
)


def equal(one, other):
    return set(one) == set(other) and all(
        one[n].dtype == other[n].dtype and one[n].shape == other[n].shape and one[n].tobytes() == other[n].tobytes()
        for n in one
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@settings(deadline=None)
@given(arrays=named)
def test_what_we_write_we_and_the_package_read(folder, arrays):
    weights = Weights.pack(arrays)
    safetensors.write(folder / "m", weights)
    read = safetensors.read(folder / "m")
    assert read.layout == weights.layout and read.data.tobytes() == weights.data.tobytes()
    assert equal(package.load_file(folder / "m"), arrays)


@settings(deadline=None)
@given(arrays=named)
def test_what_the_package_writes_we_read(folder, arrays):
    package.save_file(arrays, folder / "p")
    assert equal(safetensors.read(folder / "p").arrays(), arrays)


def test_the_text_beside_the_weights_is_kept(tmp_path):
    from safetensors import safe_open

    safetensors.write(tmp_path / "m", Weights.pack({"w": np.zeros(2)}), {"round": "7", "who": "Ünal"})
    assert safetensors.read_metadata(tmp_path / "m") == {"round": "7", "who": "Ünal"}
    with safe_open(tmp_path / "m", "numpy") as file:
        assert file.metadata() == {"round": "7", "who": "Ünal"}


def test_the_data_begin_at_a_multiple_of_eight_and_are_the_buffer(tmp_path):
    weights = Weights.pack({"w": np.arange(5, dtype=np.float32)})
    safetensors.write(tmp_path / "m", weights)
    content = (tmp_path / "m").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    assert start % 8 == 0 and content[start:] == weights.data.tobytes()


def test_memory_comes_from_the_given_allocator(tmp_path):
    buffer = np.zeros(16, np.uint8)
    safetensors.write(tmp_path / "m", Weights.pack({"w": np.arange(2.0)}))
    assert safetensors.read(tmp_path / "m", lambda nbytes: buffer[:nbytes]).data.base is buffer


def test_a_file_is_replaced_whole_and_readable_by_others(tmp_path):
    path = tmp_path / "m"
    for value in (1.0, 2.0):
        safetensors.write(path, Weights.pack({"w": np.full(3, value)}))
    assert safetensors.read(path).arrays()["w"].tolist() == [2, 2, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert path.stat().st_mode & stat.S_IRUSR


def test_nothing_is_left_where_it_cannot_be_written(tmp_path):
    (tmp_path / "m").mkdir()
    with pytest.raises(OSError):
        safetensors.write(tmp_path / "m", Weights.pack({"w": np.zeros(3)}))
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def file_of(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(shape=(2,), start=0, stop=8, dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop], **more}


BAD = {
    "empty": b"",
    "short": b"\1\2\3",
    "header longer than the file": file_of({}, length=2**62),
    "header of negative length": b"\xff" * 8,
    "not json": file_of(b"{"),
    "not text": file_of(b"\xff\xfe{}"),
    "deeply nested": file_of(b"[" * 100_000),
    "not an object": file_of([1]),
    "metadata is no object": file_of({"__metadata__": 3}),
    "a key twice": file_of(b'{"w":1,"w":1}'),
    "an unknown dtype": file_of({"w": tensor(dtype="F8_E4M3")}, bytes(8)),
    "no dtype": file_of({"w": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "no offsets": file_of({"w": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "a negative length": file_of({"w": tensor(shape=[-2])}, bytes(8)),
    "a huge length": file_of({"w": tensor(shape=[2**40, 2**40])}, bytes(8)),
    "lengths whose product would never be done": file_of({"w": tensor(shape=[2**47] * 300_000)}, bytes(8)),
    "a length that is a fraction": file_of({"w": tensor(shape=[2.0])}, bytes(8)),
    "shape and bytes disagree": file_of({"w": tensor(shape=[3])}, bytes(8)),
    "a hole": file_of({"w": tensor(start=4, stop=12)}, bytes(12)),
    "an overlap": file_of({"a": tensor(), "b": tensor(start=4, stop=12)}, bytes(12)),
    "cut short": file_of({"w": tensor()}, bytes(7)),
    "too long": file_of({"w": tensor()}, bytes(9)),
    "a name with a line break": file_of({"a\nb": tensor()}, bytes(8)),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_before_memory_is_allocated(tmp_path, content):
    (tmp_path / "m").write_bytes(content)

    def allocate(nbytes):
        raise AssertionError("memory was asked for")

    with pytest.raises(WeightsError):
        safetensors.read(tmp_path / "m", allocate)
