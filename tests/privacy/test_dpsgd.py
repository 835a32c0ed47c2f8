"""Example-level privacy through opacus, in whole federations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flame
from flame.errors import ConfigError, WorkerFailed
from flame.privacy.accountant import Accountant, Release

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

EXAMPLES, BATCH = 64, 16


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, 2))


class Site(flame.Trainer):
    data: int

    def load_data(self) -> None:
        drawn = torch.randn(EXAMPLES, 5, generator=torch.Generator().manual_seed(self.data))
        self.examples = TensorDataset(drawn, (drawn.sum(1) > 0).long())
        self.dataset_size = EXAMPLES

    def initialize(self) -> None:
        self.model = net()

    def train(self) -> None:
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.5)
        loader = DataLoader(self.examples, batch_size=BATCH, shuffle=True)
        model, optimizer, loader = self.privacy.private(self.model, optimizer, loader)
        steps = 0
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            steps += 1
        self.update_metrics({"steps": steps})


class Careless(Site):
    def train(self) -> None:
        with torch.no_grad():
            self.model[0].weight += 1


class Normalised(Site):
    def initialize(self) -> None:
        super().initialize()
        self.other = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    def train(self) -> None:
        optimizer = torch.optim.SGD(self.other.parameters(), lr=0.5)
        self.privacy.private(self.other, optimizer, DataLoader(self.examples, batch_size=BATCH))


class Top(flame.TopAggregator):
    def initialize(self) -> None:
        self.model = net()


def run(out: Path, site: type[Site] = Site, hosts: int = 0, rounds: int = 3, **kwargs: Any) -> Any:
    given = {"noise_multiplier": 1.0, "max_grad_norm": 1.0, **kwargs}
    changes = {"privacy.sort": "dpsgd", "privacy.kwargs": given} if kwargs.get("off") is None else {}
    options = {"rounds": rounds, "hosts": hosts, "seed": 5, "out": out, "set": changes}
    return flame.run(trainer=site, aggregator=Top, data=[1, 2, 3], **options)


def expected(steps: int) -> float:
    accountant = Accountant(1e-5)
    accountant.charge(Release(1.0, BATCH / EXAMPLES, "poisson"), steps)
    return accountant.epsilon


def test_every_trainer_reports_what_its_steps_have_cost(tmp_path: Path) -> None:
    """The accountant outlives a round, and the model keeps the names that the federation knows."""
    result = run(tmp_path)
    batches = EXAMPLES // BATCH
    for curve in result.series("epsilon").values():
        assert curve == [(n, pytest.approx(expected(n * batches))) for n in (1, 2, 3)]
    assert len(result.series("epsilon")) == 3
    assert list(result.weights().arrays()) == list(net().state_dict())


def test_without_the_mechanism_the_same_program_trains_as_ever(tmp_path: Path) -> None:
    result = run(tmp_path, off=True)
    assert set(result.series("steps")["trainer/0"]) == {(1, 4), (2, 4), (3, 4)}
    with pytest.raises(flame.FlameError, match="epsilon"):
        result.series("epsilon")


@pytest.mark.parametrize("hosts", [1, 2])
def test_the_number_of_hosts_changes_no_bit(tmp_path: Path, hosts: int) -> None:
    here, there = run(tmp_path / "a"), run(tmp_path / "b", hosts=hosts)
    assert here.weights().data.tobytes() == there.weights().data.tobytes()


def test_a_batch_normalisation_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="dpsgd: 1 is a BatchNorm1d, which mixes the examples of a batch"):
        run(tmp_path, Normalised)


def test_a_program_that_trains_without_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="the program's `train` does not use it"):
        run(tmp_path, Careless)


def test_a_plan_beyond_the_budget_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="3 rounds of 1 epoch of 4 batches would spend epsilon"):
        run(tmp_path, target_epsilon=2.0)


class Twice(Site):
    """Goes through its examples once more than its config says."""

    def train(self) -> None:
        super().train()
        super().train()


def test_steps_end_when_the_budget_does(tmp_path: Path) -> None:
    """And an update of no step is not sent."""
    budget = expected(14) + 0.01
    result = run(tmp_path, Twice, target_epsilon=budget)
    assert all(curve[-1][1] == pytest.approx(expected(14)) for curve in result.series("epsilon").values())


def test_without_opacus_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flame.privacy.dpsgd.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"dpsgd needs opacus \(pip install 'flame-fl\[privacy\]'\)"):
        run(tmp_path)
