"""Hostile messages, one trick each."""

from __future__ import annotations

import sys
import tracemalloc

import msgspec
import numpy as np
import pytest
from forgery import forge, frugal, refused, seal

from flame.errors import DecodeError
from flame.weights import Weights
from flame.wire import codec
from flame.wire.message import Order, Update, Value, read

HUGE = [2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize("version", [0, 2, 127, 0x80, 255])
def test_other_versions(version):
    refused(forge(".", 1, version=version), match=f"speaks version {version} of the wire format; here it is 1")


@pytest.mark.parametrize("count", HUGE)
@pytest.mark.parametrize("letter", "ltLTdDo")
def test_a_container_of_countless_items(letter, count):
    refused(forge(letter, count), match="items are claimed")


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize("letter", "ib")
def test_bytes_without_end(letter, size):
    refused(forge(letter, size, tail=b"abc"), match="B are claimed; there are 3")


@pytest.mark.parametrize("size", HUGE)
def test_an_array_without_end(size):
    refused(forge("a", "f4", 1, size, 4, tail=b"abcd"), match="4 B were received")
    refused(forge("A", "f4", 1, size), bytes(2000), match="2000 B were received")
    refused(forge("x", "float32", 1, size, 4, tail=b"abcd"), match="4 B were received")
    refused(forge("X", "float32", 1, size), bytes(2000), match="2000 B were received")


@pytest.mark.parametrize("body", [b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff\xa1.", b"\x92\xa1.\xdb\xff\xff\xff\xff"])
def test_msgpack_that_announces_more_than_it_holds(body):
    refused(seal(body), match="header: ")


@pytest.mark.parametrize("length", [0, 1, 5, 2**31, 2**32 - 1])
def test_a_header_of_another_length(length):
    refused(seal(msgspec.msgpack.encode([".", 1]), length=length))


def test_a_header_beyond_the_limit():
    with pytest.raises(DecodeError, match="at most 67108864"):
        codec.decode(np.zeros((64 << 20) + 1, np.uint8).data)


@pytest.mark.parametrize("letter", "ltdo")
def test_deep_nesting(letter):
    key = "." if letter in "do" else ""
    atoms = ([1, 0] if key else [1]) * 100_000
    refused(forge((letter + key) * 100_000 + ".", *atoms, 0), match="nested more than 64 deep")


def test_deep_nesting_of_a_key():
    refused(forge("d" + "t" * 1000 + "..", 1, *[1] * 1000, 0, 0), match="nested more than 64 deep")


@pytest.mark.parametrize("deep", [100, 10_000, 1_000_000])
def test_deep_nesting_of_msgpack_itself(deep):
    refused(seal(b"\x92\xa1." + b"\x91" * deep + b"\x01"), match="got `array`")


def test_deep_nesting_with_a_raised_recursion_limit():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        refused(seal(b"\x92\xa1." + b"\x91" * 10**6 + b"\x01"), match="got `array`")
        refused(forge("l" * 10**5 + ".", *[1] * 10**5, 0), match="nested more than 64 deep")
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("dims", [[-1], [2, -2], [-2, -2], [-1, -4], [True], [1.0], [None], ["4"]], ids=str)
def test_shapes_that_are_none(dims):
    refused(forge("a", "u1", len(dims), *dims, 4, tail=b"abcd"), match="are not sizes")


@pytest.mark.parametrize("dims", [[0, 2**63], [2**62, 0], [2**40, 2**40, 0], [2**64 - 1, 2**64 - 1, 0]], ids=str)
def test_huge_shapes_that_need_no_bytes(dims):
    refused(forge("a", "f8", len(dims), *dims, 0), match="0 B were received")
    refused(forge("x", "float64", len(dims), *dims, 0), match="0 B were received")


def test_shapes_whose_product_wraps_around():
    refused(forge("a", "u1", 3, 2**32, 2**32, 1, 0), match="0 B were received")
    refused(forge("a", "u1", 2, 2**63, 2, 0), match="0 B were received")
    refused(forge("a", "f4", 2, 2**62 + 1, 1, 4, tail=b"abcd"), match="4 B were received")


def test_more_dimensions_than_numpy_has():
    refused(forge("a", "u1", 65, *[1] * 65, 1, tail=b"a"), match="65 dimensions")


@pytest.mark.parametrize(
    "name", ["O", "O8", "object", "V8", "U4", "S4", "M8", "f16", "<f4", "f4,i4", "", 4, None, True]
)
def test_element_types_that_are_none(name):
    refused(forge("a", name, 1, 1, 8, tail=bytes(8)), match="element type")
    refused(forge("n", name, tail=bytes(8)), match="element type")
    refused(forge("x", name, 1, 1, 8, tail=bytes(8)), match="element type")


@pytest.mark.parametrize("name", ["load", "jit.load", "hub", "Tensor", "quint8", "nn.Module", "float128", "dtype"])
def test_names_that_torch_would_know(name):
    refused(forge("x", name, 1, 1, 8, tail=bytes(8)), match="unknown element type")


def test_a_truth_value_that_is_neither():
    refused(forge("a", "b1", 1, 2, 2, tail=b"\x01\x02"), match="neither 0 nor 1")
    refused(forge("x", "bool", 1, 2, 2, tail=b"\x01\x02"), match="neither 0 nor 1")


def test_overlapping_tensors_cannot_be_said():
    """A buffer is used once, in order: a second array over the same bytes finds none left."""
    refused(forge("l" + "AA", 2, "u1", 1, 2000, "u1", 1, 2000), bytes(2000), match="in the middle of a value")
    refused(forge("l" + "aa", 2, "u1", 1, 3, 3, "u1", 1, 3, 3, tail=b"abc"), match="there are 0")


def test_layouts_cannot_overlap_either():
    """Offsets are not on the wire: they follow from the shapes, and must add up to the buffer."""
    good = Weights.pack({"a": np.zeros(300, "f4"), "b": np.zeros(300, "f4")})
    header, buffers = codec.encode(good)
    for rows in (
        [["a", "float32", [300]], ["a", "float32", [300]]],
        [["a", "float32", [300]], ["b", "float32", [301]]],
        [["a", "float32", [300]]],
        [["a", "float32", [-300]], ["b", "float32", [900]]],
        [["a", "float32", [2**62]], ["b", "float32", [4]]],
        [["a", "object", [300]], ["b", "float32", [300]]],
        [["a", "float32", [300], 0, 1200], ["b", "float32", [300], 0, 1200]],
        [["a", "float32", 300], ["b", "float32", 300]],
        {"a": ["float32", [300]]},
        [],
        7,
    ):
        plain = msgspec.msgpack.encode(rows)
        refused(forge("w", len(plain), tail=plain), bytes(2400), match="weights: ")
    assert codec.decode(header, buffers).layout == good.layout


def test_layouts_of_strangers_are_not_kept():
    """Layouts are remembered, but a stranger's huge ones do not fill the memory."""
    tracemalloc.start()
    for number in range(17):
        rows = [[f"{number}/{row}", "int8", [0]] for row in range(5_000)]
        plain = msgspec.msgpack.encode(rows)
        codec.decode(forge("w", len(plain), tail=plain), [b""])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4 << 20


def test_a_layout_that_is_deep_or_announces_too_much():
    for plain in (
        b"\x91" * 5000 + b"\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\x91\x93\xa1a\xa7float32\xdd\xff\xff\xff\xff",
        b"",
    ):
        refused(forge("w", len(plain), tail=plain), bytes(8), match="weights: ")


def test_repetition_does_not_multiply():
    """No zip bomb: each letter and atom is used once, so little stays little."""
    empties = forge("l" + "D" * 50_000, 50_000, *[0] * 50_000)
    frugal(lambda: codec.decode(empties), len(empties))
    lists = forge("l" * 60 + "L" * 10, *[1] * 59, 10, *[0] * 10)
    frugal(lambda: codec.decode(lists), len(lists))
    refused(forge("l" * 60 + "L", *[60] * 60, 0), match="in the middle of a value")


def test_the_same_key_twice():
    refused(forge("D", 2, "a", "a", 1, 2), match="a key twice")
    refused(forge("d....", 2, "a", 1, "a", 2), match="a key twice")
    refused(forge("o....", 2, 1, 1, 1.0, 2), match="a key twice")


def test_keys_that_cannot_be_keys():
    for letter in "lLdDoaAxXw":
        refused(forge(f"d{letter}.", 1, 0, 0), match="where a key should be")


def test_unknown_letters():
    for letter in "zZ0!\0é😀":
        refused(forge(letter, 1), match="unknown letter")


@pytest.mark.parametrize("program", [None, 1, 1.5, True])
def test_no_program(program):
    refused(forge(program, 1), match="without a program")
    refused(seal(b"\x90"), match="without a program")


def test_text_that_is_not_utf8():
    refused(seal(b"\x92\xa1.\xa2\xff\xfe"), match="header: 'utf-8'")


def test_leftovers():
    refused(forge("..", 1, 2), match="goes on after the value")
    refused(forge(".", 1, 2), match="goes on after the value")
    refused(forge(".", 1, tail=b"x"), match="goes on after the value")
    refused(forge(".", 1), b"x", match="more buffers")


def test_a_buffer_that_is_not_a_run_of_bytes():
    header, _ = codec.encode(b"x" * 2000)
    with pytest.raises(DecodeError, match="not a run of bytes"):
        codec.decode(header, [np.zeros((2000, 2), np.uint8)[:, 0].data])


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("order",),
        ("order", 1, None, False),
        ("order", 1, None, False, {}, "more"),
        ("order", -1, None, False, {}),
        ("order", True, None, False, {}),
        ("order", 1.0, None, False, {}),
        ("order", 1, [1.0], False, {}),
        ("order", 1, None, 0, {}),
        ("order", 1, None, False, None),
        ("update", None, -5, 1, {}),
        ("update", None, 5, None, {}),
        ("update", None, 5, 1, []),
        ("value",),
        ("value", 1, 2),
        ("Order", 1, None, False, {}),
        ("flame.wire.message.Order", 1, None, False, {}),
        ("__import__", "os"),
        (None, 1),
        (["order"], 1, None, False, {}),
        ["value", 1],
        {"kind": "value", "value": 1},
        "value",
    ],
    ids=str,
)
def test_records_of_another_form(fields):
    payload = codec.encode(fields)
    with pytest.raises(DecodeError):
        read(payload)


def test_one_kind_where_another_is_due():
    for record, other in ((Order(1), Update), (Update(None, 1, 1), Value), (Value(1), Order)):
        with pytest.raises(DecodeError, match=f"{type(record).__name__} received where {other.__name__} was due"):
            other.from_payload(record.to_payload())


# -- packed weights --------------------------------------------------------------------------------------------------

PLAIN = msgspec.msgpack.encode([["w", "float32", [1, 8]]])


@pytest.fixture(autouse=True, scope="module")
def met_before():
    """What is read from disk the first time is no matter of a message."""
    for name, size in (("fp16", 16), ("topk", 0)):
        header, body = packed(name, [size, size], bytes(size))
        codec.decode(header, [body])


def packed(name: object, rows: list[int], body: bytes, layout: bytes = PLAIN) -> tuple[bytes, bytes]:
    """A message of packed weights with any table."""
    table = np.array(rows, "<u4").tobytes()
    return forge("c", name, len(layout), len(table), tail=layout + table), body


def test_packed_weights_that_are_in_order():
    header, body = packed("fp16", [16, 16], bytes(16))
    assert codec.decode(header, [body]).data.tolist() == [0] * 32


@pytest.mark.parametrize("name", ["", "zip", "os.system", "flame.compression.fp16:Half", "f" * 100_000])
def test_packed_by_who_knows_what(name):
    refused(*packed(name, [16, 16], bytes(16)), match="packed weights: ")


@pytest.mark.parametrize("name", [None, 5, True, 0.5])
def test_packed_by_what_is_no_name(name):
    refused(*packed(name, [16, 16], bytes(16)), match="where the name of a compressor should be")


@pytest.mark.parametrize("rows", [[], [16], [16, 16, 16], [16, 16, 0, 0], [16, 17], [17, 16], [2**32 - 1, 2**32 - 1]])
def test_packed_with_a_table_of_something_else(rows):
    refused(*packed("fp16", rows, bytes(16)), match="packed weights: ")


@pytest.mark.parametrize("elements", [2**37, 2**38])
def test_packed_weights_of_a_terabyte(elements):
    """So many chunks need a table that did not come."""
    layout = msgspec.msgpack.encode([["w", "float32", [elements]]])
    refused(*packed("topk", [0, 0], b"", layout), match="chunks|limit")


def test_packed_weights_that_unpack_to_much_are_not_unpacked_yet():
    """Six million zeros in a few hundred bytes: what is folded in pieces is unpacked in pieces."""
    count = 100 * 65_536
    layout = msgspec.msgpack.encode([["w", "float32", [1, count]]])
    header, body = packed("topk", [0, 0] * 100, b"", layout)
    weights = None

    def act() -> None:
        nonlocal weights
        weights = codec.decode(header, [body])

    frugal(act, len(header))
    assert weights is not None and weights.nbytes == 4 * count
    block = np.empty(65_536, np.float32)
    frugal(lambda: weights.source.read(4 * 65_536 * 7, block), len(header))
    assert not block.any()
