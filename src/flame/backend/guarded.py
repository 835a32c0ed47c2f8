"""A TCP connection with TLS. A file of its own, so that processes without TLS do not load it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any

from flame.backend.courier import Courier
from flame.backend.credentials import Credentials
from flame.backend.directory import Seat
from flame.backend.tcp import READ, WRITE, Connection, Lines, Owner, split
from flame.backend.tls import admits, client_context, identity, server_context
from flame.errors import ChannelError


class Guarded(Connection):
    """A connection that is nobody else's business.

    Args:
        context: what to show and whom to believe.
        courier, sock, owner, address: as for any connection. The certificate of who was called has to be for the
            host in `address`.
    """

    _busy = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

    def __init__(
        self, context: ssl.SSLContext, courier: Courier, sock: socket.socket, owner: Owner, address: str = ""
    ) -> None:
        self._context = context
        super().__init__(courier, sock, owner, address)

    @property
    def certificate(self) -> Any:
        """The other side's certificate, as `ssl` reads it."""
        return self._sock.getpeercert() if isinstance(self._sock, ssl.SSLSocket) else None

    def _shake(self) -> bool:
        if not isinstance(self._sock, ssl.SSLSocket):
            self._courier.forget(self._sock)
            self._sock = self._context.wrap_socket(
                self._sock,
                server_side=not self.address,
                do_handshake_on_connect=False,
                server_hostname=split(self.address)[0] if self.address else None,
            )
            self._watched = 0
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(READ)
            return False
        except ssl.SSLWantWriteError:
            self._watch(WRITE)
            return False
        return True

    def _put(self) -> int:
        return self._sock.send(self._out[0])

    def _read(self) -> bool:
        more = super()._read()
        if more:
            # What has been decrypted already makes no socket readable.
            self._courier.call(self._ready, READ)
        return more


def lines(credentials: Credentials) -> Lines:
    """Connections that show a certificate and want to see one.

    Raises:
        ConfigError: a file is missing, cannot be read, or does not belong to the others.
    """
    return Lines(
        partial(Guarded, client_context(credentials)),
        partial(Guarded, server_context(credentials)),
        _admits,
    )


def _admits(link: Connection, job: str, end: str, seats: Sequence[Seat]) -> str:
    """Why whoever is at the other side may not be that worker on those seats; "" if its certificate says that it is."""
    try:
        who = identity(link.certificate)
    except ChannelError as error:
        return str(error)
    if who.end != end:
        return f"its certificate is not for {end}"
    return admits(who, job, seats)
