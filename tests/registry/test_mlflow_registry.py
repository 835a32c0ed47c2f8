"""The registry in MLflow, over its real client and a store of files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_local_registry import config

from flame.errors import ConfigError, RunError
from flame.extend import lookup
from flame.weights import Weights

pytest.importorskip("mlflow")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)  # mlflow leaves things where it is started
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return f"file://{tmp_path}/mlruns"


def begun(store: str, **more):
    registry = lookup("registry", "mlflow")()
    registry(config(store, sort="mlflow", **more))
    registry.setup_run()
    return registry


@pytest.mark.filterwarnings("ignore")
def test_what_is_kept_can_be_had_back_by_another_job(store: str) -> None:
    from mlflow import MlflowClient

    registry = begun(store)
    model = {"w": np.arange(6.0).reshape(2, 3), "n": np.arange(3)}
    registry.save_metrics(0, {"loss": 0.5, "accuracy": np.float32(0.25)})
    registry.save_metrics(1, {"loss": 0.25})
    registry.save_params({"rounds": 5, "//": "a comment"})
    registry.save_model("it's a job", model)
    model["w"] += 1
    registry.save_model("it's a job", Weights.pack(model))
    registry.cleanup()
    other = begun(store, job="another", task="b" * 40)
    for version in (1, 2):
        back = other.load_model("it's a job", version).arrays()
        np.testing.assert_array_equal(back["w"], np.arange(6.0).reshape(2, 3) + version - 1)
        assert back["n"].dtype == model["n"].dtype
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("622a358619ab59012eabeefb").experiment_id])
    assert run.info.run_name == "trainer-" + "a" * 8
    assert run.info.status == "FINISHED"
    assert run.data.params == {"rounds": "5"}
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(0, 0.5), (1, 0.25)]


@pytest.mark.filterwarnings("ignore")
def test_what_there_is_not_is_said(store: str) -> None:
    registry = begun(store)
    with pytest.raises(ConfigError, match="no version 3 of model 'none'"):
        registry.load_model("none", 3)
    registry.cleanup()
    with pytest.raises(RunError, match="call `setup_run` first"):
        registry.save_metrics(0, {"loss": 1.0})


WITHOUT_ALEMBIC = """
import sys

sys.modules["alembic"] = None
from test_local_registry import config

from flame.extend import lookup

lookup("registry", "mlflow")()(config("sqlite:///mlflow.db", sort="mlflow"))
"""


def test_a_database_wants_more_than_a_server(tmp_path: Path) -> None:
    there = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ALEMBIC], cwd=tmp_path, env=there, capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert (
        last.startswith("flame.errors.ConfigError: registry.uri: mlflow cannot keep anything there")
        and "alembic" in last
    )
