"""The notebook runs from its first cell to its last, and its federation is better than a site alone."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook" / "first_federation.ipynb"


@pytest.mark.filterwarnings("ignore")  # the kernel's libraries warn about each other
def test_the_notebook_runs(tmp_path: Path) -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(book, timeout=100, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = [cell.outputs for cell in book.cells if cell.cell_type == "code"]
    together = float(said[-2][0]["data"]["text/plain"])
    alone = float(said[-1][0]["data"]["text/plain"].partition(": ")[2].rstrip("}"))
    assert together > 0.75 > alone + 0.3
    assert "text/html" in said[3][0]["data"]


def test_it_takes_few_lines() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell.source for cell in book.cells if cell.cell_type == "code"]
    run = next(source for source in cells if "flame.run" in source)
    assert len([line for line in run.splitlines() if line.strip()]) <= 10
