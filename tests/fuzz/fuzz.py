"""Fuzz targets: `python tests/fuzz/fuzz.py [--seconds N] [TARGET …]`; all of them without a name.

What reached new code is kept in `corpus/TARGET`, as few and small files as do; so is whatever broke the target, under a
name that begins with `crash-`, `timeout-` or `oom-`, until somebody removes it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from targets import TARGETS

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
HERE = Path(__file__).parent
MOST_FILES = 60
LARGEST = 8 << 10
"""Bytes of an input."""

LIMITS = ("-rss_limit_mb=2048", "-malloc_limit_mb=512", "-timeout=10")


def main() -> int:
    """Fuzz, then keep what was found; 0 if nothing was broken."""
    parser = argparse.ArgumentParser(description="Fuzz targets, one after the other.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="of each (60)")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzzer's random numbers (0: another each time)")
    parser.add_argument("--discard", action="store_true", help="leave the corpus as it is")
    wanted = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed; there is one for Linux on x86-64")
    unknown = set(wanted.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are: {', '.join(TARGETS)}")
    broken = [
        name
        for name in wanted.targets or TARGETS
        if fuzz(name, wanted.seconds, seed=wanted.seed, keep=not wanted.discard)
    ]
    if broken:
        print(f"broken: {', '.join(broken)}", file=sys.stderr)
    return int(bool(broken))


def fuzz(target: str, seconds: int, *, seed: int = 0, keep: bool = True) -> int:
    """Fuzz one target; returns the fuzzer's exit status."""
    corpus = HERE / "corpus" / target
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        new, seeds, kept = (Path(folder, name) for name in ("new", "seeds", "kept"))
        for each in (new, seeds, kept, corpus):
            each.mkdir(parents=True, exist_ok=True)
        words = _prepare(target, seeds, Path(folder, "words"))
        status = _fuzzer(
            folder,
            target,
            *map(str, (new, corpus, seeds)),
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-max_len={LARGEST}",
            f"-dict={words}",
            f"-artifact_prefix={corpus if keep else folder}/",
        )
        if status == 0 and keep:
            status = _fuzzer(folder, target, *map(str, (kept, seeds, corpus, new)), "-merge=1", "-use_counters=0")
            if status == 0:
                _keep(corpus, kept, {one.read_bytes() for one in seeds.iterdir()})
    return status


def _fuzzer(folder: str, target: str, *arguments: str) -> int:
    # A fuzzer ends without tidying up: what it writes goes with the folder.
    command = [sys.executable, HERE / "instrumented.py", target, *arguments, *LIMITS]
    return subprocess.run(command, env={**os.environ, "TMPDIR": folder}, check=False).returncode


def _prepare(target: str, seeds: Path, words: Path) -> Path:
    """Write the seeds, and the words that occur in them, each where the fuzzer looks for it."""
    found: set[bytes] = set()
    for number, seed in enumerate(TARGETS[target][1]()):
        (seeds / str(number)).write_bytes(seed)
        found |= set(re.findall(rb"[\w!<&*-]{2,16}", seed))
    words.write_text("# words\n" + "".join(f'"{word.decode()}"\n' for word in sorted(found)) + '"//"\n')
    return words


def _keep(corpus: Path, kept: Path, seeds: set[bytes]) -> None:
    """Put the smallest inputs that were kept in the place of those that were there, less the seeds.

    What has a name that says something, with a `-` in it, stays.
    """
    for old in corpus.iterdir():
        if "-" not in old.name:
            old.unlink()
    rest = [one for one in kept.iterdir() if one.read_bytes() not in seeds]
    for one in sorted(rest, key=lambda path: path.stat().st_size)[:MOST_FILES]:
        (corpus / one.name[:16]).write_bytes(one.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
