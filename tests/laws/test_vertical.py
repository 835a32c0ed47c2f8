"""A model that is split among holders of columns learns what one would that has all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import flame
from flame.errors import ConfigError, RecipeError, WorkerFailed
from flame.mode.vertical.feature_holder import FeatureHolder
from flame.mode.vertical.label_holder import LabelHolder

SAMPLES, COLUMNS, BATCH, ROUNDS, STEP = 61, 7, 8, 3, 0.1
CUTS = {1: [], 2: [3], 3: [2, 3], 5: [1, 3, 4, 6]}


def table() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(SAMPLES, COLUMNS))
    return x, (x @ np.arange(1.0, COLUMNS + 1) + rng.normal(size=SAMPLES) > 0).astype(float)


def split(holders: int) -> list[np.ndarray]:
    return [np.arange(COLUMNS)[part] for part in (np.split(np.arange(COLUMNS), CUTS[holders]))]


class Columns(FeatureHolder):
    """A linear part: its embedding of a sample is one number."""

    def load_data(self) -> None:
        self.ids, self.x = self.data

    def initialize(self) -> None:
        self.model = {"w": np.zeros(self.x.shape[1])}

    def forward(self, rows: np.ndarray) -> np.ndarray:
        self.seen = self.x[rows]
        return (self.seen @ self.model["w"])[:, None]

    def backward(self, gradient: np.ndarray) -> None:
        self.model["w"] -= STEP * self.seen.T @ gradient[:, 0]


class Logistic(LabelHolder):
    """The sum of what the holders say is the score; notes which samples it saw, and the score of those held out."""

    diary: ClassVar[list[Any]] = []

    def load_data(self) -> None:
        self.ids, self.y, self.held_out = self.data
        self.diary.clear()

    def initialize(self) -> None:
        self.model = {"b": np.zeros(1)}

    def train_on(self, rows: np.ndarray, embeddings: list[np.ndarray]) -> list[np.ndarray]:
        self.diary.append(rows)
        risk = 1 / (1 + np.exp(-(sum(embeddings)[:, 0] + self.model["b"])))
        gradient = ((risk - self.y[rows]) / len(rows))[:, None]
        self.model["b"] -= STEP * gradient.sum()
        return [gradient] * len(embeddings)

    def evaluate_on(self, rows: np.ndarray, embeddings: list[np.ndarray]) -> None:
        score = sum(embeddings)[:, 0] + self.model["b"]
        self.update_metrics({"accuracy": ((score > 0) == self.y[rows]).mean(), "held-out": len(rows)})


def run(out: Path, holders: int = 3, *, hosts: int = 0, keep: Any = slice(None), **more: Any) -> Any:
    x, y = table()
    names = [f"patient {number}" for number in range(SAMPLES)]
    held_out = np.arange(SAMPLES) % 4 == 0
    parts = []
    for number, columns in enumerate(split(holders)):
        order = np.random.default_rng(number).permutation(SAMPLES)[keep]
        parts.append(([names[row] for row in order], x[order][:, columns]))
    data = {"label-holder": [(names, y, held_out)], "feature-holder": parts, **more.pop("data", {})}
    chosen: dict[str, Any] = {
        "roles": {"label-holder": Logistic, "feature-holder": Columns},
        "settings": {"hyperparameters": {"rounds": ROUNDS, "batchSize": BATCH}},
    }
    return flame.run(tag="vertical", data=data, hosts=hosts, seed=5, out=out, **{**chosen, **more})


def weights(result: Any, holders: int) -> np.ndarray:
    """The parts of the holders and the bias, as one vector."""
    from flame.weights import safetensors

    files = [result.dir / "models" / f"feature-holder-{number}.safetensors" for number in range(holders)]
    parts = [safetensors.read(path).arrays()["w"] for path in files]
    return np.concatenate([*parts, result.weights().arrays()["b"]])


@pytest.mark.parametrize("holders", CUTS)
def test_it_learns_what_one_party_with_all_columns_would(tmp_path: Path, holders: int) -> None:
    result = run(tmp_path, holders)
    x, y = table()
    w, b = np.zeros(COLUMNS), np.zeros(1)
    assert len(Logistic.diary) == ROUNDS * 6 and sum(map(len, Logistic.diary)) == ROUNDS * 45
    for rows in Logistic.diary:
        error = (1 / (1 + np.exp(-(x[rows] @ w + b))) - y[rows]) / len(rows)
        w, b = w - STEP * x[rows].T @ error, b - STEP * error.sum()
    np.testing.assert_allclose(weights(result, holders), np.concatenate([w, b]), rtol=1e-6, atol=1e-12)
    held_out = np.arange(SAMPLES) % 4 == 0
    assert result.final("accuracy") == pytest.approx(((x[held_out] @ w + b > 0) == y[held_out]).mean())
    assert result.final("held-out") == held_out.sum()
    assert result.history.facts["rounds"] == ROUNDS


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_any_number_of_hosts_gives_the_same_bits(tmp_path: Path, hosts: int) -> None:
    here, there = run(tmp_path / "here"), run(tmp_path / "there", hosts=hosts)
    assert weights(here, 3).tobytes() == weights(there, 3).tobytes()
    told = [[(record.round, record.worker, record.values) for record in run.metrics] for run in (here, there)]
    assert told[0] == told[1]


class Net(FeatureHolder):
    """A layer of a network, in float64."""

    def load_data(self) -> None:
        self.ids, x = self.data
        self.x = torch.from_numpy(x)

    def initialize(self) -> None:
        torch.manual_seed(self.x.shape[1])
        self.model = torch.nn.Linear(self.x.shape[1], 3).double()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=STEP, momentum=0.9)

    def forward(self, rows: np.ndarray) -> torch.Tensor:
        self.out = torch.tanh(self.model(self.x[rows]))
        return self.out

    def backward(self, gradient: np.ndarray) -> None:
        self.optimizer.zero_grad()
        self.out.backward(torch.from_numpy(gradient))
        self.optimizer.step()


class Top(LabelHolder):
    diary: ClassVar[list[Any]] = []

    def load_data(self) -> None:
        self.ids, y, self.held_out = self.data
        self.y = torch.from_numpy(y)
        self.diary.clear()

    def initialize(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(sum(width for (width,) in self.widths), 1).double()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=STEP, momentum=0.9)

    def train_on(self, rows: np.ndarray, embeddings: list[np.ndarray]) -> list[torch.Tensor]:
        self.diary.append(rows)
        parts = [torch.from_numpy(one).requires_grad_() for one in embeddings]
        score = self.model(torch.cat(parts, 1))[:, 0]
        self.optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(score, self.y[rows]).backward()
        self.optimizer.step()
        return [part.grad for part in parts]


@pytest.mark.parametrize("holders", [2, 3])
def test_a_network_of_parts_learns_what_it_would_in_one_piece(tmp_path: Path, holders: int) -> None:
    result = run(tmp_path, holders, roles={"label-holder": Top, "feature-holder": Net})
    x, y = (torch.from_numpy(one) for one in table())
    bottoms = []
    for columns in split(holders):
        torch.manual_seed(len(columns))
        bottoms.append(torch.nn.Linear(len(columns), 3).double())
    torch.manual_seed(0)
    top = torch.nn.Linear(3 * holders, 1).double()
    whole = torch.nn.ModuleList([*bottoms, top])
    optimizer = torch.optim.SGD(whole.parameters(), lr=STEP, momentum=0.9)
    for rows in Top.diary:
        joined = [torch.tanh(part(x[rows][:, at])) for part, at in zip(bottoms, split(holders), strict=True)]
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(top(torch.cat(joined, 1))[:, 0], y[rows]).backward()
        optimizer.step()
    found = result.weights().arrays()
    np.testing.assert_allclose(found["weight"], top.weight.detach().numpy(), rtol=1e-6)


def test_only_samples_that_everybody_has_are_trained_on(tmp_path: Path) -> None:
    run(tmp_path, 2, keep=slice(0, 40))
    have = [set(np.random.default_rng(number).permutation(SAMPLES)[:40]) for number in range(2)]
    trained = {int(row) for rows in Logistic.diary for row in rows}
    assert trained == {row for row in have[0] & have[1] if row % 4}
    assert len(trained) < 40


def test_the_order_of_rows_in_a_file_changes_nothing(tmp_path: Path) -> None:
    x, _ = table()
    names = [f"patient {number}" for number in range(SAMPLES)]
    back = [([names[row] for row in reversed(range(SAMPLES))], x[::-1][:, columns]) for columns in split(3)]
    one, other = run(tmp_path / "a"), run(tmp_path / "b", data={"feature-holder": back})
    assert weights(one, 3).tobytes() == weights(other, 3).tobytes()


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a", "b", "a"], r"feature-holder/0: ids\[0\] and ids\[2\] are both 'a'"),
        ([1, 2, 3], "no sample is known to all: .*label-holder/0 has 61, .*feature-holder/0 .* has 3"),
        ([1.5, 2, 3], "an id is a text or a whole number"),
        ([], "has no ids"),
    ],
)
def test_ids_that_cannot_be_aligned_are_refused(tmp_path: Path, ids: list[Any], said: str) -> None:
    with pytest.raises(WorkerFailed, match=said):
        run(tmp_path, data={"feature-holder": [(ids, np.zeros((len(ids), 2)))]})


def test_a_number_and_its_text_name_the_same_sample(tmp_path: Path) -> None:
    x, y = table()
    labels = {"label-holder": [([str(number) for number in range(SAMPLES)], y, None)]}
    run(tmp_path, data={**labels, "feature-holder": [(np.arange(SAMPLES), x)]})
    assert {int(row) for rows in Logistic.diary for row in rows} == set(range(SAMPLES))


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"optimizer.sort": "fedadam"}, "fedadam steps in the mean of models"),
        ({"selector.sort": "random", "selector.kwargs": {"k": 1}}, "random leaves holders out"),
        ({"gate.kwargs": {"whenLost": "continue"}}, "whenLost is stop or wait"),
        ({"gate.kwargs": {"atLeast": 1}}, "minPeers"),
        ({"channels.split-channel.compression": "topk"}, "topk leaves numbers"),
        ({"hyperparameters.batchSize": 0}, "batchSize is 0"),
        ({"privacy.sort": "dp", "privacy.kwargs": {"clip_threshold": 1.0, "noise_factor": 1.0}}, "privacy"),
    ],
)
def test_what_a_split_model_cannot_be_combined_with_is_refused(tmp_path: Path, setting: Any, error: str) -> None:
    with pytest.raises(RecipeError, match=error):
        run(tmp_path / "run", set=setting)
    assert not (tmp_path / "run").exists()


class Wrong(Columns):
    def forward(self, rows: np.ndarray) -> np.ndarray:
        return super().forward(rows)[:-1]


class Careless(Logistic):
    def train_on(self, rows: np.ndarray, embeddings: list[np.ndarray]) -> list[np.ndarray]:
        return super().train_on(rows, embeddings)[:-1]


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ({"feature-holder": Wrong}, r"forward returned \[7, 1\] for 8 samples"),
        ({"label-holder": Careless}, r"gradients of \[\[8, 1\], \[8, 1\]\] for embeddings of"),
    ],
)
def test_wrong_shapes_are_said_where_they_are_made(tmp_path: Path, roles: Any, said: str) -> None:
    with pytest.raises(WorkerFailed, match=said):
        run(tmp_path, roles={"label-holder": Logistic, "feature-holder": Columns, **roles})


def test_compressed_embeddings_learn_almost_the_same(tmp_path: Path) -> None:
    exact = weights(run(tmp_path / "a"), 3)
    half = weights(run(tmp_path / "b", set={"channels.split-channel.compression": "fp16"}), 3)
    assert exact.tobytes() != half.tobytes()
    np.testing.assert_allclose(half, exact, rtol=0.05, atol=1e-3)


def test_data_is_given_by_role(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 roles hold data"):
        flame.run(tag="vertical", roles={"label-holder": Logistic, "feature-holder": Columns}, data=[1], out=tmp_path)
