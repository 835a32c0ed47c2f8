"""Designs, their schemas and their code."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Response

from flame.api.bodies import Missing, parse, read, reply
from flame.api.requests import Content, Limit, first, unimplemented
from flame.control.plane import Control
from flame.control.records import DesignInfo
from flame.errors import ConfigError

REQUIRED = ("name", "roles", "channels")


def routes(control: Control) -> APIRouter:
    """`/users/{user}/designs…`."""
    router, designs = APIRouter(prefix="/users/{user}/designs"), control.designs

    @router.post("")
    def create(user: str, body: Content) -> Response:
        designs.create(user, read(body, DesignInfo))
        return reply(None, 201)

    @router.get("")
    def get_all(user: str, limit: Limit = 0) -> Response:
        return first(designs.all(user), limit)

    @router.get("/{design}")
    def get(user: str, design: str) -> Response:
        return reply(designs.get(user, design))

    @router.put("/{design}")
    def update(user: str, design: str, body: Content) -> Response:
        designs.update(user, design, read(body, DesignInfo))
        return reply(None)

    @router.delete("/{design}")
    def delete(user: str, design: str, forceDelete: bool = False) -> Response:
        designs.delete(user, design, force=forceDelete)
        return reply(f"{design} design deleted")

    _schema(router, control)
    _code(router, control)
    return router


def _schema(router: APIRouter, control: Control) -> None:
    designs = control.designs

    def put(user: str, design: str, body: bytes) -> None:
        content = parse(body)
        if not isinstance(content, dict):
            raise ConfigError("body", "is not a JSON object")
        for key in REQUIRED if "template" not in content else ():
            if not content.get(key):
                raise Missing(f"required field '{key}' is zero value.")
        designs.set_schema(user, design, {key: item for key, item in content.items() if item is not None})

    @router.post("/{design}/schema")
    def create(user: str, design: str, body: Content) -> Response:
        put(user, design, body)
        return reply(None, 201)

    @router.put("/{design}/schema")
    def update(user: str, design: str, body: Content) -> Response:
        put(user, design, body)
        return reply(None)

    @router.get("/{design}/schema")
    def get(user: str, design: str) -> Response:
        return reply(designs.schema(user, design))

    @router.delete("/{design}/schema")
    def delete(user: str, design: str) -> Response:
        designs.delete_schema(user, design)
        return reply(None)


def _code(router: APIRouter, control: Control) -> None:
    designs = control.designs

    @router.post("/{design}/code")
    def create(
        user: str,
        design: str,
        fileName: Annotated[str, Form()],
        fileData: Annotated[bytes, File()],
    ) -> Response:
        designs.set_code(user, design, fileData)  # its name is upstream's to ask for, and says nothing
        return reply(None, 201)

    @router.get("/{design}/code")
    def get(user: str, design: str) -> Response:
        return Response(designs.code(user, design), media_type="application/zip")

    @router.delete("/{design}/code")
    def delete(user: str, design: str) -> Response:
        designs.delete_code(user, design)
        return reply(None)

    @router.get("/{design}/code/revision")
    def revision(user: str, design: str) -> Response:
        return reply({"revision": designs.code_revision(user, design)})

    unimplemented(router, "PUT /{design}/code")
