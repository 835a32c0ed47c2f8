"""A program of an algorithm with a protocol of its own is killed at a random moment, over a network."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import references
from test_all_examples import BIAS_TAGS, optimizer
from upstream import Machine, channel, config, finished, until

pytestmark = pytest.mark.timeout(240)  # three processes that import torch at the same time


def kill(process: Any, what: Any, within_s: float) -> None:
    """Once it has begun, at any moment of that time."""
    until(what, "it has begun", within_s=90)
    time.sleep(random.SystemRandom().uniform(0, within_s))
    process.kill()


def ok(process: Any) -> Any:
    status, said, err = finished(process, within_s=90)
    assert status == 0, err
    return said


@pytest.mark.parametrize("machine", ["mqtt"], indirect=True)
def test_the_bias_is_that_of_whoever_is_left(machine: Machine) -> None:
    """FedGFT takes two steps a round; the one who is killed may leave between them."""
    param, groups = channel("param-channel", BIAS_TAGS), {"param-channel": "default"}
    fedgft = optimizer("fedgft", fair="SP", gamma=10, reg="l2")
    more: dict[str, Any] = {"hyper": {**references.HYPER, "rounds": 60}, **fedgft}
    top = machine.start("fedgft_aggregator", config("aggregator", [param], groups, **more), "top")
    stays, goes = (
        machine.start("fedgft_trainer", config("trainer", [param], groups, dataset=url, **more), name)
        for name, url in zip(("stays", "goes"), references.saved(machine.folder / "data"), strict=True)
    )
    kill(goes, machine.sign("goes", "round-3").exists, within_s=0.2)
    biases, own = ok(top), ok(stays)
    assert len(biases) == len(own) == 60
    assert biases[-1] == pytest.approx(own[-1], abs=1e-6)
    assert biases[0] != pytest.approx(own[0], abs=1e-3)
