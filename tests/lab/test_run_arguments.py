"""What `flame.run` is given is either looked at or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame.errors import ConfigError


def train(net: Any, item: Any) -> None:
    net += item


FUNCTIONS: dict[str, Any] = {"model": lambda: np.zeros(2), "train": train, "data": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"job": "somewhere", **FUNCTIONS}, "data=….: says nothing to a directory's job"),
        ({"job": "somewhere", "settings": {"optimizer": {}}}, "settings=….: says nothing to a directory's job"),
        ({"job": "somewhere", "tag": "hierarchical"}, "tag=….: says nothing to a directory's job"),
        ({**FUNCTIONS, "schema": "s.json"}, "schema=….: says nothing to a job without a directory"),
        ({**FUNCTIONS, "settings": {"optimzer": {}}}, "settings: optimzer: is no setting"),
        ({"train": train, "data": [1]}, "only some of its functions"),
        ({"model": FUNCTIONS["model"], "data": [1]}, "only some of its functions"),
        ({**FUNCTIONS, "data": []}, "data: is empty"),
        ({**FUNCTIONS, "rounds": 0}, "rounds: is 0"),
        ({**FUNCTIONS, "hosts": -1}, "hosts: is -1"),
    ],
)
def test_what_would_not_be_looked_at_is_refused(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        flame.run(**arguments, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_count(tmp_path: Path) -> None:
    settings = {"hyperparameters": {"rounds": 3}}
    result = flame.run(**FUNCTIONS, settings=settings, hosts=0, out=tmp_path)
    assert [array.tolist() for array in result.weights().arrays().values()] == [[4.5, 4.5]]
