"""What a mechanism refuses to be combined with, and what an aggregator refuses to take in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flame.config import Config
from flame.engine.parts import privacy_of
from flame.errors import ConfigError, RecipeError, RunError
from flame.extend import BUILT_IN
from flame.mode.horizontal.asyncfl.middle_aggregator import MiddleAggregator as AsyncMiddle
from flame.mode.horizontal.middle_aggregator import MiddleAggregator
from flame.mode.horizontal.trainer import Trainer
from flame.mode.vertical.settings import check_split
from flame.optimizer import Trained
from flame.optimizer.fedavg import FedAvg
from flame.optimizer.halves import Silent
from flame.weights.layout import Weights

CHANNEL = {
    "name": "param-channel",
    "pair": ["trainer", "aggregator"],
    "groupBy": {"type": "tag", "value": ["default"]},
    "funcTags": {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]},
}
RING = {
    "name": "ring",
    "pair": ["trainer", "trainer"],
    "groupBy": {"type": "tag", "value": ["default"]},
    "funcTags": {"trainer": ["ring_allreduce"]},
}


def config(at: str = "trainer", channels: Any = (CHANNEL,), **more: Any) -> Config:
    return Config.from_dict(
        {
            "taskid": "a",
            "role": "trainer",
            "realm": "",
            "backend": "shm",
            "job": {"id": "j", "name": "j"},
            "brokers": [],
            "groupAssociation": {"param-channel": "default"},
            "channels": list(channels),
            "selector": {"sort": "default", "kwargs": {}},
            "privacy": {"sort": "dp", "kwargs": {"clip_threshold": 1, "noise_factor": 1, "at": at}},
            **more,
        }
    )


class Talkative(FedAvg):
    """An optimizer of which trainers send their number of samples beside the update."""

    name = "talkative"

    class Half(Silent):
        def finish(self, delta: Weights, trained: Trained, adapter: Any) -> dict[str, Any]:
            return {"samples": trained.samples}

    def __init__(self, **others: Any) -> None:
        super().__init__(**others)
        self.regularizer = self.Half()


class Heavy(FedAvg):
    """An optimizer that lets an update count twice."""

    def weigh(self, samples: int, staleness: int, said: Any) -> tuple[float, float]:
        return 2.0 * samples, float(samples)


def test_an_optimizer_whose_trainers_say_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN, ("optimizer", "talkative"), f"{__name__}:Talkative")
    settings = {"optimizer": {"sort": "talkative", "kwargs": {}}}
    with pytest.raises(RecipeError, match="optimizer talkative has trainers send more"):
        privacy_of(config(**settings))
    privacy_of(config(**settings, privacy={"sort": "default", "kwargs": {}}))


QUIET = {"fedprox": {"mu": 0.1}, "fedadam": {}, "fedper": {"personal": "head*"}, "ditto": {"lambda": 1}}
TALKATIVE = {"scaffold": {}, "feddyn": {"alpha": 0.1}, "fednova": {}, "qfedavg": {"q": 1, "eta": 0.1}}


@pytest.mark.parametrize("sort", QUIET)
@pytest.mark.parametrize("at", ["trainer", "server"])
def test_optimizers_whose_trainers_send_updates_alone_are_fine(sort: str, at: str) -> None:
    privacy_of(config(at, optimizer={"sort": sort, "kwargs": QUIET[sort]}))


@pytest.mark.parametrize("sort", TALKATIVE)
def test_optimizers_that_say_something_with_an_update_are_refused(sort: str) -> None:
    with pytest.raises(RecipeError, match=f"optimizer {sort} has trainers send more"):
        privacy_of(config(optimizer={"sort": sort, "kwargs": TALKATIVE[sort]}))


def test_a_model_that_is_split_is_refused() -> None:
    with pytest.raises(RecipeError, match="privacy"):
        check_split(config(hyperparameters={"batchSize": 4}))


def test_a_data_sampler_that_tells_of_the_samples_is_refused() -> None:
    with pytest.raises(RecipeError, match="datasampler fedbalancer"):
        privacy_of(config(datasampler={"sort": "fedbalancer", "kwargs": {}}))


def test_a_selector_that_looks_at_what_trainers_send_is_refused() -> None:
    with pytest.raises(RecipeError, match="selector oort may choose by what else trainers send"):
        privacy_of(config(selector={"sort": "oort", "kwargs": {}}))


def test_a_ring_of_trainers_is_refused() -> None:
    Trainer.check_config(config())
    with pytest.raises(RecipeError, match="channel ring joins trainers with each other"):
        Trainer.check_config(config(channels=(CHANNEL, RING)))


def test_weights_above_one_are_refused_at_the_server() -> None:
    central = privacy_of(config("server"))
    with pytest.raises(RecipeError, match="count for more than one"):
        central.check(config("server"), Heavy(), says_more=False)
    privacy_of(config()).check(config(), Heavy(), says_more=False)  # a trainer's own noise is there already


def test_an_asynchronous_tier_below_the_top_is_refused_at_the_server() -> None:
    for role in (MiddleAggregator, AsyncMiddle):
        role.check_config(config())
    MiddleAggregator.check_config(config("server"))
    with pytest.raises(RecipeError, match="asynchronous aggregator below the top"):
        AsyncMiddle.check_config(config("server"))


def test_an_update_that_was_not_clipped_alike_is_not_taken_in() -> None:
    central = privacy_of(config("server"))
    central.admit("site", dict(central.stamp))
    for extras in ({}, {"dp": {"clip": 2.0}}):
        with pytest.raises(RunError, match="an update of site was not clipped to 1"):
            central.admit("site", extras)


def test_an_update_whose_norm_is_no_number_is_not_sent() -> None:
    for at in ("trainer", "server"):
        update = Weights.pack({"w": np.array([np.inf, 1.0])})
        assert privacy_of(config(at)).outgoing(update, 5) == (None, 0)


def test_a_mechanism_that_needs_what_is_not_there_says_so() -> None:
    with pytest.raises(ConfigError, match="noise_multiplier: dpsgd needs it"):
        privacy_of(config(privacy={"sort": "dpsgd", "kwargs": {}}))
