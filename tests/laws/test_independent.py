"""Algorithms beside independent implementations of them: Flower's strategies, round by round, and torch's optimizers.

Where one differs from Flame, `flower.py` and the loops below say in which number, and undo it:

- in the first round of an adaptive algorithm Flame averages, as Cisco Flame does; others begin a round later;
- Flower's FedAdam and torch's Adam correct the bias of the moments, and the paper's FedAdam does not;
- Flower's FedAdagrad and torch's Adagrad have no first moment: beta_1 is 0 there;
- Flower's q-FedAvg weighs every client by the loss on all samples, and the paper's by that on its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flower
import numpy as np
import pytest
import torch
from flower import BETA_1, BETA_2, ETA, FAIR, MOMENTUM, RATE, ROUNDS, SITES, SIZES, TAU, Arrays

import flame

FLOWER = json.loads(Path(flower.__file__).with_suffix(".json").read_text())
NAMES = ("matrix", "vector", "scale")
ADAPTIVE = {"beta_1": BETA_1, "beta_2": BETA_2, "eta": ETA, "tau": TAU}
KWARGS: dict[str, dict[str, float]] = {
    "fedavg": {},
    "fedavgm": {"momentum": MOMENTUM},
    "fedadam": ADAPTIVE,
    "fedyogi": ADAPTIVE,
    "fedadagrad": {"eta": ETA, "tau": TAU, "beta_1": 0},
    "qfedavg": {"q": FAIR, "eta": RATE},
    "fedprox": {"mu": 0.8},
}


def model() -> dict[str, np.ndarray]:
    return dict(zip(NAMES, flower.start(), strict=True))


def train(net: dict[str, np.ndarray], item: tuple[Any, Any, int], regularizer: Any) -> dict[str, float]:
    """The client's steps, with the algorithm's term."""
    loss = flower.loss(list(net.values()))
    for _ in range(item[2]):
        pull = regularizer.get_gradient(curr_model=net) if regularizer.wanted else {}
        after = flower.descend(list(net.values()), (*item[:2], 1))
        for name, array in zip(NAMES, after, strict=True):
            np.subtract(array, RATE * pull.get(name, 0.0), out=net[name])
    return {"loss": loss}


def learned(out: Path, sort: str) -> list[Arrays]:
    """The model after each round."""
    found: list[Arrays] = []
    flame.run(
        model=model,
        train=train,
        evaluate=lambda net: found.append([array.copy() for array in net.values()]),
        data=SITES,
        settings={"optimizer": {"sort": sort, "kwargs": KWARGS[sort]}},
        rounds=ROUNDS,
        hosts=0,
        out=out,
    )
    return found


def same(found: list[Arrays], expected: Any) -> None:
    assert len(found) == len(expected) == ROUNDS
    for ours, theirs in zip(found, expected, strict=True):
        for array, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(array, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("sort", FLOWER)
def test_every_round_is_flowers(tmp_path: Path, sort: str) -> None:
    same(learned(tmp_path, sort), FLOWER[sort])


def test_the_solutions_differ() -> None:
    last = [np.concatenate([np.ravel(array) for array in rounds[-1]]) for rounds in FLOWER.values()]
    assert all(np.abs(one - other).max() > 1e-3 for at, one in enumerate(last) for other in last[:at])


def uncorrected(adam: torch.optim.Optimizer, step: int) -> None:
    """Let Adam take the step that it would take without correction of the bias."""
    first, second = 1 - BETA_1**step, (1 - BETA_2**step) ** 0.5
    adam.param_groups[0].update(lr=ETA * first / second, eps=TAU / second)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "fedavgm": lambda w: torch.optim.SGD(w, lr=1.0, momentum=MOMENTUM),
    "fedadagrad": lambda w: torch.optim.Adagrad(w, lr=ETA, eps=TAU),
    "fedadam": lambda w: torch.optim.Adam(w, lr=ETA, betas=(BETA_1, BETA_2)),
}


@pytest.mark.parametrize("sort", OPTIMIZERS)
def test_the_server_takes_torchs_step_against_the_mean_update(tmp_path: Path, sort: str) -> None:
    """The gradient is what the mean of the clients' models has come away by."""
    begun, expected = flower.start(), []
    if sort != "fedavgm":
        expected.append(begun := flower.averaged(begun))
    weights = [torch.tensor(array, requires_grad=True) for array in begun]
    optimizer = OPTIMIZERS[sort](weights)
    for step in range(1, ROUNDS + 1 - len(expected)):
        if sort == "fedadam":
            uncorrected(optimizer, step)
        before = [each.detach().numpy() for each in weights]
        for each, old, mean in zip(weights, before, flower.averaged(before), strict=True):
            each.grad = torch.tensor(old - mean)
        optimizer.step()
        expected.append([each.detach().numpy().copy() for each in weights])
    same(learned(tmp_path, sort), expected)


def test_a_proximal_term_is_what_torch_differentiates(tmp_path: Path) -> None:
    """A client is torch's SGD on its loss plus mu/2 times the squared distance."""
    mu, weights, expected = KWARGS["fedprox"]["mu"], flower.start(), []
    for _ in range(ROUNDS):
        ends = []
        for x, y, steps in SITES:
            sent = [torch.tensor(array) for array in weights]
            own = [each.clone().requires_grad_() for each in sent]
            sgd = torch.optim.SGD(own, lr=RATE)
            for _ in range(steps):
                sgd.zero_grad()
                matrix, vector, scale = own
                off = scale * (torch.tensor(x) @ matrix) + vector - torch.tensor(y)
                away = sum(((one - other) ** 2).sum() for one, other in zip(own, sent, strict=True))
                ((off**2).sum() / (2 * len(y)) + mu / 2 * away).backward()
                sgd.step()
            ends.append([each.detach().numpy() for each in own])
        weights = [sum(n / sum(SIZES) * end[at] for n, end in zip(SIZES, ends, strict=True)) for at in range(3)]
        expected.append(weights)
    same(learned(tmp_path, "fedprox"), expected)
