"""What every request passes before it is looked at: its size, where it comes from, how its path is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.exceptions import HTTPException

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BYTES = 32 << 20
"""The largest request: code and all."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


TOO_LARGE = f"a request has at most {MAX_BYTES} bytes"


class Guard:
    """Refuses requests that are too large, and those that a web page of somebody else made a browser send.

    A server on this machine answers only to names of this machine, so that no page from elsewhere can be made to
    look like it (DNS rebinding), and to no request whose `Origin` is not itself.

    Args:
        app: what comes behind.
        hosts: the names that it is known by; none for any.
    """

    def __init__(self, app: Application, hosts: Collection[str] = ()) -> None:
        self._app, self._hosts = app, frozenset(f"[{host}]" if ":" in host else host for host in hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if problem := self._foreign(headers):
            await _refuse(send, 403, problem)
            return
        if int(headers.get("content-length", "0") or 0) > MAX_BYTES:
            await _refuse(send, 413, TOO_LARGE)
            return
        # Clients ask for lists with a slash at the end.
        path = scope["path"].rstrip("/") or "/"
        await self._app({**scope, "path": path}, _Counted(receive), send)

    def _foreign(self, headers: dict[str, str]) -> str:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self._hosts and name not in self._hosts:
            return f"this server is not {name!r}"
        origin = headers.get("origin")
        return f"requests of {origin} are not answered" if origin and urlsplit(origin).netloc != host else ""


class _Counted:
    """What is received, up to the limit: a body sent in chunks says nothing of its size."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._left = receive, MAX_BYTES

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, TOO_LARGE)  # which the reader of a form lets through
        return message


async def _refuse(send: Send, status: int, problem: str) -> None:
    content = msgspec.json.encode(problem)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
