"""The application: the routes, and how errors are told.

An error's body is a JSON string, as upstream's; its code is the one that upstream's API documents, where upstream's
server answers 500.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException

from flame.api import agents, computes, datasets, designs, jobs
from flame.api.bodies import Missing, reply
from flame.api.guard import Guard
from flame.control.plane import Control
from flame.errors import ConfigError, FlameError, NotAllowed, NotFound, Refused, TagError

log = logging.getLogger(__name__)

CODES: tuple[tuple[type[FlameError], int], ...] = (
    (NotFound, 404),
    (Refused, 409),
    (NotAllowed, 403),
    (Missing, 422),
    (ConfigError, 400),
    (FlameError, 500),
)


def make_app(control: Control, hosts: Collection[str] = ()) -> FastAPI:
    """The API over a control plane.

    Args:
        control: what it is about.
        hosts: the names that the server is known by; none for any.
    """
    app = FastAPI(title="Flame", docs_url=None, redoc_url=None, openapi_url=None)
    for room in (designs, datasets, jobs, agents, computes):
        app.include_router(room.routes(control))
    app.add_middleware(Guard, hosts=hosts)
    for kind, code in CODES:
        app.add_exception_handler(kind, _told(code))
    app.add_exception_handler(TagError, lambda _, error: reply(str(error), 400 if _unreadable(error) else 422))
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _no_route_or_body)
    app.add_exception_handler(DataError, lambda *_: reply("a value cannot be stored", 400))
    app.add_exception_handler(SQLAlchemyError, _no_store)
    app.add_exception_handler(Exception, lambda *_: reply("internal error", 500))
    return app


def _told(code: int) -> Callable[[Request, Exception], Response]:
    return lambda _, error: reply(str(error), code)


def _unreadable(error: Exception) -> bool:
    """Whether a schema is not even one: of another form, rather than one that makes no sense."""
    return any(getattr(found, "invariant", "") in ("shape", "unknown-key") for found in getattr(error, "findings", ()))


def _bad_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    return reply(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}", 400)


def _no_store(request: Request, error: Exception) -> Response:
    log.error("%s %s: %s", request.method, request.url.path, error)
    return reply("db connection error", 500)


def _no_route_or_body(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: a path or a method that there is not, a form that cannot be read."""
    assert isinstance(error, HTTPException)
    unknown = error.status_code in (404, 405)
    return reply(f"there is no {request.method} {request.url.path}" if unknown else error.detail, error.status_code)
