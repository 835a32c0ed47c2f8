"""What says which extra to install."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from flame.common import extra

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]


def test_every_extra_is_one_that_can_be_installed() -> None:
    assert set(extra.EXTRAS.values()) <= set(PROJECT["optional-dependencies"])


def test_what_no_extra_brings_is_left_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"), extra.needed():
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")
    assert extra.remedy(ImportError("cannot import name 'nn' from 'torch'", name="torch")) == ""


def test_a_part_of_a_package_leads_to_its_extra() -> None:
    with pytest.raises(SystemExit, match=r"flax.nnx is not installed: pip install 'flame-fl\[jax\]'"), extra.needed():
        raise ModuleNotFoundError("No module named 'flax.nnx'", name="flax.nnx")
