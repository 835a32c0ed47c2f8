"""Bias between two groups, and the term against it, written out once more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flame.errors import ConfigError, RunError
from flame.optimizer.bias import Bias
from flame.optimizer.fedgft import FedGFT

torch = pytest.importorskip("torch")
SIZES = (7, 12)


def net() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LogSoftmax(dim=1)).double()


def batches(size: int) -> list[Any]:
    rng = np.random.default_rng(size)
    x, y, g = rng.normal(size=(size, 2)), rng.integers(2, size=size), rng.integers(2, size=size)
    return [tuple(torch.tensor(part[start : start + 5]) for part in (x, y, g)) for start in range(0, size, 5)]


def parts(fair: str, p: np.ndarray, y: np.ndarray, g: np.ndarray) -> np.ndarray:
    """a, b, c, d over samples, one by one."""
    sums = np.zeros(4)
    for prob, target, group in zip(p, y, g, strict=True):
        counted = target == 1 or fair == "SP"
        sums[2 * group] += prob if target == 1 or fair == "SP" else 0
        sums[2 * group + 1] += prob if fair == "CAL" else counted
    return sums


def told(fair: str, model: Any) -> tuple[list[Any], np.ndarray]:
    """Client halves that know what all of them have measured, and the sums over all samples."""
    server, everything = FedGFT(fair=fair), np.zeros(4)
    clients = [FedGFT(fair=fair, gamma=3).regularizer for _ in SIZES]
    for client, size in zip(clients, SIZES, strict=True):
        client.update_local_bias_params(model, batches(size))
        for x, y, g in batches(size):
            everything += parts(fair, model(x).exp()[:, 1].detach().numpy(), y.numpy(), g.numpy())
    said = {str(size): client.bias.to_plain() for size, client in zip(SIZES, clients, strict=True)}
    server.update_bias({str(size): size for size in SIZES}, said)
    for client in clients:
        client.update_bias(server.bias.to_plain())
    a, b, c, d = everything
    assert server.get_bias() == pytest.approx(a / b - c / d, abs=1e-12)
    return clients, everything / sum(SIZES)


@pytest.mark.parametrize("fair", ["SP", "EOP", "CAL"])
def test_statement_22_the_bias_of_all_is_that_of_all_samples(fair: str) -> None:
    model = net()
    clients, _ = told(fair, model)
    for client, size in zip(clients, SIZES, strict=True):
        sums = sum(
            parts(fair, model(x).exp()[:, 1].detach().numpy(), *(t.numpy() for t in r)) for x, *r in batches(size)
        )
        assert client.get_local_bias() == pytest.approx(sums[0] / sums[1] - sums[2] / sums[3], abs=1e-12)


@pytest.mark.parametrize("fair", ["SP", "EOP", "CAL"])
def test_statement_22_the_term_against_bias_is_what_it_should_be(fair: str) -> None:
    model = net()
    clients, (a, b, c, d) = told(fair, model)
    x, y, g = batches(7)[0]
    output = model(x)
    mine = parts(fair, output.exp()[:, 1].detach().numpy(), y.numpy(), g.numpy())
    expected = 3 * (a / b - c / d) * (mine[0] / b - mine[2] / d) / len(x) * (-1 if fair == "CAL" else 1)
    term = clients[0].get_term(output=output, target=y, group=g)
    assert term.item() == pytest.approx(expected, abs=1e-12)
    term.backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_nothing_is_to_be_fair() -> None:
    client = FedGFT().regularizer
    client.update_local_bias_params(net(), batches(7))
    assert client.get_term(output=None, target=None, group=None) == 0.0 and client.get_local_bias() == 0


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.LogSoftmax(dim=1)).double()
    FedGFT(fair="SP").regularizer.update_local_bias_params(model, batches(12))
    assert model.training and int(model[0].num_batches_tracked) == 0


@pytest.mark.parametrize(
    ("name", "value"), [("fair", "DP"), ("gamma", -1), ("gamma", "much"), ("reg", "l1"), ("nu", 1)]
)
def test_settings_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"optimizer\.kwargs\.{name}"):
        FedGFT(**{name: value})


@pytest.mark.parametrize(
    "said",
    [None, [], {}, {"fair": "SP", "a": 1.0, "b": 1.0, "c": 1.0}, {**Bias("SP").to_plain(), "a": float("nan")},
     {**Bias("SP").to_plain(), "a": "1"}, Bias("EOP").to_plain()],
)  # fmt: skip
def test_what_is_no_bias_is_refused(said: Any) -> None:
    with pytest.raises(RunError, match="fedgft"):
        FedGFT(fair="SP").regularizer.update_bias(said)


def test_a_group_that_is_not_there_divides_by_little() -> None:
    bias = Bias("SP", local=True)
    bias.set(0.5, 1.0, 0.0, 0.0)
    assert bias.val == 0.5 and bias.d > 0
