"""The registry that keeps everything in files, under a directory of this machine.

```
~/flame-log/                             or what `registry.uri` says
├── models/NAME/1/model.safetensors      every version of a model, whichever job it comes from
└── JOB/WORKER/1/                        a worker's runs, counted from 1: a new run wipes nothing
    ├── metrics/NAME.csv                 round,time,NAME: a file per metric
    └── params/1.json                    hyperparameters, as often as they were saved
```

A name of a job, worker, model or metric may be any text: what a file name cannot hold is escaped as in a URL.
"""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flame.config import Config
from flame.errors import ConfigError, RunError
from flame.weights import Weights, adapters, safetensors

HOME = "~/flame-log"
_FILE = "model.safetensors"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://")


class LocalRegistry:
    """One worker's view of the files.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._root: Path | None = None
        self._worker: Path | None = None
        self._run: Path | None = None

    def __call__(self, config: Config) -> None:
        """Take the worker's config: where its files are. Nothing is written yet.

        Raises:
            ConfigError: `registry.uri` is an address elsewhere, not a directory.
        """
        uri = ("" if config.registry is None else config.registry.uri).removeprefix("file://")
        if _ADDRESS.match(uri):
            raise ConfigError("registry.uri", f"{uri} is not a directory", "leave it empty, or name a directory")
        self._root = Path(uri or HOME).expanduser()
        self._worker = self._root / file_name(config.job.job_id) / file_name(config.task_id)

    def setup_run(self) -> None:
        """Begin a run, beside those that there were."""
        self._run = _next(self._given(self._worker))

    def save_metrics(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Add a row for each metric.

        Args:
            epoch: the round, counted from 0.
            metrics: numbers by name; numpy and torch scalars are numbers too.
        """
        directory = self._given(self._run) / "metrics"
        directory.mkdir(exist_ok=True)
        now = self._clock()
        for name, value in metrics.items():
            path = directory / f"{file_name(name)}.csv"
            rows = [] if path.exists() else [["round", "time", name]]
            rows.append([str(epoch), f"{now:.3f}", str(value.item() if hasattr(value, "item") else value)])
            with path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
                file.write(_csv(rows))

    def save_params(self, hyperparameters: Any) -> None:
        """Keep the hyperparameters: a mapping, or the record of a config.

        Raises:
            TypeError: something in them has no form in JSON.
        """
        plain = hyperparameters if isinstance(hyperparameters, Mapping) else hyperparameters.to_dict()
        text = json.dumps(dict(plain), indent=2)
        directory = self._given(self._run) / "params"
        directory.mkdir(exist_ok=True)
        number = 1 + max(_numbers(directory, ".json"), default=0)
        (directory / f"{number}.json").write_text(text + "\n")

    def save_model(self, name: str, model: Any) -> None:
        """Keep a model's weights as the next version of that name.

        Args:
            name: of the model.
            model: whatever an adapter fits, or `Weights`.

        Raises:
            WeightsError: no adapter fits.
        """
        weights = model if isinstance(model, Weights) else adapters.of(model).snapshot()
        safetensors.write(_next(self._versions(name)) / _FILE, weights)

    def load_model(self, name: str, version: int) -> Weights:
        """A model's weights; also before a run has begun, and also those that another job kept.

        Raises:
            ConfigError: there is no such version; it says which there are.
            WeightsError: the file is damaged.
        """
        directory = self._versions(name)
        path = directory / str(version) / _FILE
        if not path.is_file():
            known = sorted(n for n in _numbers(directory) if (directory / str(n) / _FILE).is_file())
            reason = f"there is no version {version} of model {name!r} in {directory.parent}"
            raise ConfigError("baseModel", reason, f"there are: {', '.join(map(str, known)) or 'none'}")
        return safetensors.read(path)

    def cleanup(self) -> None:
        """End the run: whatever is saved from now on needs another."""
        self._run = None

    def _versions(self, name: str) -> Path:
        return self._given(self._root) / "models" / file_name(name)

    @staticmethod
    def _given(path: Path | None) -> Path:
        if path is None:
            raise RunError("the local registry was not set up: call it with a config, then `setup_run`")
        return path


def file_name(name: str) -> str:
    """A name as that of one file in one directory: readable, and never a way out of it."""
    safe = quote(name, safe=" ()[]+=,@", errors="surrogatepass")
    return re.sub(r"^\.", "%2E", safe) or "%"


def _numbers(directory: Path, suffix: str = "") -> list[int]:
    """The numbers that entries of a directory are named by."""
    if not directory.is_dir():
        return []
    names = [path.name.removesuffix(suffix) for path in directory.iterdir() if path.name.endswith(suffix)]
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _next(directory: Path) -> Path:
    """A new directory, named by the next number; several processes may ask at once."""
    directory.mkdir(parents=True, exist_ok=True)
    number = 1 + max(_numbers(directory), default=0)
    while True:
        try:
            (directory / str(number)).mkdir()
        except FileExistsError:
            number += 1
        else:
            return directory / str(number)


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
