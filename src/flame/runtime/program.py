"""A role's program: the class that its folder's `main.py` would run.

A program written to be started as `python main.py config.json` is imported once instead, and its class is
instantiated for each worker. Which class that is, its own `if __name__ == "__main__"` block says.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

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


def _imported(path: Path, role: str) -> ModuleType:
    """Import a program under a name of its own; what it imports from beside it stays apart from other roles'."""
    name = f"flame_program_{role.replace('-', '_')}_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file always has both
    module = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    sys.modules[name] = module
    path = path.absolute()
    folder = str(path.parent)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f"{error.filename or path}:{error.lineno}", f"role {role}: {error.msg}") from error
    except ImportError as error:
        raise ConfigError(str(path), f"role {role}: {error}", "install what the program imports") from error
    except (Exception, SystemExit) as error:  # whatever a program does when it is imported is its author's to see
        last = traceback.format_exception_only(error)[-1].strip()
        raise ConfigError(str(path), f"role {role}: importing it raised {last}") from error
    finally:
        sys.path.remove(folder)
        # Two roles may each have a `utils.py`; the second must not get the first's.
        for other in set(sys.modules) - before - {name}:
            origin = getattr(sys.modules[other], "__file__", None) or ""
            if Path(origin).is_relative_to(path.parent):
                del sys.modules[other]
    sys.path.append(folder)
    return module


def _called(path: Path) -> list[str]:
    """The names that the program's `if __name__ == "__main__"` block calls."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)]
    calls = [node for block in blocks for node in ast.walk(block) if isinstance(node, ast.Call)]
    return [call.func.id for call in calls if isinstance(call.func, ast.Name)]
