"""Datasets."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Response

from flame.api.bodies import read, reply
from flame.api.requests import Content, Limit, first, unimplemented
from flame.control.plane import Control
from flame.control.records import Dataset


def routes(control: Control) -> APIRouter:
    """`/datasets` and `/users/{user}/datasets…`."""
    router, datasets = APIRouter(), control.datasets

    @router.get("/datasets")
    def public(limit: Limit = 0) -> Response:
        return first(datasets.all(None), limit)

    @router.get("/users/{user}/datasets")
    def get_all(user: str, limit: Limit = 0) -> Response:
        return first(datasets.all(user), limit)

    @router.post("/users/{user}/datasets")
    def create(user: str, body: Content) -> Response:
        made = datasets.create(user, read(body, Dataset))
        # Upstream's server encodes what is JSON already, and its client decodes once and prints the quotes.
        return reply(msgspec.json.encode(made).decode(), 201)

    @router.put("/users/{user}/datasets/{dataset}")
    def update(user: str, dataset: str, body: Content) -> Response:
        datasets.update(user, dataset, read(body, Dataset))
        return reply(None)

    @router.delete("/users/{user}/datasets/{dataset}")
    def delete(user: str, dataset: str) -> Response:
        datasets.delete(user, dataset)
        return reply(f"{dataset} dataset deleted")

    unimplemented(router, "GET /users/{user}/datasets/{dataset}")
    return router
