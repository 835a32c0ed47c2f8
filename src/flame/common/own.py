"""Objects that a program has written: how they are made, and what a checkpoint keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flame.errors import ConfigError


def made_with(kind: str, sort: str, factory: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
    """Such an object, with the settings that a config gives to it.

    Raises:
        ConfigError: it does not take them.
    """
    try:
        return factory(**settings)
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{kind}.kwargs", f"{sort} does not take them: {error}") from error


def own_state(part: Any) -> dict[str, Any]:
    """What must be kept of such an object to go on later: its `state_dict()`, or else its attributes.

    Functions, and a `regularizer`, which is kept with the trainer that has it, are left out.
    """
    if hasattr(part, "state_dict"):
        return dict(part.state_dict())
    return {name: value for name, value in vars(part).items() if name != "regularizer" and not callable(value)}


def put_back(part: Any, state: Mapping[str, Any]) -> None:
    """Let it go on from what `own_state` returned."""
    if hasattr(part, "load_state_dict"):
        part.load_state_dict(state)
        return
    for name, value in state.items():
        setattr(part, name, value)
