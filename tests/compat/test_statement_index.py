"""Every statement on the page about compatibility is a test that is named after its number."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "compatibility.md"


def places() -> dict[int, set[str]]:
    """The files in which the tests of each statement are."""
    files: dict[int, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_statement_"):
                for number in re.findall(r"(?:statement|and)_(\d\d)_", node.name):
                    files[int(number)].add(str(path.relative_to(ROOT)))
    return files


def test_every_statement_has_a_row_and_a_test_where_it_says() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 38))
    found = places()
    assert sorted(found) == list(range(1, 38))
    for number, _, where in rows:
        named, here = re.findall(r"`([^`]+)`", where), found[int(number)]
        assert all(any(file == place or file.startswith(f"{place}/") for place in named) for file in here), number
        assert all(any(file.startswith(place) for file in here) for place in named), number
