"""Every input with which a fuzzer once found something, without a fuzzer; and each fuzzer for a moment.

Whoever mends a defect that a fuzzer has found leaves the input in the corpus, under a name that says so.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from targets import TARGETS
from targets.inputs import cut, joined

HERE = Path(__file__).parent
FILES = sorted((HERE / "corpus").glob("*/*"))
MOST_BYTES = 300 << 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_fuzzer_has_found(path: Path) -> None:
    TARGETS[path.parent.name][0](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_valid(name: str) -> None:
    target, seeds = TARGETS[name]
    for seed in seeds():
        target(seed)
        for at in range(0, len(seed), max(1, len(seed) // 20)):
            target(seed[:at])


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes(name: str, data: st.DataObject) -> None:
    TARGETS[name][0](data.draw(st.binary(max_size=300)))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_valid_bytes_with_others_in_them(name: str, data: st.DataObject) -> None:
    target, seeds = TARGETS[name]
    seed = data.draw(st.sampled_from(list(seeds())))
    first, last = sorted((data.draw(st.integers(0, len(seed))), data.draw(st.integers(0, len(seed)))))
    target(seed[:first] + data.draw(st.binary(max_size=20)) + seed[min(last, first + 20) :])


@given(st.lists(st.binary(max_size=50)))
def test_what_is_joined_is_cut_as_it_was(pieces: list[bytes]) -> None:
    assert list(cut(joined(*pieces))) == pieces


def test_the_corpus_is_small() -> None:
    assert {path.parent.name for path in FILES} <= set(TARGETS)
    assert sum(path.stat().st_size for path in FILES) < MOST_BYTES


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzzer_for_a_moment(name: str) -> None:
    """It begins with the corpus, and with the same random numbers each time."""
    command = [sys.executable, str(HERE / "fuzz.py"), name, "--seconds", "2", "--seed", "1", "--discard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
