"""The examples' own files: programs are loaded by path, data is prepared where it is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Load = Callable[[str], ModuleType]


@pytest.fixture(scope="session")
def load() -> Load:
    """Loads an example's program as a module: `load("heart/compare.py")`."""

    def loaded(path: str) -> ModuleType:
        name = "example_" + path.removesuffix(".py").replace("/", "_").replace("-", "_")
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return loaded


@pytest.fixture(scope="session")
def medmnist(load: Load) -> Path:
    """The Med-MNIST example, with its default data."""
    load("medmnist/prepare.py").prepare(EXAMPLES / "medmnist" / "data")
    return EXAMPLES / "medmnist"


@pytest.fixture(scope="session")
def topologies(load: Load) -> Path:
    """The topologies example, with its data."""
    load("topologies/prepare.py").prepare(EXAMPLES / "topologies" / "data")
    return EXAMPLES / "topologies"
