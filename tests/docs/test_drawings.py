"""The drawings of templates show the templates as they are, and every page that should show one does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from flame.tag import templates

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_each_template_has_the_drawing_that_it_would_have_now() -> None:
    spec = importlib.util.spec_from_file_location("flame_docs_drawings", DOCS / "drawings.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    there = {path.name: path.read_text() for path in (DOCS / "drawings").iterdir()}
    assert there == module.drawings(), "run `make fix`"


def test_the_page_of_topologies_shows_and_explains_each_template() -> None:
    page = (DOCS / "explanation" / "topologies.md").read_text()
    assert [name for name in templates() if f"](../drawings/{name}.svg)" not in page or f"`{name}`" not in page] == []
