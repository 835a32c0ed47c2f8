"""The reference pages and the site's outline name everything that there is."""

from __future__ import annotations

import argparse
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import flame
from flame import cli, extend
from flame.cli import flamectl

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flame_docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def headings(page: str) -> set[str]:
    text = hooks().on_page_markdown((REFERENCE / page).read_text())
    return {line.lstrip("#").strip() for line in text.splitlines() if re.match("##+ ", line)}


def test_every_error_has_a_heading() -> None:
    assert {error.__name__ for error in hooks().error_classes()} <= headings("errors.md")


@pytest.mark.parametrize(("page", "parser"), [("cli.md", cli.parser), ("flamectl.md", flamectl.parser)])
def test_every_command_has_a_heading(page: str, parser: Callable[[], argparse.ArgumentParser]) -> None:
    assert {name for name, _ in hooks().commands(parser())} <= headings(page)


@pytest.mark.parametrize(
    "kind", ["optimizer", "selector", "gate", "datasampler", "privacy", "compression", "backend", "registry"]
)
def test_every_name_that_a_config_may_choose_has_a_heading(kind: str) -> None:
    assert set(extend.names(kind)) <= headings("choices.md")


def test_every_public_name_has_a_heading() -> None:
    assert {f"flame.{name}" for name in flame.__all__} <= headings("api.md")


def test_no_marker_is_left_unfilled() -> None:
    for page in REFERENCE.glob("*.md"):
        assert "<!-- generated" not in hooks().on_page_markdown(page.read_text()), page


def test_every_page_is_in_the_outline() -> None:
    outline = (ROOT / "mkdocs.yml").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if page not in outline} == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
