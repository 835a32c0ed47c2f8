"""What other frameworks had to publish advisories about, tried here.

An advisory that no wire format could have prevented is not listed.
"""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from forgery import forge, refused, seal

from flame.errors import DecodeError
from flame.wire import codec, speech
from flame.wire.keys import MessageType
from flame.wire.message import Value, read


def pickles(marker: Path) -> list[bytes]:
    """Pickles, of several protocols, that touch a file when they are loaded."""
    text = f"touch {marker}".encode()
    word = bytes([len(text)]) + text
    framed = b"\x8c\x05posix\x8c\x06system\x93\x8c" + word + b"\x85R."
    return [
        b"cos\nsystem\n(S'" + text + b"'\ntR.",
        b"\x80\x02cos\nsystem\nU" + word + b"\x85R.",
        b"\x80\x04" + framed,
        b"\x80\x05\x95" + struct.pack("<Q", len(framed)) + framed,
    ]


@pytest.mark.parametrize("number", range(4))
def test_cve_2022_34668_and_cve_2026_5536_pickle_as_a_message(tmp_path, number):
    marker = tmp_path / "pwned"
    data = pickles(marker)[number]
    refused(data)
    refused(b"\x01" + data)
    refused(seal(data))
    with pytest.raises(DecodeError):
        speech.head_from(data)
    assert not marker.exists()


@pytest.mark.parametrize("number", range(4))
def test_cve_2022_31604_pickle_inside_a_message(tmp_path, number):
    marker = tmp_path / "pwned"
    data = pickles(marker)[number]
    back = read(Value({"cert": data, "text": data.decode("latin-1")}).to_payload()).value
    assert back == {"cert": data, "text": data.decode("latin-1")}
    refused(forge("a", "O", 1, 1, len(data), tail=data), match="unknown element type 'O'")
    assert not marker.exists()


def test_cve_2022_31605_yaml_tags_stay_text(tmp_path):
    marker = tmp_path / "pwned"
    text = f"!!python/object/apply:os.system ['touch {marker}']"
    assert codec.decode(*codec.encode({text: [text]})) == {text: [text]}
    assert not marker.exists()


def test_cve_2022_21822_allocation_by_announcement():
    """A peer announces a terabyte: nothing is set aside for it."""
    refused(forge("A", "f4", 1, 2**38), b"x" * 2000, match="2000 B were received")


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "flame.errors.FlameError",
        "numpy.ndarray",
        "enum.Enum",
    ],
)
def test_cve_2026_24186_class_names_are_text(name):
    """Once pickle had been replaced by msgpack, a class named in the bytes was still looked up and called."""
    hostile = {
        "__fobs_type__": name,
        "__fobs_data__": ["id"],
        "__class__": name,
        "__reduce__": (name, ("id",)),
    }
    back = codec.decode(*codec.encode(hostile))
    assert back == hostile and type(back) is dict
    refused(forge("k", name), match="where the number of an enum member should be")
    refused(forge("w", name), match="are claimed")


@pytest.mark.parametrize("code", range(-128, 128, 15))
def test_cve_2026_24186_msgpack_extension_types(code):
    body = msgspec.msgpack.encode([".", msgspec.msgpack.Ext(code, b"os.system")])
    refused(seal(body), match="header: ")


def test_cve_2026_24186_enum_members_come_by_number_from_one_enum():
    payload = codec.encode({MessageType.EOT: 1}, keys=MessageType)
    assert b"EOT" not in payload.header and b"MessageType" not in payload.header
    with pytest.raises(DecodeError, match="no enum member has number 999"):
        codec.decode(forge("k", 999), keys=MessageType)


def test_cve_2026_24204_and_pysec_2026_100_no_shape_reaches_beyond_its_bytes():
    """An array never shows memory that did not come with the message."""
    secret = np.frombuffer(b"secret" * 1000, np.uint8)
    for dims in ([6000], [1001], [2**62], [10, 101]):
        refused(forge("A", "u1", len(dims), *dims), secret[:1000].tobytes(), match="1000 B were received")


def test_torch_load_is_never_called(tmp_path):
    """As `torch.jit.load` of received bytes, mended in NVFlare 2.7.0: a torch archive is bytes, no more."""
    file = tmp_path / "model.pt"
    torch.save({"w": torch.ones(1000)}, file)
    archive = file.read_bytes()
    refused(archive)
    refused(forge("X", "float32", 1, 1000), archive, match="B were received")
    assert codec.decode(*codec.encode(archive)) == archive
