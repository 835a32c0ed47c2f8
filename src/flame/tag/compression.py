"""How a channel compresses the weights that are sent on it, as a file says it: a name, or a name and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flame.errors import ConfigError, ExtensionError
from flame.extend import lookup, names
from flame.tag.finding import hint


@dataclass(frozen=True, slots=True)
class Compression:
    """A compressor, chosen for a channel.

    Attributes:
        sort: its name.
        kwargs: its settings; treat the map as read-only.
    """

    sort: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.sort, *(f"{name}={value}" for name, value in self.kwargs.items())])

    def to_plain(self) -> Any:
        """As in the file: the name alone where there are no settings."""
        return {"sort": self.sort, "kwargs": dict(self.kwargs)} if self.kwargs else self.sort


def fault(choice: Compression) -> tuple[str, str, str] | None:
    """What is wrong with a choice: where below the channel, why, and what to do; None if it can be made."""
    try:
        lookup("compression", choice.sort)(**choice.kwargs)
    except ExtensionError as error:
        known = names("compression")
        return "compression", f"no compression is named {error.name!r}", hint(error.name, known)
    except ConfigError as error:
        return error.path, error.reason, error.fix
    except TypeError as error:
        return "compression.kwargs", f"cannot be taken: {error}", "see the settings of each compression"
    return None
