"""What a page outside the site links to is there; the site's own links are checked when it is built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "examples").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)|\bsrc=\"([^\"]+)\"")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    targets = [one or other for one, other in LINK.findall(page.read_text())]
    assert [t for t in targets if not t.startswith("https://") and not (page.parent / t).exists()] == []


def test_every_example_is_listed_and_has_a_page_of_its_own() -> None:
    listed = (ROOT / "examples" / "README.md").read_text()
    for folder in (ROOT / "examples").iterdir():
        if folder.is_dir() and any(folder.rglob("main.py")):
            assert (folder / "README.md").is_file(), folder
            assert f"({folder.name}/README.md)" in listed, folder
