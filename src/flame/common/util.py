"""Helpers that programs import; no machine-learning framework is imported until a function needs it."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Coroutine, Mapping, Sequence
from enum import Enum
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flame.common.constants import DeviceType

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger(__name__)

_DOWNLOAD_TIMEOUT_S = 60.0
_BARE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


class MLFramework(Enum):
    """The machine-learning framework of a model."""

    UNKNOWN = 1
    PYTORCH = 2
    TENSORFLOW = 3
    NUMPY = 4


#: The name under which `get_ml_framework_in_use` takes each framework.
_BY_NAME = {"pytorch": MLFramework.PYTORCH, "tensorflow": MLFramework.TENSORFLOW, "numpy": MLFramework.NUMPY}

#: The module that shows that a framework is in use, in order of precedence.
_BY_MODULE = {
    "torch": MLFramework.PYTORCH,
    "tensorflow": MLFramework.TENSORFLOW,
    "keras": MLFramework.TENSORFLOW,
    "numpy": MLFramework.NUMPY,
}

valid_frameworks = ["pytorch", "tensorflow"]


def get_ml_framework_in_use(
    model: object = None, *, explicit: str = "", loaded: Mapping[str, object] | None = None
) -> MLFramework:
    """The framework that a worker uses.

    What is said counts before what the model is, and that before what happens to be imported: torch, which many
    a library pulls in, must not decide over a Keras model.

    Args:
        model: a model, or None to look at the imported modules only.
        explicit: `pytorch`, `tensorflow` or `numpy` to decide it.
        loaded: the imported modules; `sys.modules` by default.

    Raises:
        ValueError: `explicit` is none of them.
    """
    if explicit:
        if explicit not in _BY_NAME:
            raise ValueError(f"no framework named {explicit!r}; there are: {', '.join(_BY_NAME)}")
        return _BY_NAME[explicit]
    modules = {parent.__module__.partition(".")[0] for parent in type(model).__mro__}
    for module, framework in _BY_MODULE.items():
        if module in modules:
            return framework
    if isinstance(model, list | dict):
        return MLFramework.NUMPY
    imported = sys.modules if loaded is None else loaded
    named = (framework for module, framework in _BY_MODULE.items() if module in imported and module != "numpy")
    return next(named, MLFramework.UNKNOWN)


def get_dataset_filename(link: str) -> str:
    """The local file behind a link.

    `https://` is downloaded into the working directory under the last part of its path, and replaces what is
    there only when all of it has come; `file://` is the path that follows.

    Raises:
        TypeError: another kind of link.
        ValueError: the link names no file.
        OSError: it cannot be fetched.
    """
    if link.startswith("file://"):
        return link.removeprefix("file://")
    if not link.startswith("https://"):
        raise TypeError("link format not supported; use either https:// or file://")
    from urllib.request import urlopen

    name = Path(urlsplit(link).path).name
    if not name:
        raise ValueError(f"{link} names no file")
    part = Path(f"{name}.part")
    with urlopen(link, timeout=_DOWNLOAD_TIMEOUT_S) as answer, part.open("wb") as file:
        while block := answer.read(1 << 20):
            file.write(block)
    part.replace(name)
    return name


def install_packages(packages: Sequence[str]) -> None:
    """Install what is not there yet, with pip in a process of its own.

    Returns at once when everything is there. Without a network it warns and returns, so that the import that
    follows says what is missing.
    """
    missing = [package for package in packages if not _is_there(package)]
    if not missing:
        return
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "15"]
    command = [sys.executable, "-m", "pip", "install", *quiet, "--", *missing]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        logger.warning("cannot install %s: %s", ", ".join(missing), done.stderr.strip()[-500:])


def install_package(package: str) -> None:
    """Install one package; see `install_packages`."""
    install_packages([package])


def _is_there(package: str) -> bool:
    """Whether a bare name can be imported or is installed; a version is for pip to judge."""
    if not _BARE_NAME.match(package):
        return False
    try:
        distribution(package)
    except PackageNotFoundError:
        return package.isidentifier() and find_spec(package) is not None
    return True


def background_thread_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Run an event loop for ever, in a thread of the program's own."""
    import asyncio

    asyncio.set_event_loop(loop)
    loop.run_forever()


def run_async(
    coro: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, timeout: float | None = None
) -> tuple[Any, bool]:
    """Run a coroutine on a loop that runs in another thread, and wait for it.

    Args:
        coro: what is to be done.
        loop: where.
        timeout: for how many seconds it is waited; None for as long as it takes.

    Returns:
        Its result and True; None and False if it did not end in time, and it is cancelled then.
    """
    import asyncio

    future = asyncio.run_coroutine_threadsafe(coro, loop)
    try:
        return future.result(timeout), True
    except TimeoutError:
        future.cancel()
        return None, False


def get_params_detached_pytorch(model: Any) -> list[Any]:
    """Copies of a torch module's parameters, outside of autograd, in the module's order."""
    return [parameter.detach().clone() for parameter in model.parameters()]


def get_params_as_vector_pytorch(model: Any) -> Any:
    """A torch module's parameters as one vector of shape `(number of parameters,)`, outside of autograd."""
    import torch

    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def delta_weights_pytorch(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`a - b`, tensor by tensor; None when either is None."""
    if a is None or b is None:
        return None
    return {name: tensor - b[name] for name, tensor in a.items()}


def delta_weights_tensorflow(a: Sequence[Any] | None, b: Sequence[Any] | None) -> list[Any] | None:
    """`a - b`, array by array; None when either is None."""
    if a is None or b is None:
        return None
    return [x - y for x, y in zip(a, b, strict=True)]


def get_pytorch_device(device: DeviceType) -> Any:
    """The torch device of a kind: the current GPU, or the CPU."""
    import torch

    return torch.device("cuda" if device is DeviceType.GPU else "cpu")


def weights_to_device(weights: Any, device: DeviceType) -> Any:
    """Torch weights on a device; anything else as it is."""
    if not isinstance(weights, Mapping):
        return weights
    return _moved(weights, get_pytorch_device(device))


def weights_to_model_device(weights: Any, model: Any) -> Any:
    """Torch weights on the device of a module's parameters; anything else as it is."""
    parameters = getattr(model, "parameters", None)
    if not isinstance(weights, Mapping) or parameters is None:
        return weights
    return _moved(weights, next(iter(parameters())).device)


def _moved(weights: Mapping[str, Any], device: Any) -> dict[str, Any]:
    return {name: tensor.to(device) if hasattr(tensor, "to") else tensor for name, tensor in weights.items()}
