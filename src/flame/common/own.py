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

    Functions, and a `regularizer`, which is kept with the trainer that has it, are left out. Of an attribute that has a
    state itself, such as the server half of an optimizer that was subclassed, that is kept.
    """
    if hasattr(part, "state_dict"):
        return dict(part.state_dict())
    kept = {name: value for name, value in vars(part).items() if name != "regularizer" and not callable(value)}
    return {name: value.state() if _keeps(value) else value for name, value in kept.items()}


def put_back(part: Any, state: Mapping[str, Any]) -> None:
    """Let it go on from what `own_state` returned."""
    if hasattr(part, "load_state_dict"):
        part.load_state_dict(state)
        return
    for name, value in state.items():
        held: Any = getattr(part, name, None)
        if _keeps(held):
            held.restore(value)
        else:
            setattr(part, name, value)


def _keeps(value: Any) -> bool:
    return hasattr(value, "state") and hasattr(value, "restore")
