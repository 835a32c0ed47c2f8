"""A rendezvous, and processes' sides of p2p, in one process; and somebody who speaks its language by hand."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from upstream import until

from flame.backend.courier import Courier
from flame.backend.credentials import proof
from flame.backend.directory import Seat
from flame.backend.network import Network
from flame.backend.p2p import PeerToPeer
from flame.backend.peer import Me
from flame.backend.pool import Pool
from flame.backend.reception import Reception
from flame.channel.coding import CODING, Sealed
from flame.wire import speech
from flame.wire.message import Order, Update
from flame.wire.speech import PREFIX, Head, Hello


class Town:
    """A rendezvous, and whoever meets there.

    Args:
        token: of the job; b"" for none.
        silence_s: how long anybody may be silent.
    """

    def __init__(self, token: bytes = b"", silence_s: float = 5.0) -> None:
        self.token, self.silence_s = token, silence_s
        self.failures: list[BaseException] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._door.getsockname()[1]}"
        self._courier = Courier("rendezvous", self.failures.append)
        self.reception = Reception(self._courier, self._door, token, silence_s=silence_s)
        self._courier.start()
        self.houses: list[House] = []

    def house(self, end: str, seat: tuple[str, str, str], wants: tuple[str, str, str], job: str = "job") -> House:
        """Somebody who sits on one seat, and wants to meet whoever sits on others."""
        house = House(self, job, end)
        house.sit(seat, wants)
        self.houses.append(house)
        return house

    def pair(self) -> tuple[House, House]:
        """A and B, on two sides of a channel, who have met."""
        a = self.house("A", ("c", "g", "x"), ("c", "g", "y"))
        b = self.house("B", ("c", "g", "y"), ("c", "g", "x"))
        meet(a, b)
        return a, b

    def close(self) -> None:
        for stranger in Stranger.made:
            stranger.close()
        Stranger.made.clear()
        for house in self.houses:
            house.backend.close()
            house.pool.close()
        self._courier.call(self.reception.close)
        self._courier.stop()
        self._door.close()
        assert not self.failures


class House:
    """One process's side, with whatever has come to it."""

    def __init__(self, town: Town, job: str, end: str) -> None:
        self.end, self.got = end, list[tuple[str, str, Any]]()
        self.pool = Pool()
        me = Me(job, end, town.token, town.silence_s)
        self.backend = Network(me, CODING, self.pool, lambda node, courier: PeerToPeer(node, courier, town.address))
        self.backend.attach(end, self)
        self.place = ("", "", "")

    def sit(self, seat: tuple[str, str, str], wants: tuple[str, str, str]) -> None:
        self.place = wants
        self.backend.sit([Seat(*seat, self.end)], [wants])

    def deliver(self, channel: str, source: str, message: object) -> None:
        self.got.append((channel, source, message.open() if isinstance(message, Sealed) else message))

    def send(self, target: str, value: object, channel: str = "c") -> None:
        message = value if isinstance(value, Order | Update) else Sealed.of(value)
        self.backend.send(channel, self.end, [target], message)

    def sees(self) -> list[str]:
        """Who sits where it looks."""
        self.backend.poll(0.0)
        return list(self.backend.directory.members(*self.place).ends())

    def values(self) -> list[Any]:
        self.backend.poll(0.0)
        return [value for _, _, value in self.got]


def meet(*houses: House) -> None:
    """Wait until everybody sees the others."""
    ends = {house.end for house in houses}
    until(lambda: all(ends - {house.end} <= set(house.sees()) for house in houses), "they meet")


def talk(a: House, b: House) -> None:
    """They still reach each other, both ways."""
    word = secrets.token_hex(4)
    a.send(b.end, word)
    until(lambda: word in b.values(), f"{b.end} hears {a.end}")
    b.send(a.end, word)
    until(lambda: word in a.values(), f"{a.end} hears {b.end}")


