"""The helpers and constants that programs import."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flame.common import constants
from flame.common.util import (
    MLFramework,
    delta_weights_pytorch,
    delta_weights_tensorflow,
    get_dataset_filename,
    get_ml_framework_in_use,
    get_params_as_vector_pytorch,
    get_params_detached_pytorch,
    install_package,
    install_packages,
    weights_to_device,
    weights_to_model_device,
)
from flame.dataset import Dataset


def test_a_file_link_is_the_path_behind_it() -> None:
    assert get_dataset_filename("file:///data/site 1.npz") == "/data/site 1.npz"


@pytest.mark.parametrize("link", ["http://host/a.npz", "a.npz", "s3://bucket/a.npz", ""])
def test_another_link_is_refused(link: str) -> None:
    with pytest.raises(TypeError, match=r"^link format not supported; use either https:// or file://$"):
        get_dataset_filename(link)


def test_a_link_that_cannot_be_fetched_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no file"):
        get_dataset_filename("https://localhost:1/")
    with pytest.raises(OSError, match="refused"):
        get_dataset_filename("https://localhost:1/nothing-of-this-name.npz")
    assert not list(Path().glob("nothing-of-this-name*"))


def test_what_is_there_is_not_installed(caplog: pytest.LogCaptureFixture) -> None:
    install_packages(["numpy", "json"])
    install_package("pytest-timeout")
    assert not caplog.records


def test_what_cannot_be_installed_is_said_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    handlers = list(logging.getLogger().handlers)
    install_packages(["./no-such-folder"])
    assert "cannot install ./no-such-folder" in caplog.text
    assert logging.getLogger().handlers == handlers


def test_the_framework_is_what_was_said_then_what_the_model_is_then_what_is_loaded() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    assert get_ml_framework_in_use(model, explicit="numpy") is MLFramework.NUMPY
    assert get_ml_framework_in_use(model, loaded={}) is MLFramework.PYTORCH
    assert get_ml_framework_in_use([np.zeros(3)]) is MLFramework.NUMPY
    assert get_ml_framework_in_use(np.zeros(3)) is MLFramework.NUMPY
    assert get_ml_framework_in_use(loaded={"tensorflow": 1, "numpy": 1}) is MLFramework.TENSORFLOW
    assert get_ml_framework_in_use(loaded={"tensorflow": 1, "torch": 1}) is MLFramework.PYTORCH
    assert get_ml_framework_in_use(loaded={"numpy": 1}) is MLFramework.UNKNOWN
    with pytest.raises(ValueError, match="no framework named 'jax'; there are: pytorch, tensorflow, numpy"):
        get_ml_framework_in_use(explicit="jax")


def test_parameters_are_copies_outside_of_autograd() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    copies = get_params_detached_pytorch(model)
    copies[0].zero_()
    assert model.weight.abs().sum() > 0
    assert not any(copy.requires_grad for copy in copies)
    vector = get_params_as_vector_pytorch(model)
    assert vector.shape == (3,)
    assert not vector.requires_grad
    weights = weights_to_model_device(weights_to_device(model.state_dict(), constants.DeviceType.CPU), model)
    assert list(weights) == ["weight", "bias"]


def test_a_delta_undone_is_the_weights() -> None:
    rng = np.random.default_rng(1)
    a: dict[str, Any] = {"w": rng.normal(size=(3, 2)), "n": np.int64(5)}
    b: dict[str, Any] = {"w": rng.normal(size=(3, 2)), "n": np.int64(2)}
    delta = delta_weights_pytorch(a, b)
    assert delta is not None
    np.testing.assert_allclose(delta["w"] + b["w"], a["w"])
    rows = delta_weights_tensorflow(list(a.values()), list(b.values()))
    assert rows is not None
    np.testing.assert_array_equal(rows[0], delta["w"])
    assert delta_weights_pytorch(None, b) is None
    assert delta_weights_tensorflow(list(a.values()), None) is None


class Shuffling:
    """A loader that gives another batch at each pass, and counts the passes."""

    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self):  # type: ignore[no-untyped-def]
        self.passes += 1
        yield [self.passes], [10 * self.passes], ["index"]
        raise AssertionError("only the first batch is wanted")


def test_samples_and_labels_come_from_one_pass() -> None:
    loader = Shuffling()
    dataset = Dataset(dataloader=loader)
    assert dataset.get() == ([1], [10])
    assert dataset.get() == ([1], [10])
    assert loader.passes == 1


def test_a_dataset_of_given_samples() -> None:
    x, y = np.ones(2), np.zeros(2)
    assert Dataset(x, y).get()[0] is x
    assert Dataset(x=x, y=y).get()[1] is y
    with pytest.raises(ValueError, match=r"^x, y and dataloader are None$"):
        Dataset()
    with pytest.raises(ValueError, match="yields no batch"):
        Dataset(dataloader=[])


def test_constants_are_upstreams() -> None:
    assert constants.DATA_FOLDER_PATH == "/flame/data"
    assert (constants.MSG_LEN_FIELD_SIZE, constants.EMPTY_PAYLOAD) == (4, b"")
    assert [state.name for state in constants.TrainState] == ["PRE", "DURING", "POST"]
