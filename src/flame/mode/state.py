"""A role's state between two passes of its loop, taken out and put back: the engine's, the program's, its objects'.

Between two passes a role holds nothing that is under way: every order it took is answered. So what it needs to go on
in another process is a handful of values, and no stack.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from flame.errors import RunError
from flame.mode.role import Role

_KINDS: dict[type[Any], str | None] = {}
"""Of each class that was met, how the state of its objects is had: every worker is looked at after every round."""


def objects_of(role: Role) -> dict[str, Any]:
    """What a role's attributes hold that has a state of its own: optimizers, modules, generators, by attribute."""
    model = getattr(role, "model", None)
    return {name: value for name, value in vars(role).items() if _kind_of(value) is not None and value is not model}


def state_of(role: Role, lasting: Iterable[str]) -> dict[str, Any]:
    """What a role needs to go on later, as values that the wire's codec takes.

    Args:
        role: it is between two passes of its loop.
        lasting: the attributes whose objects outlive a round.
    """
    return {
        "engine": role._state(),
        "program": dict(role.state_dict()),
        "objects": {name: _taken(getattr(role, name)) for name in lasting},
    }


def restore(role: Role, state: Mapping[str, Any]) -> None:
    """Put back what `state_of` took.

    Raises:
        RunError: the program makes no such object any more.
    """
    role._restore(state["engine"])
    for name, kept in state["objects"].items():
        value = getattr(role, name, None)
        if _kind_of(value) is None:
            raise RunError(f"{role.config.name} kept the state of `{name}`, and its program no longer makes that")
        _put(value, kept)
    if state["program"]:
        role.load_state_dict(state["program"])


def _kind_of(value: object) -> str | None:
    """How an object's state is had; None if it has none."""
    kind = type(value)
    if kind not in _KINDS:
        _KINDS[kind] = _found(kind)
    return _KINDS[kind]


def _found(kind: type[Any]) -> str | None:
    if issubclass(kind, np.random.Generator | random.Random | np.random.RandomState):
        return "generator"
    if kind.__module__.partition(".")[0] == "torch" and kind.__name__ == "Generator":
        return "torch"
    return "own" if hasattr(kind, "state_dict") and hasattr(kind, "load_state_dict") else None


def _taken(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return dict(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=True)
    if isinstance(value, random.Random):
        return value.getstate()
    return value.get_state() if _kind_of(value) == "torch" else _plain(value.state_dict())


def _put(value: Any, kept: Any) -> None:
    if isinstance(value, np.random.Generator):
        value.bit_generator.state = kept
    elif isinstance(value, np.random.RandomState):
        value.set_state(kept)
    elif isinstance(value, random.Random):
        value.setstate(kept)
    elif _kind_of(value) == "torch":
        value.set_state(kept)
    else:
        value.load_state_dict(kept)


def _plain(value: Any) -> Any:
    """Mappings and sequences of whatever class as plain ones: a module's state is an ordered dict with attributes."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_items(value)) if type(value) in (list, tuple) else list(_items(value))
    return value.detach() if hasattr(value, "detach") else value


def _items(values: Any) -> Iterator[Any]:
    return (_plain(item) for item in values)
