"""Attributes that a subclass must set in its constructor.

User code subclasses a role without calling the role's constructor, so a role cannot ask there for what it
needs. It declares the names instead, and the metaclass looks for them right after the subclass's constructor.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any


class _AbstractAttribute:
    """Stands where an attribute is missing."""

    def __init__(self, declaration: Callable[[Any], object]) -> None:
        self.__doc__ = declaration.__doc__

    def __get__(self, instance: object, owner: type) -> _AbstractAttribute:
        return self


def abstract_attribute(declaration: Callable[[Any], Any]) -> Any:
    """Declare an attribute that every instance must have after its constructor; `None` will do.

    Used as a decorator of a function that is never called; its name is the attribute's, its docstring says
    what it is for.
    """
    return _AbstractAttribute(declaration)


class ABCMeta(abc.ABCMeta):
    """A metaclass for abstract classes that also have abstract attributes."""

    _declared: tuple[str, ...]

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(name, bases, namespace, **kwargs)
        names = {attribute for parent in cls.__mro__ for attribute in vars(parent)}
        declared = (each for each in names if isinstance(getattr(cls, each, None), _AbstractAttribute))
        cls._declared = tuple(sorted(declared))

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an instance.

        Raises:
            NotImplementedError: its constructor left abstract attributes unset; the message names them.
        """
        instance = super().__call__(*args, **kwargs)
        unset = [name for name in cls._declared if isinstance(getattr(instance, name, None), _AbstractAttribute)]
        if unset:
            names = ", ".join(unset)
            raise NotImplementedError(
                f"Can't instantiate abstract class {cls.__name__} with abstract attributes: {names}"
            )
        return instance
