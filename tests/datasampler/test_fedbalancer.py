"""FedBalancer, against its paper on small cases."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from flame.datasampler.fedbalancer import FedBalancer
from flame.errors import ConfigError, RunError
from flame.extend import lookup


class Durations:
    """A channel that knows how long each trainer took."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds

    def get_end_property(self, end: str, key: str) -> object:
        assert key == "round_duration"
        return self.seconds.get(end)


class Same(nn.Module):
    """Says the first feature."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0]


def loss_fn(output: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    return functional.l1_loss(output, target, reduction=reduction)


def trainer(losses: list[float], **kwargs: Any) -> tuple[Any, Any]:
    """A trainer's half and its dataset, in which the model loses so much."""
    half = FedBalancer(**{"epochs": 1, "batchSize": 2, **kwargs}).trainer_data_sampler
    half.batch_s = 1.0
    features = torch.tensor(losses, dtype=torch.float64).reshape(-1, 1)
    return half, half.load_dataset(TensorDataset(features, torch.zeros(len(losses), dtype=torch.float64)))


def sampled(half: Any, dataset: Any) -> list[int]:
    return [index for _, _, index in half.sample(dataset, loss_fn=loss_fn, model=Same(), device="cpu")]


def said(low: float = 0.0, high: float = 1.0, total: float = 1.0, size: float = 1.0, epoch: float = 1.0) -> dict:
    return {
        "loss_low": low,
        "loss_high": high,
        "selected_loss_sum": total,
        "selected_len": size,
        "epoch_train_duration": epoch,
    }


# -- the trainer's half --------------------------------------------------------------------------------


def test_at_first_everything_is_trained_on() -> None:
    half, dataset = trainer([1.0, 2.0, 3.0])
    assert half.get_metadata() == {}
    assert sampled(half, dataset) == [0, 1, 2]
    assert half.get_metadata() == {
        "loss_low": 1.0,
        "loss_high": pytest.approx(2.6),
        "selected_loss_sum": 6.0,
        "selected_len": 3.0,
        "epoch_train_duration": 2.0,
    }


def test_no_more_is_trained_on_than_fits_into_the_deadline() -> None:
    """deadline / (epochs · a batch's seconds) batches, less one that is not full."""
    half, dataset = trainer([float(number) for number in range(20)])
    half.handle_metadata_from_aggregator({"loss_threshold": 15.0, "deadline": 5.0})
    chosen = sampled(half, dataset)
    assert len(chosen) == int((5.0 / 1.0 - 1) * 2 - 1) == 7
    assert {15, 16, 17, 18, 19} <= set(chosen)


def test_those_at_or_above_the_threshold_come_first() -> None:
    half, dataset = trainer([float(number) for number in range(20)])
    half.handle_metadata_from_aggregator({"loss_threshold": 12.0, "deadline": 3.0})
    assert sampled(half, dataset) == list(range(12, 20))


def test_a_share_of_them_may_have_little_loss() -> None:
    half, dataset = trainer([float(number) for number in range(20)], p=0.75)
    half.handle_metadata_from_aggregator({"loss_threshold": 12.0, "deadline": 3.0})
    chosen = sampled(half, dataset)
    assert len(chosen) == 8 and sum(index < 12 for index in chosen) == 2


@given(
    losses=st.lists(st.floats(0, 10), min_size=1, max_size=30),
    threshold=st.floats(0, 12),
    deadline=st.floats(0.1, 40),
    p=st.floats(0, 1),
)
def test_samples_are_never_asked_for_twice_or_beyond_the_pool(
    losses: list[float], threshold: float, deadline: float, p: float
) -> None:
    half, dataset = trainer(losses, p=p)
    half.handle_metadata_from_aggregator({"loss_threshold": threshold, "deadline": deadline})
    chosen = sampled(half, dataset)
    assert 1 <= len(chosen) == len(set(chosen)) <= len(losses)
    assert half.get_metadata()["selected_len"] == len(chosen)


def test_a_batch_loses_its_mean_and_what_each_sample_lost_is_noted() -> None:
    """The statistical utility is that of the samples at or above the threshold."""
    half, dataset = trainer([5.0, 5.0, 5.0, 5.0])
    half.handle_metadata_from_aggregator({"loss_threshold": 2.0, "deadline": math.inf})
    sampled(half, dataset)
    half.reset_stat_utility()
    now = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    for epoch in (1, 2):
        loss = half.fb_loss(loss_fn, now * epoch, torch.zeros(4), epoch, torch.arange(4))
        assert loss.item() == 2.5 * epoch
        half.normalize_stat_utility(epoch)
    loss.backward()
    assert now.grad.tolist() == [0.5] * 4
    assert half.stat_utility == pytest.approx(3 * math.sqrt((4 + 9 + 16) / 3))
    assert half.get_metadata()["selected_loss_sum"] == 10.0
    half.reset_stat_utility()
    assert half.stat_utility == 0.0


def test_a_programs_own_durations_count_where_nothing_else_says_them() -> None:
    half, dataset = trainer([1.0] * 20)
    half.batch_s = None
    assert sampled(half, dataset) == list(range(20))
    half.update_train_duration_per_batch_list(1.0)
    half.update_train_duration_per_batch_list(3.0)
    assert half.get_metadata()["epoch_train_duration"] == 20.0


