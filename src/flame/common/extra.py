"""Packages that Flame does without, and which extra brings each of them.

A script that computes with a framework imports it in a `with` block, so that whoever lacks it reads what to install:

    with extra.needed():
        import jax
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXTRAS = {
    "amqtt": "broker",
    "cryptography": "tls",
    "flax": "jax",
    "jax": "jax",
    "keras": "keras",
    "mlflow": "mlflow",
    "opacus": "privacy",
    "optax": "jax",
    "paho": "mqtt",
    "peft": "lora",
    "skimage": "examples",
    "sklearn": "sklearn",
    "torch": "torch",
    "transformers": "lora",
    "xgboost": "xgboost",
    "zstandard": "compression",
}
"""The extra that brings a package, by the name under which the package is imported."""


def remedy(error: ImportError) -> str:
    """The command that installs what could not be imported; "" where no extra brings it, or where it is there."""
    package = (error.name or "").partition(".")[0]
    known = isinstance(error, ModuleNotFoundError) and package in EXTRAS
    return f"pip install 'flame-fl[{EXTRAS[package]}]'" if known else ""


@contextmanager
def needed() -> Iterator[None]:
    """Ends the script in one line, with the remedy, where a package that is imported in the block is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not (command := remedy(error)):
            raise
        raise SystemExit(f"{error.name} is not installed: {command}") from None
