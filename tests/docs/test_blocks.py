"""Every command and code block of the documentation runs.

A page's blocks are worked through in order, in an empty folder that has a copy of `examples/` as it is checked out:
a block with a title is written to the file of that name; `sh` is run; `python` is run by itself; `json` has to parse;
`text` is output or a drawing and is not run. Commands that fetch or install are checked for being there instead.
A command with `&` at its end runs until the page has ended, from when it has written its first line. The folder is the
home, too, and the server's usual port is another one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from upstream import free_address, until

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEHIND = re.compile(r"(.*> (\S+)) &")
PORT = "10100"
NOT_HERE = ("git ", "cd ", "python3 -m venv", ". .venv/")


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for match in FENCE.finditer(page.read_text()):
        yield Block(match.group(1), match.group(2) or "", match.group(3))


def to_run(page: Path) -> bool:
    return any(block.language in ("sh", "python") or block.title for block in blocks(page))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_only_blocks_that_are_checked(page: Path) -> None:
    fences = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)
    assert len(fences) % 2 == 0
    found = list(blocks(page))
    assert len(found) == len(fences) // 2, "a fence that the pattern does not know"
    for block in found:
        assert block.language in ("sh", "python", "json", "text"), block
        if block.language == "json":
            json.loads(block.text)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=name)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("runs", "data", "__pycache__")
    )
    port = free_address().rpartition(":")[2]
    with ExitStack() as behind:
        for block in blocks(page):
            text = block.text.replace(PORT, port)
            if block.title:
                file = tmp_path / block.title
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            elif block.language == "python":
                execute([sys.executable, "-c", text], tmp_path)
            elif block.language == "sh":
                for line in text.replace("\\\n", " ").splitlines():
                    command = line.partition("  #")[0].strip()
                    if found := BEHIND.fullmatch(command):
                        behind.enter_context(running(found[1], tmp_path / found[2]))
                    else:
                        shell(command, tmp_path)


@contextmanager
def running(command: str, log: Path) -> Iterator[None]:
    """Run a command beside the others, from its first line on."""
    process = subprocess.Popen(["bash", "-c", command], cwd=log.parent, env=environment(log.parent), process_group=0)
    try:
        until(lambda: process.poll() is not None or (log.exists() and log.stat().st_size), command)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def shell(command: str, folder: Path) -> None:
    """Run one line, or check it where running it would install or take long."""
    if command.startswith("make "):
        execute(["make", "--dry-run", "--directory", str(ROOT), *command.split()[1:]], folder)
    elif "pip install" in command:
        asked = re.search(r"\[([\w,]+)\]", command)
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set(asked.group(1).split(",") if asked else ()) <= set(extras)
    elif command and not command.startswith(NOT_HERE):
        if command.startswith("flame run examples/") and "rounds" not in command:
            command += " --set hyperparameters.rounds=2"
        if command.startswith("python examples/findings/"):
            command += " --rounds 2 --seeds 2"
        execute(["bash", "-euo", "pipefail", "-c", command], folder)


def execute(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "HOME": str(folder)}
