"""The registries: what is kept can be had back, nothing is wiped, and no name leads out of the directory."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flame.config import Config
from flame.errors import ConfigError, RunError, WeightsError
from flame.extend import lookup
from flame.registry.local import LocalRegistry, file_name
from flame.weights import Weights, adapters


def config(root, *, task: str = "a" * 40, job: str = "622a358619ab59012eabeefb", sort: str = "local") -> Config:
    return Config.from_dict(
        {
            "taskid": task,
            "role": "trainer",
            "backend": "inproc",
            "brokers": [],
            "channels": [],
            "groupAssociation": {},
            "job": {"id": job, "name": "job"},
            "registry": {"sort": sort, "uri": str(root)},
            "hyperparameters": {"rounds": 5, "learningRate": 0.01, "mine": [1, "a"]},
        }
    )


def opened(root, **more) -> LocalRegistry:
    registry = LocalRegistry(clock=lambda: 1700000000.25)
    registry(config(root, **more))
    return registry


def begun(root, **more) -> LocalRegistry:
    registry = opened(root, **more)
    registry.setup_run()
    return registry


MODELS = {
    "dict": {"w": np.arange(6.0).reshape(2, 3), "n": np.arange(3)},
    "array": np.arange(5, dtype="f4"),
    "weights": Weights.pack({"a": np.ones(3)}),
    "torch": torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)),
}


@pytest.mark.parametrize("sort", ["dummy", "local"])
def test_every_registry_goes_through_a_run(tmp_path, sort):
    registry = lookup("registry", sort)()
    registry(config(tmp_path, sort=sort))
    registry.setup_run()
    registry.save_metrics(0, {"loss": 1.5})
    registry.save_params(config(tmp_path).hyperparameters)
    registry.save_model("m", MODELS["dict"])
    back = registry.load_model("m", 1)
    registry.cleanup()
    assert (back is None) == (sort == "dummy")


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_comes_back(tmp_path, kind):
    model = MODELS[kind]
    begun(tmp_path).save_model("my model", model)
    back = opened(tmp_path, job="another", task="b" * 40).load_model("my model", 1)
    expected = model if isinstance(model, Weights) else adapters.of(model).snapshot()
    assert back.layout == expected.layout and (back.data == expected.data).all()


def test_saving_a_torch_model_leaves_it_as_it_was(tmp_path):
    model = torch.nn.Linear(3, 2)
    first = adapters.of(model)
    parameters = list(model.parameters())
    registry = begun(tmp_path)
    registry.save_model("m", model)
    with torch.no_grad():
        model.weight.add_(1)
    registry.save_model("m", model)
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    assert (registry.load_model("m", 2).data == first.snapshot().data).all()
    assert (registry.load_model("m", 1).data != first.snapshot().data).any()


def test_versions_go_on_over_runs(tmp_path):
    for number in range(1, 4):
        begun(tmp_path).save_model("m", np.full(3, float(number)))
    for number in range(1, 4):
        assert opened(tmp_path).load_model("m", number).arrays()["array"].tolist() == [number] * 3


def test_versions_of_workers_that_save_at_once(tmp_path):
    registries = [begun(tmp_path, task=f"{n:040x}") for n in range(8)]
    threads = [
        threading.Thread(target=registry.save_model, args=("m", np.array([float(n)])))
        for n, registry in enumerate(registries)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [registries[0].load_model("m", version).arrays()["array"][0] for version in range(1, 9)]
    assert sorted(found) == list(range(8))


@pytest.mark.parametrize("version", [0, -1, 3, "../1"])
def test_a_version_that_there_is_not(tmp_path, version):
    registry = begun(tmp_path)
    for _ in range(2):
        registry.save_model("m", np.ones(3))
    with pytest.raises(ConfigError, match=r"there is no version .* of model 'm' .*\(there are: 1, 2\)"):
        registry.load_model("m", version)
    with pytest.raises(ConfigError, match=r"there are: none"):
        registry.load_model("other", 1)


def test_a_damaged_model(tmp_path):
    registry = begun(tmp_path)
    registry.save_model("m", np.ones(3))
    file = tmp_path / "models" / "m" / "1" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError):
        registry.load_model("m", 1)


def test_a_model_that_no_adapter_fits_leaves_no_version(tmp_path):
    registry = begun(tmp_path)
    with pytest.raises(WeightsError):
        registry.save_model("m", object())
    registry.save_model("m", np.ones(1))
    assert registry.load_model("m", 1).layout.size == 1


def test_metrics_are_a_file_each(tmp_path):
    registry = begun(tmp_path)
    registry.save_metrics(0, {"loss": 0.5, "Train Loss": np.float32(1.5), "train/accuracy": torch.tensor(2)})
    registry.save_metrics(1, {"loss": float("nan")})
    run = tmp_path / "622a358619ab59012eabeefb" / ("a" * 40) / "1" / "metrics"
    assert sorted(path.name for path in run.iterdir()) == [
        "Train Loss.csv",
        "loss.csv",
        "train%2Faccuracy.csv",
    ]
    assert (run / "loss.csv").read_text() == "round,time,loss\n0,1700000000.250,0.5\n1,1700000000.250,nan\n"
    assert (run / "Train Loss.csv").read_text().splitlines()[1] == "0,1700000000.250,1.5"
    assert (run / "train%2Faccuracy.csv").read_text() == "round,time,train/accuracy\n0,1700000000.250,2\n"


def test_a_metric_whose_name_has_a_comma(tmp_path):
    begun(tmp_path).save_metrics(0, {'a,"b"': 1})
    (file,) = tmp_path.rglob("*.csv")
    assert file.read_text().splitlines()[0] == 'round,time,"a,""b"""'


