"""Adapters of JAX, Flax and Keras models, each in a process of its own: JAX must not run where others fork."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

APART = Path(__file__).parent / "apart"


@pytest.mark.parametrize(
    ("laws", "backend"),
    [("jax_laws.py", "jax"), ("keras_laws.py", "jax"), ("keras_laws.py", "torch")],
    ids=["jax", "keras-jax", "keras-torch"],
)
def test_laws(laws: str, backend: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(APART / laws)]
    env = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) >= 8


@pytest.mark.parametrize("framework", ["jax", "keras", "flax", "sklearn", "xgboost", "torch", "peft"])
def test_no_framework_is_imported_for_a_model_of_numpy(framework: str) -> None:
    """Nor for what is no model at all."""
    code = f"""
import sys
import numpy as np
from flame.errors import WeightsError
from flame.weights import adapters
adapters.of({{"w": np.zeros(3)}})
try:
    adapters.of(object())
except WeightsError:
    assert not any(name.partition(".")[0] == {framework!r} for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
