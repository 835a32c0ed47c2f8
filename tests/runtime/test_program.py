"""A role's program is found in its folder, whatever it is called and whatever it imports from beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from small_jobs import AGGREGATOR, TRAINER, job_folder

import flame
from flame.errors import ConfigError
from flame.runtime.program import load

WHOSE = """
from {module} import WHOSE
from flame.mode.horizontal.trainer import Trainer
class Site(Trainer):
    whose = WHOSE
"""


def folder(top: Path, **files: str) -> Path:
    """A role's folder: `main` is main.py, `helper__init` is helper/__init__.py."""
    for name, text in files.items():
        path = top / f"{name.replace('__init', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def program(*classes: str, more: str = "") -> str:
    return (
        "from flame.mode.horizontal.trainer import Trainer\n"
        + "".join(f"class {name}(Trainer):\n    pass\n" for name in classes)
        + more
    )


def test_the_class_that_the_main_block_starts(tmp_path: Path) -> None:
    more = 'if __name__ == "__main__":\n    first = First("config")\n    first.compose()\n'
    assert load(folder(tmp_path / "a", main=program("First", "Second", more=more)), "trainer").__name__ == "First"
    assert load(folder(tmp_path / "b", main=program("First", "Second")), "trainer").__name__ == "Second"


def test_a_class_that_is_only_imported_may_be_started(tmp_path: Path) -> None:
    main = 'from sites import Site\nif __name__ == "__main__":\n    Site(None)\n'
    assert load(folder(tmp_path, main=main, sites=program("Site")), "trainer").__name__ == "Site"


def test_the_main_block_is_not_run(tmp_path: Path) -> None:
    more = 'if __name__ == "__main__":\n    raise SystemExit(Site(None))\n'
    assert load(folder(tmp_path, main=program("Site", more=more)), "trainer").__name__ == "Site"


@pytest.mark.parametrize("relative", [False, True])
def test_modules_of_the_same_name_beside_two_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    """Each role finds its own, also where the job's folder is given relative to this one."""
    text = WHOSE.format(module="utils")
    for role in ("one", "two"):
        folder(tmp_path / role, main=text, utils=f"WHOSE = {role!r}\n")
    monkeypatch.chdir(tmp_path)
    top = Path() if relative else tmp_path
    assert [load(top / role, role).whose for role in ("one", "two")] == ["one", "two"]  # type: ignore[attr-defined]


def test_packages_of_the_same_name_beside_two_programs(tmp_path: Path) -> None:
    text = WHOSE.format(module="nets")
    for role in ("one", "two"):
        folder(tmp_path / role, main=text, nets__init=f"WHOSE = {role!r}\n")
    assert [load(tmp_path / role, role).whose for role in ("one", "two")] == ["one", "two"]  # type: ignore[attr-defined]


def test_a_module_that_is_imported_late_is_the_roles_own(tmp_path: Path) -> None:
    """An import inside of a method happens when the worker runs."""
    late = "    def whose(self):\n        from later import WHOSE\n        return WHOSE\n"
    text = "from flame.mode.horizontal.trainer import Trainer\nclass Site(Trainer):\n" + late
    for role in ("one", "two"):
        folder(tmp_path / role, main=text, later=f"WHOSE = {role!r}\n")
    loaded = [load(tmp_path / role, role) for role in ("one", "two")]
    assert [role.whose(None) for role in loaded] == ["one", "two"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("x = 1\n", r"main\.py: role trainer: no class here is a role \(subclass a role such as flame\.Trainer\)"),
        ("x = 1\ny = = 2\n", r"main\.py:2: role trainer: invalid syntax"),
        ("import no_such_module_anywhere\n", r"main\.py: role trainer: No module named 'no_such_module_anywhere'"),
    ],
)
def test_a_program_that_cannot_be_loaded(tmp_path: Path, main: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(folder(tmp_path, main=main), "trainer")


def test_a_folder_without_a_program(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"main\.py: role trainer has no program"):
        load(tmp_path, "trainer")


def test_a_syntax_error_in_a_module_beside_it_is_located_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"helper\.py:3: "):
        load(folder(tmp_path, main="import helper\n", helper="\n\nx = = 1\n"), "trainer")


@pytest.mark.parametrize("statement", ["raise ValueError('no data')", "undefined", "import sys; sys.exit(3)"])
def test_a_program_that_fails_while_it_is_imported(tmp_path: Path, statement: str) -> None:
    with pytest.raises(ConfigError, match=r"main\.py: role trainer: "):
        load(folder(tmp_path, main=f"{statement}\n"), "trainer")


def test_loading_leaves_the_search_path_in_order(tmp_path: Path) -> None:
    """A role's folder does not hide installed modules afterwards."""
    before = list(sys.path)
    load(folder(tmp_path, main=program("Site"), json="BROKEN = True\n"), "trainer")
    assert sys.path[: len(before)] == before


def test_a_run_reads_what_lies_beside_its_programs(tmp_path: Path) -> None:
    own = "SIZE = {size}\n"
    job = job_folder(
        tmp_path / "job",
        **{
            "trainer/sizes.py": own.format(size=2),
            "aggregator/sizes.py": own.format(size=2),
            "trainer/main.py": "from sizes import SIZE\n" + TRAINER.replace("zeros(3", "zeros(SIZE"),
            "aggregator/main.py": "from sizes import SIZE\n" + AGGREGATOR.replace("zeros(3", "zeros(SIZE"),
        },
    )
    result = flame.run(job, hosts=2, out=tmp_path / "out")
    assert result.status == "completed" and result.final("first") == 2.0
    assert os.listdir(tmp_path) and (tmp_path / "out" / "model.safetensors").is_file()
