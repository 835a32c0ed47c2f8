"""What the routes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from flame.api.bodies import reply

T = TypeVar("T")


async def _body_of(request: Request) -> bytes:
    return await request.body()


Content = Annotated[bytes, Depends(_body_of)]
"""A request's body, as it came."""

Limit = Annotated[int, Query(ge=0, lt=2**31)]
"""At most how many are told of; 0 for all."""


def first(rows: Sequence[T], limit: int) -> Response:
    """A list, up to a limit."""
    return reply(rows[: limit or None])


def unimplemented(router: APIRouter, *routes: str) -> None:
    """Answer as upstream does for what it has in its documents only; a route is `GET /path`."""
    for route in routes:
        method, path = route.split()

        @router.api_route(path, methods=[method])
        def refuse(request: Request) -> Response:
            return reply(f"{request.method} {request.url.path} is not implemented", 501)
