"""A problem that Flower's strategies solve too, and what they make of it; `test_independent.py` compares.

Flower (https://flower.ai) wants other versions of libraries than Flame does, so what its strategies compute lies beside
this file. To compute it anew, run this in an environment that has nothing but `pip install flwr==1.42.0`:

    python tests/laws/flower.py > tests/laws/flower.json
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

Arrays = list[np.ndarray]

FEATURES, OUTPUTS, ROUNDS, RATE = 4, 3, 6, 0.05
SIZES, STEPS = (9, 21, 14, 33), (3, 1, 4, 2)
ETA, BETA_1, BETA_2, TAU, MOMENTUM, FAIR = 0.05, 0.9, 0.99, 0.01, 0.6, 1.5


def site(number: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Samples of one law with noise of its own, and how many steps are taken on them."""
    rng = np.random.default_rng(number)
    x = rng.normal(size=(SIZES[number], FEATURES))
    law = np.arange(1.0, FEATURES * OUTPUTS + 1).reshape(FEATURES, OUTPUTS) / 6
    return x, x @ law + number * rng.normal(size=(SIZES[number], OUTPUTS)), STEPS[number]


SITES = [site(number) for number in range(len(SIZES))]


def start() -> Arrays:
    """A matrix, a vector and a number."""
    return [np.full((FEATURES, OUTPUTS), 0.5), np.zeros(OUTPUTS), np.ones(())]


def error(weights: Arrays, data: tuple[np.ndarray, np.ndarray, int]) -> np.ndarray:
    matrix, vector, scale = weights
    return scale * (data[0] @ matrix) + vector - data[1]


def descend(weights: Arrays, data: tuple[np.ndarray, np.ndarray, int]) -> Arrays:
    """What a client makes of a model."""
    x, y, steps = data
    for _ in range(steps):
        matrix, _, scale = weights
        off = error(weights, data) / len(y)
        gradients = [scale * x.T @ off, off.sum(axis=0), np.asarray((off * (x @ matrix)).sum())]
        weights = [each - RATE * gradient for each, gradient in zip(weights, gradients, strict=True)]
    return weights


def loss(weights: Arrays) -> float:
    """On the samples of all."""
    return float(np.mean(np.square(np.concatenate([error(weights, data) for data in SITES]))))


def averaged(weights: Arrays) -> Arrays:
    """The first round of an adaptive algorithm of Flame: plain averaging, as Cisco Flame has it."""
    ends = [descend(weights, data) for data in SITES]
    return [sum(n / sum(SIZES) * end[at] for n, end in zip(SIZES, ends, strict=True)) for at in range(len(weights))]


def strategies() -> dict[str, Any]:
    """Flower's, with the settings that the test gives to Flame."""
    from flwr.common import ndarrays_to_parameters
    from flwr.server import strategy

    first = ndarrays_to_parameters(start())
    later = {"initial_parameters": ndarrays_to_parameters(averaged(start())), "eta": ETA, "tau": TAU}
    fair = strategy.QFedAvg(
        q_param=FAIR, qffl_learning_rate=RATE, evaluate_fn=lambda round_, weights, config: (loss(weights), {})
    )
    return {
        "fedavg": strategy.FedAvg(),
        "fedavgm": strategy.FedAvgM(initial_parameters=first, server_momentum=MOMENTUM),
        "fedadam": strategy.FedAdam(beta_1=BETA_1, beta_2=BETA_2, **later),
        "fedyogi": strategy.FedYogi(beta_1=BETA_1, beta_2=BETA_2, **later),
        "fedadagrad": strategy.FedAdagrad(**later),  # without a first moment
        "qfedavg": fair,  # one loss for all clients, that of the model on all samples
    }


def solve(name: str, strategy: Any) -> list[list[Any]]:
    """The model after each round."""
    from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays

    adaptive = name in ("fedadam", "fedyogi", "fedadagrad")
    weights, found = start(), []
    if adaptive:
        weights = averaged(weights)
        found.append(weights)
    for round_ in range(1, ROUNDS + 1 - adaptive):
        if name == "fedadam":  # Flower corrects the bias by the rate, and counts rounds from 2
            strategy.eta = ETA * (1 - BETA_1 ** (round_ + 1)) / np.sqrt(1 - BETA_2 ** (round_ + 1))
        strategy.pre_weights = weights  # what qfedavg keeps when it asks clients
        results = [
            (None, FitRes(Status(Code.OK, ""), ndarrays_to_parameters(descend(weights, data)), len(data[1]), {}))
            for data in SITES
        ]
        parameters, _ = strategy.aggregate_fit(round_, results, [])
        weights = parameters_to_ndarrays(parameters)
        found.append(weights)
    return [[array.tolist() for array in weights] for weights in found]


if __name__ == "__main__":
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    rows = {name: solve(name, strategy) for name, strategy in strategies().items()}
    print("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()) + "\n}")
