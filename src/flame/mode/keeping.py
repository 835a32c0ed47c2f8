"""A final model is kept: in the worker's registry, and in the run directory if the worker is part of a run."""

from __future__ import annotations

from functools import partial
from typing import Any

from flame.channel.surroundings import Surroundings
from flame.config import Config
from flame.engine.following import Held
from flame.registry import Registry
from flame.weights.safetensors import write


def keep(model: Any, held: Held, config: Config, registry: Registry, around: Surroundings) -> None:
    """Keep a model; nothing if there is none.

    Raises:
        WeightsError: it has no weights that could be kept.
    """
    if model is None:
        return
    weights = held.adapter(model).snapshot(around.memory.allocate)
    registry.save_model(f"{config.job.name}-{config.job.job_id}", model)
    if around.events is not None:
        around.events.model(partial(write, weights=weights))
