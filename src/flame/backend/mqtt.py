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
import selectors
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from flame.backend.courier import Courier
from flame.backend.directory import Seat
from flame.backend.node import Node
from flame.backend.peer import Peer
from flame.backend.tcp import split
from flame.errors import ChannelError, DecodeError
from flame.wire import speech
from flame.wire.speech import MOST_BODY, MOST_HEAD, PREFIX, Head, encode, head_from

logger = logging.getLogger(__name__)

PORT, PORT_TLS = 1883, 8883
CALL_AGAIN_AFTER_S = 0.5
COME_BACK_WITHIN_S = 2.0
"""How long a peer whose connection to the broker broke has to be heard of again."""
CONNECT_WITHIN_S = 3.0
MAC_BYTES = 16
GONE = "its connection to the broker has ended"

QUICK = getattr(socket, "TCP_QUICKACK", None)
"""Brokers write small packets with Nagle's algorithm: each waits for the one before to be acknowledged, which the
kernel would put off by 40 ms."""

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


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
            self._host, self._port = split(broker or "localhost", PORT if tls is None else PORT_TLS)
        except ValueError as error:
            raise ChannelError(f"{broker!r} is no host:port: {error}") from error
        self._node, self._courier, self._patience_s = node, courier, patience_s
        self._root = f"flame/{_word(node.me.job)}"
        self._lines: dict[str, Line] = {}
        self._connected = self._closed = False
        self._since = self._complained = time.monotonic()
        self._watched: Any = None
        self._number = secrets.token_bytes(11)
        self._alone = False
        self._client = self._made(tls)
        self._known: set[str] = set()
        node.on_lost = lambda end, certain: None
        node.may_return = lambda end: end in self._known
        courier.call(self._connect)
        courier.call(self._keep)

    def announce(self, seats: Sequence[Seat], wants: Sequence[tuple[str, str, str]]) -> None:
        """Let others know of seats, and look for those whom they want to meet."""
        if not self._connected:
            return  # everything is announced once it is
        for channel, group, role in wants:
            self._client.subscribe(f"{self._at(channel, group, role)}/+", 0)
        for seat in seats:
            self._client.publish(self._seat_topic(seat), b"1", 0, retain=True)
        self._after()

    def say(self, line: Line, head: Head, body: memoryview | None) -> None:
        """Send something to a peer."""
        if not self._connected:
            return
        data = encode(head)
        parts = [PREFIX.pack(len(data), 0 if body is None else body.nbytes), data, b"" if body is None else body]
        if self._node.me.token:
            parts.append(self._mac(line, head.kind, parts))
        self._client.publish(f"{self._root}/to/{_word(line.end)}/{_word(self._node.me.end)}", b"".join(parts), 0)
        self._after()

    def hang_up(self, line: Line) -> None:
        """A peer is not spoken to any longer."""
        if self._lines.get(line.end) is line:
            del self._lines[line.end]
            if self._connected and line.end not in self._known:
                self._client.unsubscribe(f"{self._root}/gone/{_word(line.end)}")

    def close(self) -> None:
        """Leave the broker; it does not say that this process is gone."""
        self._closed = True
        if self._connected:
            for seat in self._node.seats:
                self._client.publish(self._seat_topic(seat), b"", 0, retain=True)
            self._client.disconnect()
        self._forget_socket()

    # -- the broker ------------------------------------------------------------------------------------

    def _made(self, tls: ssl.SSLContext | None) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._number.hex(),
            protocol=paho.MQTTv311,
        )
        client.connect_timeout = CONNECT_WITHIN_S
        client.max_queued_messages_set(0)
        client.will_set(f"{self._root}/gone/{_word(self._node.me.end)}", b"1", 0)
        if tls is not None:
            client.tls_set_context(tls)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        return client

    def _connect(self) -> None:
        """Call the broker, again and again."""
        if self._closed or self._client.socket() is not None:
            return
        try:
            self._client.connect(self._host, self._port, keepalive=max(4, int(self._node.me.silence_s)))
        except (OSError, ValueError) as error:
            self._unreachable(str(error))
            return
        self._after()

    def _unreachable(self, why: str) -> None:
        now = time.monotonic()
        place = f"the broker at {self._host}:{self._port}"
        if now - self._since > self._patience_s:
            self._node.fail(f"{place} has not answered for {self._patience_s:g} s ({why})")
            return
        if now - self._complained > 10:
            self._complained = now
            logger.warning("%s does not answer (%s); it is called again", place, why)
        self._courier.later(CALL_AGAIN_AFTER_S, self._connect)

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._node.fail(f"the broker at {self._host}:{self._port} refuses this worker: {reason}")
            return
        self._connected = True
        me = self._node.me
        client.subscribe(f"{self._root}/to/{_word(me.end)}/+", 0)
        for end in {*self._lines, *self._known}:
            client.subscribe(f"{self._root}/gone/{_word(end)}", 0)
        if not self._alone:
            self._alone = True
            self._to_self(Head(speech.BEAT, header=self._number))
        self.announce(self._node.seats, self._node.wants)
        self._node.resume()

    def _to_self(self, head: Head) -> None:
        """Say something to every process of one's own name: there should be no other."""
        me = Line(self, self._node.me.end)
        self.say(me, head, None)

    def _from_self(self, payload: memoryview) -> None:
        """A process of one's own name has said something."""
        head, _ = self._opened(Line(self, self._node.me.end), payload)
        if head.kind == speech.BEAT and head.header != self._number:
            self._to_self(Head(speech.REFUSED, header=head.header))
        elif head.kind == speech.REFUSED and head.header == self._number:
            self._node.fail(f"another process of this job runs as {self._node.me.end}")

    def _lost_broker(self, why: str) -> None:
        if self._connected:
            self._connected = False
            self._since = time.monotonic()
            self._node.pause()
        self._forget_socket()
        self._unreachable(why)

    def _keep(self) -> None:
        """Keep the connection alive, and notice when it is not."""
        if self._closed:
            return
        if self._client.socket() is not None:
            code = self._client.loop_misc()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lost_broker(paho.error_string(code))
        self._courier.later(1.0, self._keep)
        self._after()

    def _after(self) -> None:
        """Watch the client's socket for what it waits for."""
        sock: Any = self._client.socket()
        if sock is None or self._closed:
            return
        if sock is not self._watched:
            self._forget_socket()
            self._watched = sock
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._courier.watch(sock, READ | (WRITE if self._client.want_write() else 0), self._ready)

    def _forget_socket(self) -> None:
        if self._watched is not None:
            self._courier.forget(self._watched)
            self._watched = None

    def _ready(self, events: int) -> None:
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        if events & READ:
            sock: Any = self._client.socket()
            if sock is not None and QUICK is not None:
                sock.setsockopt(socket.IPPROTO_TCP, QUICK, 1)
            code = self._client.loop_read()
            sock = self._client.socket()
            while code == MQTTErrorCode.MQTT_ERR_SUCCESS and isinstance(sock, ssl.SSLSocket) and sock.pending():
                code = self._client.loop_read()  # what has been decrypted makes no socket readable
        if events & WRITE and code == MQTTErrorCode.MQTT_ERR_SUCCESS and self._client.socket() is not None:
            code = self._client.loop_write()
        if code not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            self._lost_broker(paho.error_string(code))
        else:
            self._after()

    # -- what comes --------------------------------------------------------------------------------------

    def _on_message(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        words = message.topic.removeprefix(f"{self._root}/").split("/")
        if words[0] == "to" and len(words) == 3:
            self._said(unquote(words[2]), message.payload)
        elif words[0] == "at" and len(words) == 5:
            self._sits(unquote(words[4]), there=bool(message.payload))
        elif words[0] == "gone" and len(words) == 2:
            self._gone(unquote(words[1]))

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
            self._node.heard(line, head, bytes(body) if len(body) and place is None else None)
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
        signed = MAC_BYTES if self._node.me.token else 0
        if head_bytes > MOST_HEAD or body_bytes > MOST_BODY or len(payload) != end + signed:
            raise DecodeError("a message of another length than it says")
        head = head_from(payload[PREFIX.size : PREFIX.size + head_bytes])
        if head.kind == speech.HELLO and not self._from(line.end, head):
            raise DecodeError("it introduces itself as somebody else")
        if signed and not hmac.compare_digest(
            bytes(payload[end:]), self._mac(line, head.kind, [payload[:end]], theirs=True)
        ):
            raise DecodeError("it does not know the job's token")
        return head, payload[PREFIX.size + head_bytes : end]

    def _from(self, end: str, head: Head) -> bool:
        return speech.hello_from(head.header).end == end

    def _mac(self, line: Line, kind: int, parts: Sequence[Any], *, theirs: bool = False) -> bytes:
        """What shows that a message is from somebody who knows the token, and belongs to the present session."""
        me, session = self._node.me, line.peer.session if isinstance(line.peer, Peer) else None
        ends = (line.end, me.end) if theirs else (me.end, line.end)
        numbers = (b"", b"")
        if session is not None and kind not in (speech.HELLO, speech.REFUSED):
            numbers = (session.theirs, session.number) if theirs else (session.number, session.theirs)
        words = b"".join(len(w).to_bytes(4, "big") + w for w in (*(end.encode() for end in ends), *numbers))
        mac = hashlib.blake2b(words, key=hashlib.sha256(me.token).digest(), digest_size=MAC_BYTES)
        for part in parts:
            mac.update(part)
        return mac.digest()

    def _line(self, end: str) -> Line:
        line = self._lines.get(end)
        if line is None:
            line = self._lines[end] = Line(self, end)
            self._client.subscribe(f"{self._root}/gone/{_word(end)}", 0)
            self._after()
        return line

    def _gone(self, end: str) -> None:
        """The connection of somebody to the broker has broken; it has a moment to say that it is there again."""
        self._known.discard(end)
        peer = self._node.peers.get(end)
        last = None if peer is None else peer.last

        def look() -> None:
            if not self._connected or self._node.peers.get(end) is not peer:
                return
            if peer is None and end not in self._known:
                self._node.ended(end, GONE)
            elif peer is not None and peer.last == last:
                self._node.forget(peer, GONE)

        self._courier.later(COME_BACK_WITHIN_S, look)

    # -- topics ------------------------------------------------------------------------------------------

    def _at(self, channel: str, group: str, role: str) -> str:
        return "/".join((self._root, "at", _word(channel), _word(group), _word(role)))

    def _seat_topic(self, seat: Seat) -> str:
        return f"{self._at(seat.channel, seat.group, seat.role)}/{_word(seat.end)}"


def _word(text: str) -> str:
    """One level of a topic."""
    return quote(text, safe="") or "%"
