"""`--set` of something that is no setting: what it proposes, and what it lists."""

from __future__ import annotations

from typing import Any

import pytest

from flame.config.override import override
from flame.errors import ConfigError


def refused(path: str, model: dict[str, Any] | None = None) -> str:
    """What is said of a path; nothing has been changed."""
    before = model or {}
    model = dict(before)
    with pytest.raises(ConfigError) as caught:
        override({}, model, {path: "3"})
    assert model == before
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("hyperparameters.rouds", "rounds"),
        ("hyperparameters.batchsize", "batchSize"),
        ("hyperparameters.learning_rat", "learningRate"),
        ("optimizer.srot", "sort"),
        ("optimiser.sort", "optimizer"),
        ("rounds", "hyperparameters.rounds"),
        ("batch_size", "hyperparameters.batchSize"),
    ],
)
def test_the_nearest_is_proposed(path: str, meant: str) -> None:
    assert f"(did you mean {meant}? there are: " in refused(path)


def test_nothing_is_proposed_for_what_is_like_nothing() -> None:
    assert "did you mean" not in refused("hyperparameters.xyzzy")


@pytest.mark.parametrize(
    ("content", "listed"),
    [
        ({}, "rounds epochs batchSize learningRate weightDecay aggGoal concurrency minPeers simulatedTime"),
        (
            {"batch_size": 4, "bins": 8, "aggGoal": 2},
            "rounds epochs batch_size learningRate weightDecay aggGoal concurrency minPeers simulatedTime bins",
        ),
        (
            {"batch_size": 4, "batchSize": 8},
            "rounds epochs batch_size learningRate weightDecay aggGoal concurrency minPeers simulatedTime",
        ),
    ],
)
def test_each_setting_is_listed_once_as_the_file_spells_it(content: dict[str, int], listed: str) -> None:
    said = refused("hyperparameters.xyzzy", {"hyperparameters": content})
    names = said.partition("there are: ")[2].rstrip(")").split(", ")
    assert names == [f"hyperparameters.{name}" for name in listed.split()]


@pytest.mark.parametrize("name", ["batch_size", "batchSize"])
def test_either_spelling_may_be_set(name: str) -> None:
    model: dict[str, Any] = {"hyperparameters": {"batch_size": 4}}
    override({}, model, {f"hyperparameters.{name}": "64"})
    assert model == {"hyperparameters": {name: 64}}
