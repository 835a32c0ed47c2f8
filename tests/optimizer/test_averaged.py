"""Running statistics are averaged, whatever step the optimizer takes in what is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