def test_parameters_are_json(tmp_path):
    registry = begun(tmp_path)
    registry.save_params(config(tmp_path).hyperparameters)
    registry.save_params({"rounds": 7})
    first, second = (tmp_path.rglob(f"params/{n}.json") for n in (1, 2))
    saved = json.loads(next(first).read_text())
    assert saved == config(tmp_path).hyperparameters.to_dict() and saved["mine"] == [1, "a"]
    assert json.loads(next(second).read_text()) == {"rounds": 7}


def test_a_new_run_wipes_nothing(tmp_path):
    for value in (1, 2):
        registry = begun(tmp_path)
        registry.save_metrics(0, {"loss": value})
        registry.cleanup()
    texts = {file.parts[-3]: file.read_text().splitlines()[1:] for file in tmp_path.rglob("loss.csv")}
    assert texts == {"1": ["0,1700000000.250,1"], "2": ["0,1700000000.250,2"]}


def test_nothing_is_written_before_a_run_begins(tmp_path):
    registry = opened(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for act in (lambda: registry.save_metrics(0, {"a": 1}), lambda: registry.save_params({})):
        with pytest.raises(RunError, match="was not set up"):
            act()
    with pytest.raises(RunError, match="was not set up"):
        LocalRegistry().load_model("m", 1)
    registry.setup_run()
    registry.cleanup()
    with pytest.raises(RunError, match="was not set up"):
        registry.save_metrics(0, {"a": 1})


@pytest.mark.parametrize("uri", ["http://flame-mlflow:5000", "postgresql://x", "s3://bucket"])
def test_an_address_is_no_directory(uri):
    with pytest.raises(ConfigError, match=r"registry\.uri: .* is not a directory"):
        opened(uri)


def test_a_file_address_is_a_directory(tmp_path):
    begun(f"file://{tmp_path}").save_model("m", np.ones(1))
    assert opened(tmp_path).load_model("m", 1).layout.size == 1


NAMES = [
    "../../etc",
    "..",
    ".",
    "",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a\0b",
    "~",
    "a:b",
    "é",
    "\ud800",
    "%2F",
    ".",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_do_not_lead_out(tmp_path, name):
    root = tmp_path / "root"
    registry = begun(root, task=name or "t", job=name or "j")
    registry.save_metrics(0, {name: 1})
    registry.save_model(name, np.ones(1))
    assert registry.load_model(name, 1).layout.size == 1
    assert list(tmp_path.iterdir()) == [root]
    assert {len(path.relative_to(root).parts) for path in root.rglob("*.*") if path.is_file()} == {4, 5}


@given(st.text(st.characters(codec=None), max_size=20), st.text(st.characters(codec=None), max_size=20))
def test_different_names_are_different_files(one, other):
    assert (file_name(one) == file_name(other)) == (one == other)
    assert file_name(one) and "/" not in file_name(one) and "\0" not in file_name(one)
    assert not file_name(one).startswith(".")
