"""Computes and their deployments."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from flame.api.bodies import read, reply, states
from flame.api.requests import Content, unimplemented
from flame.control.plane import Control
from flame.control.records import ComputeSpec

Key = Annotated[str, Header(alias="X-API-KEY")]


def routes(control: Control) -> APIRouter:
    """`/computes…`."""
    router, computes = APIRouter(prefix="/computes"), control.computes

    @router.post("")
    def register(body: Content) -> Response:
        return reply(computes.register(read(body, ComputeSpec)), 201)

    @router.get("")
    def get_all(adminId: str = "") -> Response:
        if not adminId:
            return reply("query.adminId: field required", 400)
        return reply(computes.all(adminId))

    @router.get("/{compute}/deployments/{job}/config")
    def deployment(compute: str, job: str, key: Key = "") -> Response:
        return reply(computes.deployment(compute, job, key))

    @router.put("/{compute}/deployments/{job}/status")
    def report(compute: str, job: str, body: Content, key: Key = "") -> Response:
        computes.report(compute, job, key, states(body))
        return reply(None)

    unimplemented(
        router,
        *(f"{method} /{{compute}}" for method in ("GET", "PUT", "DELETE")),
        *(f"GET /{{compute}}/{what}" for what in ("config", "deployments", "deployments/{job}/status")),
    )
    return router
