"""Running statistics are averaged, whatever step the optimizer takes in what is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import flame
from flame.engine.fold import WeightedMean
from flame.optimizer.fedavg import FedAvg
from flame.optimizer.fedopt import FedAdaGrad, FedAdam, FedYogi
from flame.weights import Weights, adapters


def rounds(optimizer, count: int = 6) -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    adapter = adapters.of(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)))
    weights, rng = adapter.snapshot(), np.random.default_rng(0)
    for _ in range(count):
        fold = WeightedMean()
        for samples in (1, 3):
            arrays = {e.name: rng.normal(scale=0.01, size=e.shape) for e in weights.layout.entries}
            arrays["1.running_var"] = -0.1 * weights.arrays()["1.running_var"]
            packed = {e.name: np.asarray(arrays[e.name]).astype(e.dtype) for e in weights.layout.entries}
            fold.add(Weights.pack(packed, layout=weights.layout), samples)
        weights = fold.finish(weights, optimizer.step, averaged=adapter.averaged)
    return weights.arrays()


@pytest.mark.parametrize("make", [FedAdaGrad, FedAdam, FedYogi])
def test_statistics_follow_the_mean_and_stay_positive(make) -> None:
    adaptive, plain = rounds(make(eta=1.0)), rounds(FedAvg())
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        np.testing.assert_array_equal(adaptive[name], plain[name])
    assert (adaptive["1.running_var"] > 0).all()
    assert not np.array_equal(adaptive["0.weight"], plain["0.weight"])


@pytest.mark.parametrize("sort", ["fedavg", "fedadam"])
def test_a_counter_of_batches_goes_on_counting_as_a_whole_number(tmp_path: Path, sort: str) -> None:
    """Sites that weigh 3 and 5 see as many batches in a round: the common model has seen (9 + 25) / 8, 4, more."""
    counted = []

    def train(model: torch.nn.Module, site: torch.Tensor) -> None:
        counter = model[1].num_batches_tracked
        counted.append((counter.dtype, int(counter)))
        for batch in site:
            model(batch)

    result = flame.run(
        model=lambda: torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4, momentum=None)),
        train=train,
        data=[torch.randn(batches, 2, 3) for batches in (3, 5)],
        settings={"hyperparameters": {"rounds": 3}, "optimizer": {"sort": sort}},
        hosts=0,
        out=tmp_path,
    )
    assert counted == [(torch.int64, seen) for seen in (0, 0, 4, 4, 8, 8)]
    last = result.weights().arrays()["1.num_batches_tracked"]
    assert last.dtype == np.int64 and last == 12
