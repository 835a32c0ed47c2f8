"""Where programs run, over every network; what roles say in one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from two_weights import Said, tapped
from upstream import Machine, meeting_point


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs leave signs in the folder that they are started in: never in the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["shm", "p2p", "mqtt"])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    before = set(os.listdir("/dev/shm"))
    with meeting_point(request.param, tmp_path) as address:
        machine = Machine(tmp_path, request.param, address)
        yield machine
        machine.close()
    left = set(os.listdir("/dev/shm")) - before
    assert not {name for name in left if not name.startswith("tmp")}  # those are others'


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Said]:
    """Every update that is taken from a channel, as it was sent."""
    return tapped(monkeypatch)