def test_an_item_knows_its_place() -> None:
    _, dataset = trainer([1.0, 2.0, 3.0])
    batches = [indices.tolist() for _, _, indices in DataLoader(dataset, batch_size=2)]
    assert len(dataset) == 3 and batches == [[0, 1], [2]]


def test_noise_is_added_to_what_is_told_of_losses() -> None:
    half, dataset = trainer([1.0, 2.0], noise_factor=0.5)
    sampled(half, dataset)
    lows = [half.get_metadata()["loss_low"] for _ in range(500)]
    assert sum(lows) / 500 == pytest.approx(1.0, abs=0.1) and max(lows) > 1.5


# -- the aggregator's half --------------------------------------------------------------------------------


def test_the_deadline_is_where_most_trainers_per_second_are_done() -> None:
    """Two of them are done by 2, the third at 100: two in 2 seconds are more than three in 100."""
    half = FedBalancer(epochs=1, batchSize=2).aggregator_data_sampler
    assert half.get_metadata(1, []) == {"loss_threshold": 0.0, "deadline": math.inf}
    channel = Durations(a=1.5, b=2.0, c=100.0)
    for end, epoch in (("a", 1.0), ("b", 2.0), ("c", 100.0)):
        half.handle_metadata_from_trainer(said(epoch=epoch), end, channel)
    assert half.get_metadata(2, []) == {"loss_threshold": 0.0, "deadline": 2.0}


def test_the_deadline_lies_between_that_of_one_epoch_and_that_of_all() -> None:
    half = FedBalancer(epochs=4, batchSize=2).aggregator_data_sampler
    half.deadline_ratio = 0.5
    half.handle_metadata_from_trainer(said(epoch=2.0), "a", Durations(a=11.0))  # 3 for the way, 4 epochs of 2
    assert half.get_metadata(2, [])["deadline"] == (5.0 + 11.0) / 2


def test_the_threshold_lies_between_low_and_high_losses() -> None:
    half = FedBalancer().aggregator_data_sampler
    half.threshold_ratio = 0.25
    half.handle_metadata_from_trainer(said(low=1.0, high=4.0), "a", Durations())
    half.handle_metadata_from_trainer(said(low=2.0, high=6.0), "b", Durations())
    assert half.get_metadata(2, [])["loss_threshold"] == 1.0 + (5.0 - 1.0) * 0.25


@pytest.mark.parametrize(("grows", "ratios"), [(False, (0.1, 0.8)), (True, (0.0, 1.0))])
def test_when_the_benefit_falls_harder_samples_and_shorter_rounds_are_asked_for(
    grows: bool, ratios: tuple[float, float]
) -> None:
    half = FedBalancer(w=3, lss=0.1, dss=0.2).aggregator_data_sampler
    for number in range(1, 10):
        half.get_metadata(number, [])
        lost = float(number if grows else 20 - number)
        half.handle_metadata_from_trainer(said(total=lost), "a", Durations(a=1.0))
    assert (half.threshold_ratio, half.deadline_ratio) == pytest.approx(ratios)


def test_asked_twice_in_a_round_it_tells_the_same() -> None:
    half = FedBalancer().aggregator_data_sampler
    half.handle_metadata_from_trainer(said(), "a", Durations(a=1.0))
    first = half.get_metadata(2, [])
    half.handle_metadata_from_trainer(said(epoch=50.0), "b", Durations(b=50.0))
    assert half.get_metadata(2, []) == first


# -- settings, and what comes from a network --------------------------------------------------------------


@pytest.mark.parametrize(
    "kwargs",
    [{"w": 0}, {"lss": -1}, {"dss": "1"}, {"p": 1.5}, {"p": -0.1}, {"noise_factor": -1}, {"epochs": 0}, {"w": 2.5}],
)
def test_wrong_settings_are_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"datasampler\.kwargs"):
        lookup("datasampler", "fedbalancer")(**kwargs)


@pytest.mark.parametrize("wrong", [None, "1", math.nan, -1.0, math.inf])
def test_nonsense_from_a_peer_is_refused(wrong: object) -> None:
    with pytest.raises(RunError, match="end-1 tells no selected_len"):
        FedBalancer().aggregator_data_sampler.handle_metadata_from_trainer(
            {**said(), "selected_len": wrong}, "end-1", Durations()
        )
    with pytest.raises(RunError, match="the aggregator tells no loss_threshold"):
        FedBalancer().trainer_data_sampler.handle_metadata_from_aggregator({"loss_threshold": wrong, "deadline": 1.0})


def test_the_default_has_nothing_to_say() -> None:
    both = lookup("datasampler", "default")()
    dataset = [1, 2, 3]
    half = both.trainer_data_sampler
    assert half.load_dataset(dataset) is dataset is half.sample(dataset, model=None)
    assert half.get_metadata() == both.aggregator_data_sampler.get_metadata(1, []) == {}
    with pytest.raises(ConfigError, match="default has no such setting"):
        lookup("datasampler", "default")(w=1)
