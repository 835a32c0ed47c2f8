"""Resuming with every framework, in a process of its own: JAX must not run where others fork."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LAWS = Path(__file__).parent / "apart" / "resuming_laws.py"


@pytest.mark.timeout(300)
def test_stopped_and_resumed_is_uninterrupted_in_every_framework() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(LAWS)]
    env = {**os.environ, "KERAS_BACKEND": "torch", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=290)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) == 7
