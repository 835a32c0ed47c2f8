"""The registry that keeps everything in MLflow: `registry.uri` is its tracking server.

A job is an experiment, a worker a run in it. A model is the artifact `models/N/model.safetensors` of its run, and a
version of a registered model: what another registry loads is bytes, never a pickled object.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flame.config import Config
from flame.errors import ConfigError, RunError
from flame.weights import Weights, adapters, safetensors

FILE = "model.safetensors"
FOLDER = "models"


class MlflowRegistry:
    """One worker's run in MLflow."""

    def __init__(self) -> None:
        self._client: Any = None
        self._config: Config | None = None
        self._run: Any = None
        self._uri: str | None = None
        self._saved = 0

    def __call__(self, config: Config) -> None:
        """Take the worker's config: where the server is. Nothing is sent yet.

        Raises:
            ConfigError: the library `mlflow` is not installed, or one that it needs for such an address.
        """
        try:
            from mlflow import MlflowClient
        except ImportError:
            remedy = "pip install 'flame-fl[mlflow]'"
            raise ConfigError("registry.sort", "mlflow needs the library mlflow, which is not here", remedy) from None
        self._uri = None if config.registry is None else config.registry.uri or None
        try:
            self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        except ImportError as error:
            remedy = "install it; a database wants `alembic` and `sqlalchemy`, a server nothing more"
            raise ConfigError("registry.uri", f"mlflow cannot keep anything there: {error}", remedy) from None
        self._config = config

    def setup_run(self) -> None:
        """Begin a run, in the experiment of the worker's job."""
        config = self._config
        if config is None:
            raise RunError("the mlflow registry was not set up: call it with a config, then `setup_run`")
        name = f"{config.role}-{''.join(f'{group}-' for group in _groups(config))}{config.task_id[:8]}"
        self._run = self._client.create_run(self._experiment(config.job.job_id), run_name=name)

    def save_metrics(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Log each metric at step `epoch`, counted from 0."""
        for name, value in metrics.items():
            plain = value.item() if hasattr(value, "item") else value
            self._client.log_metric(self._given(), name, float(plain), step=epoch)

    def save_params(self, hyperparameters: Any) -> None:
        """Log the hyperparameters: a mapping, or the record of a config."""
        plain = hyperparameters if isinstance(hyperparameters, Mapping) else hyperparameters.to_dict()
        for name, value in plain.items():
            if name != "//":
                self._client.log_param(self._given(), name, value)

    def save_model(self, name: str, model: Any) -> None:
        """Keep a model's weights as the next version of that name.

        Raises:
            WeightsError: no adapter fits the model.
        """
        from mlflow.exceptions import MlflowException

        weights = model if isinstance(model, Weights) else adapters.of(model).snapshot()
        run_id = self._given()
        self._saved += 1
        folder_there = f"{FOLDER}/{self._saved}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / FILE
            safetensors.write(path, weights)
            self._client.log_artifact(run_id, str(path), folder_there)
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        self._client.create_model_version(name, f"{self._run.info.artifact_uri}/{folder_there}", run_id=run_id)

    def load_model(self, name: str, version: int) -> Weights:
        """A model's weights, whichever job registered them.

        Raises:
            ConfigError: there is no such version.
            WeightsError: the file is damaged.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            source = self._client.get_model_version(name, str(version)).source
            with tempfile.TemporaryDirectory() as folder:
                path = download_artifacts(f"{source}/{FILE}", dst_path=folder, tracking_uri=self._uri)
                return safetensors.read(Path(path))
        except MlflowException as error:
            raise ConfigError("baseModel", f"no version {version} of model {name!r}: {error}") from None

    def cleanup(self) -> None:
        """End the run."""
        if self._run is not None:
            self._client.set_terminated(self._run.info.run_id)
            self._run = None

    def _given(self) -> str:
        if self._run is None:
            raise RunError("the mlflow registry has no run: call `setup_run` first")
        run_id: str = self._run.info.run_id
        return run_id

    def _experiment(self, name: str) -> str:
        """The experiment of that name; all workers of a job may be the first to ask for it."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                made: str = self._client.create_experiment(name)
            except MlflowException:
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
            else:
                return made
        there: str = found.experiment_id
        return there


def _groups(config: Config) -> list[str]:
    """The groups of the worker's channels that its realm names."""
    groups = (group for channel in config.channels.values() for group in channel.group_by.value or ())
    return [group for group in dict.fromkeys(groups) if group in f"{config.realm}-"]
