"""Whatever the bytes are: a value or a DecodeError, soon, and in memory bounded by what was received."""

from __future__ import annotations

import random
import time
from functools import partial

import msgspec
import numpy as np
import pytest
import torch
from forgery import forge, frugal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_values import values

from flame.errors import DecodeError
from flame.weights import Weights
from flame.wire import codec
from flame.wire.keys import MessageType
from flame.wire.message import Order, Update, Value, read

WEIGHTS = Weights.pack({"w": np.arange(400.0, dtype="f4"), "n": np.arange(3)})
SEEDS = [
    Order(3, WEIGHTS, False, {"fedprox": {"mu": 0.1, "c": np.arange(3.0)}}),
    Update(WEIGHTS, 100, 3, {"oort": [1, 2.5, "a", b"b", None, True, (1, 2), 2**70]}),
    Value({"x": np.arange(1000.0), "t": torch.ones(3, dtype=torch.bfloat16), MessageType.ROUND: np.float32(1)}),
    Value({"a": {"b": {"c": [{}, [], (), {1: 2}]}}, (1, 2): b"x" * 2000, "s": "é" * 50}),
]


def opened(header, buffers):
    """Decode; only a DecodeError may come out of it."""
    try:
        return read(codec.Payload(header, buffers), keys=MessageType)
    except DecodeError:
        return None


def mutated(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out)) if out else 0
        match rng.randrange(6):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del out[at : at + rng.randint(1, 8)]
            case 2:
                out[at:at] = rng.randbytes(rng.randint(1, 8))
            case 3:
                out[at:at] = out[at : at + rng.randint(1, 30)]
            case 4:
                out[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xdd\xff\xff\xff"])
            case 5:
                del out[at:]
    return bytes(out)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_mutated_headers(seed):
    header, buffers = SEEDS[seed].to_payload(keys=MessageType)
    rng = random.Random(seed)
    slowest = 0.0
    for _ in range(3000):
        broken = mutated(header, rng)
        start = time.perf_counter()
        opened(broken, buffers)
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 1.0


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_mutated_headers_take_little_memory(seed):
    header, buffers = SEEDS[seed].to_payload(keys=MessageType)
    rng = random.Random(seed)
    for _ in range(300):
        broken = mutated(header, rng)
        frugal(partial(opened, broken, buffers), len(broken) + sum(map(len, buffers)))


def test_mutated_atoms_and_programs():
    rng = random.Random(0)
    odd = [
        None,
        True,
        -1,
        0,
        1,
        3,
        2**31,
        2**63,
        2**64 - 1,
        -(2**63),
        1.5,
        float("nan"),
        "",
        "f4",
        "O",
        "order",
        "é",
    ]
    for seed in SEEDS:
        header, buffers = seed.to_payload(keys=MessageType)
        size = 5 + int.from_bytes(header[1:5], "little")
        program, *atoms = msgspec.msgpack.decode(header[5:size])
        for _ in range(3000):
            letters, changed = list(program), list(atoms)
            if rng.random() < 0.5:
                letters[rng.randrange(len(letters))] = rng.choice(".ltLTdDoibBknaAxXwz")
            if rng.random() < 0.8:
                changed[rng.randrange(len(changed))] = rng.choice(odd)
            if rng.random() < 0.2:
                rng.shuffle(changed)
            opened(forge("".join(letters), *changed, tail=header[size:]), buffers)


def test_buffers_of_other_sizes():
    rng = random.Random(0)
    for seed in SEEDS:
        header, buffers = seed.to_payload(keys=MessageType)
        for _ in range(300):
            others = [bytes(rng.randrange(3000)) for _ in range(rng.randint(0, len(buffers) + 1))]
            opened(header, others)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data):
    opened(data, [])
    opened(b"\x01" + data, [data])


@settings(max_examples=200, deadline=None)
@given(
    st.text(".ltLTdDoibBknaAxXw", max_size=20),
    st.lists(st.integers(-1, 6) | st.text(max_size=2)),
    st.binary(),
)
def test_any_program(program, atoms, tail):
    opened(forge(program, *atoms, tail=tail), [tail])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values, st.data())
def test_a_header_cut_short_is_refused(value, data):
    header, buffers = codec.encode(value, keys=MessageType)
    cut = data.draw(st.integers(0, len(header) - 1))
    with pytest.raises(DecodeError):
        codec.decode(header[:cut], buffers, keys=MessageType)
    with pytest.raises(DecodeError):
        codec.decode(header + b"\0", buffers, keys=MessageType)
    with pytest.raises(DecodeError):
        codec.decode(header, [*buffers, b"more"], keys=MessageType)
