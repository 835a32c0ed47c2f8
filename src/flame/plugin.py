"""Plug-ins of a machine: what an operator lets every job do besides, named by files in one folder.

A file names a class and the module that it is in:

```yaml
class: FairnessAnalyzer
package: fairness.analyzer
type: analyzer
```
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from flame.errors import ConfigError

logger = logging.getLogger(__name__)

PLUGIN_PATH = "/etc/flame/plugin"


class PluginType(Enum):
    """What a plug-in is for."""

    UNKNOWN = 0
    ANALYZER = 1


class Plugin(ABC):
    """Something that a role calls at its place in the workflow."""

    @abstractmethod
    def callback(self) -> Callable[..., Any]:
        """The function to call."""


class PluginManager:
    """Makes the plug-ins that the files of a folder name; there need not be such a folder.

    Args:
        path: the folder.

    Raises:
        ConfigError: a file does not say what it has to, or names what is not there.
    """

    def __init__(self, path: str = PLUGIN_PATH) -> None:
        self._plugins: dict[PluginType, dict[tuple[str, str], Plugin]] = {}
        folder = Path(path)
        for file in sorted(folder.iterdir()) if folder.is_dir() else []:
            if file.is_file():
                self._load(file)

    def get_plugins(self, plugin_type: PluginType) -> list[Plugin]:
        """The plug-ins of a type, in the order of their files' names."""
        return list(self._plugins.get(plugin_type, {}).values())

    def _load(self, file: Path) -> None:
        try:
            said = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(str(file), f"is no YAML: {error}") from None
        missing = [key for key in ("class", "package", "type") if not isinstance(said, dict) or key not in said]
        if missing:
            raise ConfigError(str(file), f"does not say {', '.join(missing)}", "class, package and type are needed")
        sort = PluginType.__members__.get(str(said["type"]).upper(), PluginType.UNKNOWN)
        if sort is PluginType.UNKNOWN:
            raise ConfigError(f"{file}.type", f"is {said['type']!r}", "there is: analyzer")
        try:
            made = getattr(import_module(said["package"]), said["class"])()
        except (ImportError, AttributeError) as error:
            raise ConfigError(str(file), f"names what is not there: {error}") from error
        if not isinstance(made, Plugin):
            raise ConfigError(f"{file}.class", f"{said['class']} is no flame.plugin.Plugin")
        self._plugins.setdefault(sort, {}).setdefault((said["package"], said["class"]), made)
