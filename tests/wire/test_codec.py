"""The codec: what goes in comes out, and nothing else goes in."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, namedtuple
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from plain_values import DTYPE_NAMES, TENSOR_NAMES, Colour, Number, same, tensor, values

from flame.errors import DecodeError, EncodeError
from flame.weights import Weights
from flame.wire import codec
from flame.wire.arrays import DTYPES
from flame.wire.keys import MessageType


def there_and_back(value: object, *, copy: bool = True) -> object:
    return codec.decode(*codec.encode(value, keys=MessageType), keys=MessageType, copy=copy)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values)
def test_decode_undoes_encode(value):
    assert same(there_and_back(value), value)
    assert same(there_and_back(value, copy=False), value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values)
def test_the_same_value_has_the_same_bytes(value):
    one, other = codec.encode(value, keys=MessageType), codec.encode(value, keys=MessageType)
    assert one.header == other.header
    assert list(map(bytes, one.buffers)) == list(map(bytes, other.buffers))


INTS = [0, 1, -1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400, -(10**400), 255, -256]
FLOATS = [float("nan"), float("inf"), -float("inf"), -0.0, 5e-324]
REST = [True, False, None, "", "é🙂", b"", b"\0" * 5000]
NESTS = [[], (), {}, OrderedDict(), [[]], ((),), [{}], [2**70, "a", -(2**90)]]
DICTS = [
    {None: 0, True: 1, 2: 2, "a": 3, 0.5: 4, b"b": 5},
    {(1, ("a", None)): 1, (): 2, np.int64(3): 3},
    {"a": 2**200, 2**80: None},
    OrderedDict([("b", 1), ("a", 2)]),
    {MessageType.ROUND: 3, MessageType.WEIGHTS: [1.5, MessageType.EOT]},
]


@pytest.mark.parametrize("value", [*INTS, *FLOATS, *REST, *NESTS, *DICTS], ids=lambda value: repr(value)[:30])
def test_plain_values(value):
    assert same(there_and_back(value), value)


def test_a_nan_keeps_its_bits():
    (odd,) = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0123))
    assert struct.pack("<d", there_and_back([odd])[0]) == struct.pack("<d", odd)


@pytest.mark.parametrize("name", DTYPE_NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 4), (2, 3, 4), (40, 50)], ids=str)
def test_arrays_of_every_type_and_shape(name, shape):
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(DTYPES[name])
    for value in (array, np.asfortranarray(array), array.T, array[..., ::2] if array.ndim else array):
        back = there_and_back(value)
        assert same(back, np.ascontiguousarray(value).reshape(value.shape))
        assert back.flags.writeable and back.flags.owndata and back.flags.aligned


@pytest.mark.parametrize("name", TENSOR_NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4), (40, 50)], ids=str)
def test_tensors_of_every_type_and_shape(name, shape):
    value = tensor(name, shape, 0)
    assert same(there_and_back(value), value)
    assert same(there_and_back(value.T if value.ndim == 2 else value), value.T if value.ndim == 2 else value)


def test_the_other_byte_order_comes_in_the_usual_one():
    array = np.arange(1000, dtype=">i4")
    back = there_and_back(array)
    assert back.dtype == np.dtype("<i4") and (back == array).all()
    assert same(there_and_back(np.dtype(">f8").type(1.5)), np.float64(1.5))


def test_a_tensor_is_sent_without_its_graph_and_a_parameter_as_a_tensor():
    parameter = torch.nn.Parameter(torch.ones(3))
    for value in (parameter, parameter * 2, torch.ones(3, requires_grad=True)):
        back = there_and_back(value)
        assert type(back) is torch.Tensor and not back.requires_grad and torch.equal(back, value.detach())


def test_a_conjugate_and_a_negative_view_are_resolved():
    value = torch.tensor([1 + 2j, 3 - 4j]).conj()
    assert torch.equal(there_and_back(value), value.resolve_conj())
    assert torch.equal(there_and_back(value.imag), value.imag.resolve_neg())


def test_a_state_dict_arrives_as_one():
    state = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict()
    back = there_and_back(state)
    assert type(back) is OrderedDict and same(list(back.items()), list(state.items()))


def test_a_sender_may_scribble_on_what_it_sent():
    big, small, tensor_ = np.zeros(5000), np.zeros(5), torch.zeros(5000)
    payload = codec.encode([big, small, tensor_])
    big += 1
    small += 1
    tensor_ += 1
    assert not any(part.any() for part in codec.decode(*payload))


def test_two_receivers_of_one_payload_do_not_share_arrays():
    payload = codec.encode({"big": np.zeros(5000), "small": np.zeros(5), "tensor": torch.zeros(5000)})
    one, other = codec.decode(*payload), codec.decode(*payload)
    for part in one.values():
        part += 1
    assert not any(part.any() for part in other.values())


def test_views_are_read_only():
    payload = codec.encode([np.zeros(5000), np.zeros(5)])
    for part in codec.decode(*payload, copy=False):
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 1


def test_an_array_that_nobody_can_write_into_is_not_copied():
    array = np.zeros(5000)
    array.flags.writeable = False
    payload = codec.encode(array)
    assert np.shares_memory(payload.buffers[0], array)
    assert np.shares_memory(codec.decode(*payload, copy=False), array)


def test_weights_go_by_reference_both_ways():
    weights = Weights.pack({"a": np.arange(5.0), "b": np.arange(3)})
    payload = codec.encode({"model": weights})
    back = codec.decode(*payload)["model"]
    assert np.shares_memory(back.data, weights.data) and not back.data.flags.writeable
    assert codec.decode(*payload)["model"].layout is back.layout


def test_buffers_may_be_anything_that_holds_bytes():
    payload = codec.encode([np.arange(500.0), b"x" * 2000])
    for kind in (bytes, bytearray, lambda b: memoryview(bytes(b)), lambda b: np.frombuffer(b, np.uint8)):
        back = codec.decode(memoryview(payload.header), [kind(buffer) for buffer in payload.buffers])
        assert same(back, [np.arange(500.0), b"x" * 2000])


def test_nbytes_counts_everything():
    payload = codec.encode([np.zeros(1000), 1])
    assert payload.nbytes == len(payload.header) + 8000


class Text(str):
    pass


Point = namedtuple("Point", "x y")
cycle: list[object] = []
cycle.append(cycle)
deep: object = 0
for _ in range(100):
    deep = [deep]

REFUSED = {
    "object": (object(), "value: a builtins.object"),
    "function": ({"f": len}, "value['f']: a builtins.builtin_function_or_method"),
    "class": ([1, [int]], "value[1][0]: a builtins.type"),
    "set": ({"stats": [0, 1, 2, {3}]}, "value['stats'][3]: a builtins.set"),
    "frozenset": (frozenset(), "value: a builtins.frozenset"),
    "bytearray": (bytearray(3), "value: a builtins.bytearray"),
    "complex": (1j, "value: a builtins.complex"),
    "decimal": ((Decimal(1),), "value[0]: a decimal.Decimal"),
    "str subclass": (Text("a"), "value: a test_codec.Text"),
    "defaultdict": (defaultdict(list), "value: a collections.defaultdict"),
    "counter": (Counter("a"), "value: a collections.Counter"),
    "namedtuple": (Point(1, 2), "value: a test_codec.Point"),
    "object array": ({"a": np.array([None])}, "value['a']: an array of object"),
    "text array": (np.array(["a"]), "value: an array of <U1"),
    "date array": (np.zeros(2, "M8[s]"), "value: an array of datetime64[s]"),
    "structured array": (np.zeros(2, "i4,f4"), "value: an array of"),
    "long double": (np.zeros(2, np.longdouble), "value: an array of"),
    "masked array": (np.ma.zeros(2), "value: a numpy"),
    "numpy text": (np.str_("a"), "value: a numpy.str_"),
    "date": (np.datetime64("2020-01-01"), "value: a numpy.datetime64"),
    "sparse tensor": ([torch.eye(2).to_sparse()], "value[0]: a tensor"),
    "meta tensor": (torch.empty(2, device="meta"), "value: a tensor"),
    "other enum": ({Colour.RED: 1}, "value[<Colour.RED: 1>]: Colour.RED"),
    "other int enum": ([Number.ONE], "value[0]: Number.ONE"),
    "key": ({frozenset(): 1}, "value[frozenset()]: a key may not be a frozenset"),
    "tensor key": ({(1, torch.zeros(())): 1}, "a key may not be a Tensor"),
    "half a pair": ({"a": ["\ud800"]}, "value['a'][0]: text with half a surrogate pair"),
    "half a pair as key": ({"\ud800": 1}, "half a surrogate pair"),
    "cycle": (cycle, "nested more than 64 deep"),
    "deep": (deep, "nested more than 64 deep"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_else_is_refused_and_named(name):
    value, message = REFUSED[name]
    with pytest.raises(EncodeError) as refused:
        codec.encode(value, keys=MessageType)
    assert message in str(refused.value)


def test_64_deep_is_not_too_deep():
    value: object = {"a": 0, "b": [None]}
    for _ in range(62):
        value = [value]
    assert same(there_and_back(value), value)


def test_an_enum_is_spoken_only_where_both_sides_agreed_on_it():
    with pytest.raises(EncodeError, match="no enum that is spoken here"):
        codec.encode([MessageType.EOT])
    payload = codec.encode([MessageType.EOT], keys=MessageType)
    with pytest.raises(DecodeError, match="no enum is spoken here"):
        codec.decode(*payload)
    with pytest.raises(DecodeError, match="no enum member has number 2"):
        codec.decode(*payload, keys=Colour)


def test_another_version_is_named():
    header, _ = codec.encode(1)
    with pytest.raises(DecodeError, match="speaks version 9 of the wire format; here it is 1"):
        codec.decode(b"\x09" + header[1:])


def test_numpy_alone_does_not_bring_torch():
    script = (
        "import sys, json, numpy as np; from flame.wire import codec; v = codec.encode([np.zeros(3), 1]);"
        "codec.decode(*v); print(json.dumps('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


def test_a_tensor_brings_torch_to_a_receiver_that_has_not_imported_it():
    header, buffers = codec.encode(torch.arange(3.0))
    assert not buffers
    script = (
        "import sys; from flame.wire import codec; assert 'torch' not in sys.modules;"
        f"t = codec.decode({header!r}); print(type(t).__name__, t.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["Tensor", "[0.0, 1.0, 2.0]\n"]
