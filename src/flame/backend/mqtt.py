"""MQTT: every process talks to one broker, and by way of it to the others. One outbound port is enough for each.

Topics, with every word percent-encoded:

    flame/JOB/at/CHANNEL/GROUP/ROLE/END    retained: END sits there; empty when it has left
    flame/JOB/to/RECEIVER/SENDER           what SENDER says to RECEIVER
    flame/JOB/gone/END                     the broker says so when END's connection breaks

A broker that lets a client write only under its own name as END and SENDER has settled who is who. What is lost,
doubled or reordered on the way is mended by sessions, so that everything goes with quality of service 0.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import secrets
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

from flame.backend.courier import Courier
from flame.backend.directory import Seat
from flame.backend.node import Node
from flame.backend.peer import Peer
from flame.backend.subscriber import Broker, Subscriber
from flame.backend.tcp import split
from flame.errors import ChannelError, DecodeError
from flame.wire import speech
from flame.wire.speech import MOST_BODY, MOST_HEAD, PREFIX, Head, encode, head_from

logger = logging.getLogger(__name__)

PORT, PORT_TLS = 1883, 8883
COME_BACK_WITHIN_S = 2.0
"""How long a peer whose connection to the broker broke has to be heard of again."""
MAC_BYTES = 16
GONE = "its connection to the broker has ended"


class Line:
    """What is said to one peer: a topic."""

    lossy = True

    def __init__(self, mqtt: Mqtt, end: str) -> None:
        self.alive = True
        self.greeted = False
        self.peer: object | None = None
        self.end = end
        self._mqtt = mqtt

    def send(self, head: Head, body: memoryview | None = None) -> None:
        """Say something; it is lost if the broker cannot be reached."""
        if self.alive:
            self._mqtt.say(self, head, body)

    def close(self, error: Exception | None = None) -> None:
        """Say nothing more."""
        self.alive = False
        self._mqtt.hang_up(self)


class Mqtt:
    """Finds peers through a broker. Everything but the constructor happens in the courier's thread.

    Args:
        node: what is said.
        courier: whose thread this is.
        broker: its host, or host:port.
        tls: wrap the connection; None for none.
        patience_s: how long the broker may be out of reach before the program is told.

    Raises:
        ChannelError: `broker` is no address.
    """

    def __init__(
        self, node: Node, courier: Courier, broker: str, tls: ssl.SSLContext | None = None, patience_s: float = 60.0
    ) -> None:
        try:
            host, port = split(broker or "localhost", PORT if tls is None else PORT_TLS)
        except ValueError as error:
            raise ChannelError(f"{broker!r} is no host:port: {error}") from error
        self._node, self._courier = node, courier
        self._root = f"flame/{_word(node.me.job)}"
        self._lines: dict[str, Line] = {}
        self._number = secrets.token_bytes(11)
        self._joined = 0
        self._known: set[str] = set()
        node.on_lost = lambda end, certain: None
        node.may_return = lambda end: end in self._known
        self._broker = Subscriber(
            self,
            courier,
            Broker(host, port, tls, node.me.silence_s, patience_s),
            self._number.hex(),
            self._gone_topic(node.me.end),
        )

    def announce(self, seats: Sequence[Seat], wants: Sequence[tuple[str, str, str]]) -> None:
        """Let others know of seats, and look for those whom they want to meet."""
        for channel, group, role in wants:
            self._broker.subscribe(f"{self._at(channel, group, role)}/+")
        for seat in seats:
            self._broker.publish(self._seat_topic(seat), b"1", retain=True)

    def say(self, line: Line, head: Head, body: memoryview | None) -> None:
        """Send something to a peer."""
        if not self._broker.connected:
            return
        data = encode(head)
        parts = [PREFIX.pack(len(data), 0 if body is None else body.nbytes), data, b"" if body is None else body]
        parts.append(self._mac(line, head.kind, parts))
        self._broker.publish(f"{self._root}/to/{_word(line.end)}/{_word(self._node.me.end)}", b"".join(parts))

    def hang_up(self, line: Line) -> None:
        """A peer is not spoken to any longer."""
        if self._lines.get(line.end) is line:
            del self._lines[line.end]
            if line.end not in self._known:
                self._broker.unsubscribe(self._gone_topic(line.end))

    def close(self) -> None:
        """Leave the broker; it does not say that this process is gone."""
        for seat in self._node.seats:
            self._broker.publish(self._seat_topic(seat), b"", retain=True)
        self._broker.close()

    # -- the broker: flame.backend.subscriber.Owner --------------------------------------------------------

    def joined(self) -> None:
        """There is a connection to the broker."""
        self._broker.subscribe(f"{self._root}/to/{_word(self._node.me.end)}/+")
        for end in self._lines:
            self._broker.subscribe(self._gone_topic(end))
        if not self._joined:
            self._to_self(Head(speech.BEAT, header=self._number))
        self._joined += 1
        self.announce(self._node.seats, self._node.wants)
        self._see_who_left()

    def listens(self) -> None:
        """Say something to oneself."""
        self._to_self(Head(speech.BEAT))

    def away(self) -> None:
        """Nothing comes of the broker."""
        self._node.pause()

    def back(self) -> None:
        """Something comes of the broker again."""
        self._node.resume()

    def failed(self, reason: str) -> None:
        """The broker is no longer called: nobody waits for what cannot come, nor for what nobody can hear."""
        self._node.fail(reason)
        for peer in list(self._node.peers.values()):
            self._node.forget(peer, reason)

    def came(self, topic: str, payload: bytes | bytearray) -> None:
        """The broker has passed something on."""
        words = topic.removeprefix(f"{self._root}/").split("/")
        if words[0] == "to" and len(words) == 3:
            self._said(unquote(words[2]), payload)
        elif words[0] == "at" and len(words) == 5:
            self._sits(unquote(words[4]), there=bool(payload))
        elif words[0] == "gone" and len(words) == 2:
            self._gone(unquote(words[1]))

    # -- what comes --------------------------------------------------------------------------------------

    def _see_who_left(self) -> None:
        """Those whose seats the broker does not name any longer have left while there was no connection to it."""
        before, joined = self._known.copy(), self._joined
        self._known.clear()

        def look() -> None:
            if joined == self._joined and self._broker.connected:
                for end in before - self._known:
                    self._node.ended(end, "it has left")

        self._courier.later(self._node.me.silence_s, look)

    def _to_self(self, head: Head) -> None:
        """Say something to every process of one's own name: there should be no other."""
        self.say(Line(self, self._node.me.end), head, None)

    def _from_self(self, payload: memoryview) -> None:
        """A process of one's own name has said something."""
        head, _ = self._opened(Line(self, self._node.me.end), payload)
        if head.kind == speech.BEAT and head.header not in (b"", self._number):
            self._to_self(Head(speech.REFUSED, header=head.header))
        elif head.kind == speech.REFUSED and head.header == self._number:
            self._node.fail(f"another process of this job runs as {self._node.me.end}")

    def _sits(self, end: str, *, there: bool) -> None:
        """Somebody whom this process has to meet is there, or has left."""
        if not there:
            self._known.discard(end)
        elif end != self._node.me.end:
            self._known.add(end)
            self._call(end)

    def _call(self, end: str) -> None:
        """Introduce oneself, unless one is about to: the node says it again until it is answered."""
        peer = self._node.peers.get(end)
        if end in self._known and (peer is None or not peer.links):
            self._node.greet(self._line(end), end)

    def _said(self, end: str, payload: bytes | bytearray) -> None:
        if end == self._node.me.end:
            with contextlib.suppress(DecodeError):
                self._from_self(memoryview(payload))
            return
        line = self._line(end)
        try:
            head, body = self._opened(line, memoryview(payload))
        except DecodeError as error:
            logger.info("what %s sent is passed over: %s", end, error)
            self._call(end)  # it may belong to a session that was given up here
            return
        if head.kind not in (speech.HELLO, speech.REFUSED) and not self._node.knows(line):
            self._call(end)
        try:
            self._node.progress(line)
            place = self._node.place_for(line, head, len(body)) if len(body) else None
            if place is not None:
                place[:] = body
            self._node.heard(line, head, bytes(body) if place is None else None)
        except DecodeError as error:
            logger.warning("%s sends nonsense and is not heard any longer: %s", end, error)
            peer = self._node.peers.get(end)
            if peer is not None:
                self._node.forget(peer, "it sent nonsense")

    def _opened(self, line: Line, payload: memoryview) -> tuple[Head, memoryview]:
        """A head and its body out of a message.

        Raises:
            DecodeError: it is none, or not of who it says it is of.
        """
        if len(payload) < PREFIX.size:
            raise DecodeError("a message without a head")
        head_bytes, body_bytes = PREFIX.unpack_from(payload)
        end = PREFIX.size + head_bytes + body_bytes
        if head_bytes > MOST_HEAD or body_bytes > MOST_BODY or len(payload) != end + MAC_BYTES:
            raise DecodeError("a message of another length than it says")
        head = head_from(payload[PREFIX.size : PREFIX.size + head_bytes])
        if head.kind == speech.HELLO and not self._from(line.end, head):
            raise DecodeError("it introduces itself as somebody else")
        if not hmac.compare_digest(bytes(payload[end:]), self._mac(line, head.kind, [payload[:end]], theirs=True)):
            raise DecodeError("it is of another session, or of somebody who does not know the job's token")
        return head, payload[PREFIX.size + head_bytes : end]

    def _from(self, end: str, head: Head) -> bool:
        return speech.hello_from(head.header).end == end

    def _mac(self, line: Line, kind: int, parts: Sequence[Any], *, theirs: bool = False) -> bytes:
        """What shows that a message belongs to the present session, and is from somebody who knows the token.

        Sessions need it without a token as well: what is still under way when one begins anew is not of the new one.
        """
        me, session = self._node.me, line.peer.session if isinstance(line.peer, Peer) else None
        ends = (line.end, me.end) if theirs else (me.end, line.end)
        numbers = (b"", b"")
        if session is not None and kind not in (speech.HELLO, speech.REFUSED):
            numbers = (session.theirs, session.number) if theirs else (session.number, session.theirs)
        words = b"".join(len(w).to_bytes(4, "big") + w for w in (*(end.encode() for end in ends), *numbers))
        mac = hashlib.blake2b(words, key=hashlib.sha256(me.token).digest(), digest_size=MAC_BYTES)
        for part in parts if me.token else ():
            mac.update(part)
        return mac.digest()

    def _line(self, end: str) -> Line:
        line = self._lines.get(end)
        if line is None:
            line = self._lines[end] = Line(self, end)
            self._broker.subscribe(self._gone_topic(end))
        return line

    def _gone(self, end: str) -> None:
        """The connection of somebody to the broker has broken; it has a moment to say that it is there again."""
        self._known.discard(end)
        peer = self._node.peers.get(end)
        last = None if peer is None else peer.last

        def look() -> None:
            if not self._broker.connected or self._node.peers.get(end) is not peer:
                return
            if peer is None and end not in self._known:
                self._node.ended(end, GONE)
            elif peer is not None and peer.last == last:
                self._node.forget(peer, GONE)

        self._courier.later(COME_BACK_WITHIN_S, look)

    # -- topics ------------------------------------------------------------------------------------------

    def _at(self, channel: str, group: str, role: str) -> str:
        return "/".join((self._root, "at", _word(channel), _word(group), _word(role)))

    def _gone_topic(self, end: str) -> str:
        return f"{self._root}/gone/{_word(end)}"

    def _seat_topic(self, seat: Seat) -> str:
        return f"{self._at(seat.channel, seat.group, seat.role)}/{_word(seat.end)}"


def _word(text: str) -> str:
    """One level of a topic."""
    return quote(text, safe="") or "%"