def last(seconds: float) -> None:
    """Something lasts so long."""
    ends = time.monotonic() + seconds
    until(lambda: time.monotonic() > ends, "time passes")


class Stranger:
    """A connection on which anything can be said."""

    made: ClassVar[list[Stranger]] = []

    def __init__(self, address: str) -> None:
        self.made.append(self)
        host, port = address.split(":")
        self.sock = socket.create_connection((host, int(port)), timeout=10)
        self.number, self.theirs = secrets.token_bytes(16), b""
        self._said = 0

    def raw(self, data: bytes) -> None:
        """Send bytes; that nobody takes them any longer is no error."""
        try:
            self.sock.sendall(data)
        except OSError:
            return

    def say(self, head: Head, body: bytes = b"") -> None:
        data = speech.encode(head)
        self.raw(PREFIX.pack(len(data), len(body)) + data + body)

    def numbered(self, head: Head, body: bytes = b"") -> None:
        """Say something that is numbered, under the next number."""
        self._said += 1
        head.number = self._said
        self.say(head, body)

    def hear(self) -> tuple[Head, bytes]:
        """The next thing that is said."""
        head_bytes, body_bytes = PREFIX.unpack(self._exactly(PREFIX.size))
        return speech.head_from(self._exactly(head_bytes)), self._exactly(body_bytes)

    def hears(self, *kinds: int) -> Head:
        """The next thing of some kinds."""
        while True:
            head, _ = self.hear()
            if head.kind in kinds:
                return head

    def shut(self) -> bool:
        """Whether the other side ends the connection, whatever it says before."""
        try:
            while self.sock.recv(1 << 16):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def hello(self, job: str, end: str, *, token: bytes = b"", turn: int = 0, **more: Any) -> bytes:
        """An introduction, as bytes."""
        words = {
            "seats": [],
            "yours": self.theirs,
            "proof": proof(token, job, end, self.number, self.theirs, turn),
            "turn": turn,
            **more,
        }
        return speech.encode(Hello(speech.SPEECH, job, end, self.number, heard=0, **words))

    def enter(self, end: str, seats: Sequence[speech.Row], token: bytes = b"") -> None:
        """Become a peer, as any process of the job does."""
        self.say(Head(speech.HELLO, header=self.hello("job", end, token=token, seats=list(seats), turn=1)))
        self.theirs = speech.hello_from(self.hears(speech.HELLO).header).mine
        self.say(Head(speech.HELLO, header=self.hello("job", end, token=token, seats=list(seats), turn=2)))
        self.hears(speech.HELLO, speech.BEAT)

    def close(self) -> None:
        self.sock.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            got = self.sock.recv(count - len(data))
            if not got:
                raise ConnectionError("shut")
            data += got
        return data


def guest(town: Town, end: str, wants: speech.Place, job: str = "job", addresses: Sequence[str] = ()) -> Stranger:
    """Somebody whom the rendezvous has let in."""
    at_door = Stranger(town.address)
    at_door.theirs = speech.hello_from(at_door.hears(speech.HELLO).header).mine
    hello = at_door.hello(job, end, token=town.token, seats=[], wants=[wants], addresses=list(addresses))
    at_door.say(Head(speech.HELLO, header=hello))
    return at_door


def address_of(town: Town, house: House) -> str:
    """Where a house can be reached: what the rendezvous tells anybody of the job who asks."""
    seat = next(s for s in (("c", "g", "x"), ("c", "g", "y")) if s != house.place)
    spy = guest(town, f"spy-{secrets.token_hex(4)}", seat)
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            for end, addresses in speech.meeting_from(spy.hears(speech.MEET).header).peers:
                if end == house.end and addresses:
                    return addresses[0]
    finally:
        spy.close()
    raise AssertionError("the rendezvous does not know it")


def resident_bytes() -> int:
    """Memory of this process that is really there."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


Attack = Callable[[Stranger], None]
