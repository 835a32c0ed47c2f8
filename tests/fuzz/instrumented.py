"""The fuzzer itself, a process that a crash ends: `instrumented.py TARGET`, then what libFuzzer is told."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["flame"]):
    from targets import TARGETS

if __name__ == "__main__":
    target = sys.argv[1]
    # To merge, the fuzzer has the shell start its own first argument again.
    itself = f"{sys.executable} {__file__} {target}"
    atheris.Setup([itself, *sys.argv[2:]], TARGETS[target][0])
    atheris.Fuzz()
