"""A role's program: the class that its folder's `main.py` would run.

A program written to be started as `python main.py config.json` is imported once instead, and its class is
instantiated for each worker. Which class that is, its own `if __name__ == "__main__"` block says.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from flame.common import extra
from flame.errors import ConfigError
from flame.mode.role import Role


def load(folder: Path, role: str) -> type[Role]:
    """The class that runs as a role.

    Args:
        folder: the role's folder; it holds `main.py` and whatever that imports from beside it.
        role: the role's name, for errors.

    Raises:
        ConfigError: there is no `main.py`, importing it fails, or it defines no role.
    """
    path = folder / "main.py"
    if not path.is_file():
        raise ConfigError(str(path), f"role {role} has no program", "every role folder needs a main.py")
    module = _imported(path, role)
    found = {name: thing for name, thing in vars(module).items() if isinstance(thing, type) and issubclass(thing, Role)}
    started = [found[name] for name in _called(path) if name in found]
    own = [thing for thing in found.values() if thing.__module__ == module.__name__]
    candidates = started or own
    if not candidates:
        raise ConfigError(str(path), f"role {role}: no class here is a role", "subclass a role such as flame.Trainer")
    return candidates[-1]


class _Beside:
    """What lies beside a program: its own, even if another role's program has a module of the same name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._modules: dict[str, ModuleType] = {}

    def bring(self, name: str, *given: Any, **named: Any) -> ModuleType:
        """Import as `__import__` does; the program's own imports go through here, early and late ones."""
        if not self._has(name):
            return builtins.__import__(name, *given, **named)
        with self.first():
            return builtins.__import__(name, *given, **named)

    @contextmanager
    def first(self) -> Iterator[None]:
        """The folder comes first, and other folders' modules of the same names are not there."""
        others = self._taken()
        sys.modules.update(self._modules)
        sys.path.insert(0, str(self._folder))
        try:
            yield
        finally:
            sys.path.remove(str(self._folder))
            self._modules |= self._taken()
            sys.modules.update(others)

    def _taken(self) -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if self._has(name)}

    def _has(self, name: str) -> bool:
        top = name.partition(".")[0]
        return (self._folder / f"{top}.py").is_file() or (self._folder / top).is_dir()


def _imported(path: Path, role: str) -> ModuleType:
    """Import a program under a name of its own.

    Raises:
        ConfigError: it cannot be imported.
    """
    path = path.resolve()
    name = f"flame_program_{role.replace('-', '_')}_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file always has both
    module = importlib.util.module_from_spec(spec)
    beside = _Beside(path.parent)
    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": beside.bring}
    sys.modules[name] = module
    try:
        with beside.first():
            spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f"{error.filename}:{error.lineno}", f"role {role}: {error.msg}") from error
    except ImportError as error:
        raise ConfigError(
            str(path), f"role {role}: {error}", extra.remedy(error) or "install what the program imports"
        ) from error
    except (Exception, SystemExit) as error:  # a program may raise anything while it is imported
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{path}" if at.filename == str(path) else f"{path}: {at.filename}"
        said = f"role {role}: line {at.lineno} raises {type(error).__name__}: {error}"
        raise ConfigError(where, said, "importing it must work") from error
    return module


def _called(path: Path) -> list[str]:
    """The names that the program's `if __name__ == "__main__"` block calls."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)]
    calls = [node for block in blocks for node in ast.walk(block) if isinstance(node, ast.Call)]
    return [call.func.id for call in calls if isinstance(call.func, ast.Name)]
