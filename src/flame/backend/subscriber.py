"""A client of an MQTT broker, in the courier's thread: calls it again and again, and notices when nothing comes of it.

A connection to a broker that has stopped, or to whose host the cable is cut, stays for a long time. So the broker is
had say something all the time; while it does not, nothing is known of anybody.
"""

from __future__ import annotations

import logging
import selectors
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from flame.backend.courier import Courier

logger = logging.getLogger(__name__)

CALL_AGAIN_AFTER_S = 0.5
CONNECT_WITHIN_S = 3.0
SAY_SO_EVERY_S = 10.0

QUICK = getattr(socket, "TCP_QUICKACK", None)
"""Brokers write small packets with Nagle's algorithm: each waits for the one before to be acknowledged, which the
kernel would put off by 40 ms."""

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
FINE = (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN)


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and how long it may be silent.

    Attributes:
        host, port: where.
        tls: wraps the connection; None for none.
        silence_s: after half of it without anything, the broker counts as away.
        patience_s: after so long without anything, that is an error.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    silence_s: float
    patience_s: float


class Owner(Protocol):
    """Whoever talks by way of the broker."""

    def joined(self) -> None:
        """A connection has been made: whatever was subscribed to has to be once more."""

    def listens(self) -> None:
        """Have the broker say something: whatever comes shows that it is there."""

    def away(self) -> None:
        """Nothing comes of the broker."""

    def back(self) -> None:
        """Something comes of it again."""

    def came(self, topic: str, payload: bytes | bytearray) -> None:
        """A message has come."""

    def failed(self, reason: str) -> None:
        """The broker refuses, or has been out of reach for too long."""


class Subscriber:
    """One connection after the other to one broker. Everything but the constructor happens in the courier's thread.

    Args:
        owner: is told what happens.
        courier: whose thread this is.
        broker: which one.
        name: what the broker knows this client by.
        will: the topic on which it says that the connection has broken.

    Attributes:
        connected: whether the broker has taken the connection.
    """

    def __init__(self, owner: Owner, courier: Courier, broker: Broker, name: str, will: str) -> None:
        self.connected = False
        self._owner, self._courier, self._broker = owner, courier, broker
        self._closed = self._away = False
        self._silent_s = 0.0
        self._looked = self._complained = time.monotonic()
        self._watched: Any = None
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv311)
        self._client.connect_timeout = CONNECT_WITHIN_S
        self._client.max_queued_messages_set(0)
        self._client.will_set(will, b"1", 0)
        if broker.tls is not None:
            self._client.tls_set_context(broker.tls)
        self._client.on_connect = self._on_connect
        self._client.on_message = lambda client, data, message: owner.came(message.topic, message.payload)
        courier.call(self._connect)
        courier.call(self._keep)
        courier.call(self._listen)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send something; it is lost if the broker cannot be reached."""
        if self.connected:
            self._client.publish(topic, payload, 0, retain=retain)
            self._after()

    def subscribe(self, topic: str) -> None:
        """Have something sent, until the connection ends."""
        if self.connected:
            self._client.subscribe(topic, 0)
            self._after()

    def unsubscribe(self, topic: str) -> None:
        """Have it sent no longer."""
        if self.connected:
            self._client.unsubscribe(topic)
            self._after()

    def close(self) -> None:
        """Leave the broker; it does not say that this client is gone."""
        self._closed = True
        if self.connected:
            self._client.disconnect()
        self._forget_socket()
        sock: Any = self._client.socket()
        if sock is not None:
            sock.close()  # one that the broker has not confirmed, or that does not take any more

    # -- the connection ----------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Call the broker, again and again."""
        if self._closed or self._client.socket() is not None:
            return
        broker = self._broker
        try:
            self._client.connect(broker.host, broker.port, keepalive=max(4, int(broker.silence_s)))
        except (OSError, ValueError) as error:
            self._call_again(str(error))
            return
        self._after()

    def _call_again(self, why: str) -> None:
        now = time.monotonic()
        if now - self._complained > SAY_SO_EVERY_S:
            self._complained = now
            logger.warning("%s does not answer (%s); it is called again", self._place, why)
        self._courier.later(CALL_AGAIN_AFTER_S, self._connect)

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._owner.failed(f"{self._place} refuses this worker: {reason}")
            return
        self.connected = True
        self._owner.joined()

    def _lost(self, why: str) -> None:
        self._forget_socket()
        self.connected = False
        self._is_away()
        self._call_again(why)

    def _keep(self) -> None:
        """Keep the connection alive, and notice when it is not."""
        if self._closed:
            return
        if self._client.socket() is not None:
            self._client.loop_misc()
        self._after()
        self._courier.later(1.0, self._keep)

    def _listen(self) -> None:
        """See whether anything comes; time in which this process did not run itself counts for little."""
        if self._closed:
            return
        now, broker = time.monotonic(), self._broker
        every_s = min(broker.silence_s, broker.patience_s) / 8
        self._silent_s += min(now - self._looked, CONNECT_WITHIN_S + every_s)
        self._looked = now
        if self._silent_s > broker.patience_s:
            self._owner.failed(f"{self._place} has not answered for {broker.patience_s:g} s")
            return
        if self._silent_s >= broker.silence_s / 2:
            self._is_away()
        if self.connected:
            self._owner.listens()
        self._courier.later(every_s, self._listen)

    def _is_away(self) -> None:
        if not self._away:
            self._away = True
            self._owner.away()

    def _is_there(self) -> None:
        self._silent_s = 0.0
        if self._away and self.connected:
            self._away = False
            self._owner.back()

    def _after(self) -> None:
        """Watch the client's socket for what it waits for."""
        if self._closed:
            return
        sock: Any = self._client.socket()
        if sock is None:
            if self._watched is not None:
                self._lost("the connection has ended")  # the client has closed it while it wrote
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
            if code in FINE:
                self._is_there()
        if events & WRITE and code == MQTTErrorCode.MQTT_ERR_SUCCESS and self._client.socket() is not None:
            code = self._client.loop_write()
        if code not in FINE and self._watched is not None:
            self._lost(paho.error_string(code))
        else:
            self._after()

    @property
    def _place(self) -> str:
        return f"the broker at {self._broker.host}:{self._broker.port}"
