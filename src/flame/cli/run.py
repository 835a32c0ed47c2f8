"""`flame run DIR`: run a job on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from flame.errors import ConfigError, FlameError, RunError, WorkerFailed
from flame.lab.result import Result
from flame.lab.theme import plural, size

FEW = 5
"""So many experiments are told one by one; the report has them all."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "run",
        help="run a job on this machine",
        description="Run a job on this machine: its TAG, settings and programs are in DIR. "
        "Writes a run directory with a report, the metrics and the final model.",
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="the job: schema.json, job.json, …, a folder per role")
    parser.add_argument(
        "--hosts", type=_count, metavar="N", help="processes (default: one per core; 0: all in this one)"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="seed of all random numbers (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run directory (default: runs/<job>-<time>)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace a setting, e.g. hyperparameters.rounds=5; may be given several times",
    )
    parser.add_argument(
        "--checkpoint",
        type=_count,
        metavar="N",
        help="make a checkpoint after every N rounds and after the last one, to be resumed from (default: none)",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="RUN",
        help="go on with the run in that directory, from its newest checkpoint; without RUN, with the one that --out "
        "names, or from the start if it has no checkpoint",
    )
    parser.add_argument("--schema", type=Path, metavar="FILE", help="another TAG than DIR/schema.json")
    parser.add_argument("--data", type=Path, metavar="FILE", help="another dataSpec than DIR/dataSpec.json")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors and the result")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the job; 0 if it was brought to its end, 1 if a worker failed, 2 if it could not begin."""
    from flame.config.job import read_job
    from flame.lab.run import run_files
    from flame.runtime.resuming import settings_of
    from flame.runtime.run import Options, missing_data

    resume = _resumed(arguments)
    changes = ({} if resume is None else settings_of(resume)) | dict(map(_setting, arguments.set))
    files = read_job(arguments.dir, schema=arguments.schema, data_spec=arguments.data, overrides=changes)
    for note in files.notes:
        print(f"note: {note}", file=sys.stderr)
    started = _process_started() if getattr(arguments, "own_process", False) else None
    options = Options(arguments.hosts, arguments.seed, arguments.out, changes, started, arguments.checkpoint, resume)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupted)
    screen = Screen(sys.stderr, quiet=arguments.quiet)
    screen.begin(files.job.name or "job")
    try:
        result = run_files(files, options, programs=None, watch=screen.watch)
    except WorkerFailed as failure:
        screen.clear()
        print(failure.traceback.rstrip(), file=sys.stderr)
        if "FileNotFoundError" in failure.traceback and (remark := missing_data(files)):
            print(f"flame: {remark}", file=sys.stderr)
        print(
            f"flame: worker {failure.worker} (role {failure.role}) failed; nothing is left running",
            file=sys.stderr,
        )
        return 1
    except RunError as failure:
        screen.clear()
        print(f"flame: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        screen.clear()
        print("flame: interrupted; nothing is left running", file=sys.stderr)
        return 130
    except FlameError:
        screen.clear()
        raise
    screen.clear()
    print(_told(result))
    return 0


def _resumed(arguments: argparse.Namespace) -> Path | None:
    """The run to go on with, if there is one.

    Raises:
        ConfigError: neither `--resume` nor `--out` names a directory.
    """
    from flame.registry.journal import has_any

    resume: Path | None = arguments.resume
    if resume != Path():
        return resume
    if arguments.out is None:
        raise ConfigError("--resume", "names no run", "give --resume RUN, or --out RUN --resume")
    out: Path = arguments.out
    return out if has_any(out) else None


def _told(result: Result) -> str:
    """What a person wants to know when a run is over."""
    names = sorted({name for record in result.metrics for name in record.values})
    ends = [f"  {name:<24} {_ended(result, name)}" for name in names]
    report = result.dir / "report.html"
    lines = [repr(result).partition(": ")[2].rstrip(")") or "completed"]
    lines += ends
    model = result.dir / "model.safetensors"
    lines += [f"report  {_near(report)}", *([f"model   {_near(model)}"] if model.is_file() else [])]
    return "\n".join(lines)


def _ended(result: Result, name: str) -> str:
    """A metric's last value; of each experiment, where there are several."""
    apart = result.experiments(name)
    mean = f"{result.final(name):.4g}"
    if len(apart) > FEW:
        return f"{mean} on average, {min(apart.values()):.4g} to {max(apart.values()):.4g}"
    return "  ".join(f"{label} {value:.4g}" for label, value in apart.items()) or mean


def _near(path: Path) -> str:
    """A path as one would type it from here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _interrupted(*_: object) -> None:
    """A request to end is taken like an interrupt from the keyboard: hosts are ended and the record is written."""
    raise KeyboardInterrupt


def _process_started() -> float:
    """When this process began, on the monotonic clock: start-up includes importing what is needed to start."""
    try:
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks_since_boot = int(after_name[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks_since_boot / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        age = 0.0
    return time.monotonic() - age


class Screen:
    """One line that says how far a run is.

    On a terminal it is rewritten. Elsewhere it is printed once a while, and only when something has come of the run.
    """

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self._stream = stream
        self._quiet = quiet
        self._live = stream.isatty()
        self._every = 0.1 if self._live else 5.0
        self._shown = 0.0
        self._wide = 0

    def begin(self, name: str) -> None:
        """Say that the job is being started: importing a framework takes its time."""
        if not self._quiet:
            self._show(f"{name} · starting")

    def watch(self, record: object, host: int, report: object) -> None:
        """Take notice of a report."""
        from flame.runtime.record import Record

        assert isinstance(record, Record)
        now = time.monotonic()
        if self._quiet or now - self._shown < self._every or not (self._live or _news(record)):
            return
        self._shown = now
        self._show(_line(record, now))

    def clear(self) -> None:
        """Take the line away."""
        if self._live and self._wide:
            self._stream.write("\r" + " " * self._wide + "\r")
            self._stream.flush()
            self._wide = 0

    def _show(self, line: str) -> None:
        if self._live:
            line = line[: (os.get_terminal_size(self._stream.fileno()).columns or 80) - 1]
            self._stream.write("\r" + line.ljust(self._wide))
            self._wide = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def _news(record: object) -> bool:
    """Whether something has come of a run: a round is over, or a worker is."""
    from flame.runtime.record import Record

    assert isinstance(record, Record)
    return bool(record.rounds) or any(progress.finished for progress in record.progress.values())


def _line(record: object, now: float) -> str:
    from flame.runtime.record import Record

    assert isinstance(record, Record)
    workers = len(record.crew.configs)
    parts = [record.settings.name]
    if record.rounds:
        closed = record.rounds[-1]
        parts.append(f"round {closed.number}/{closed.rounds}")
    hosts = record.crew.hosts
    parts.append(f"{plural(workers, 'worker')} in {plural(hosts, 'host') if hosts else 'this process'}")
    finished = sum(progress.finished for progress in record.progress.values())
    if finished:
        parts.append(f"{finished:,} done")
    if record.nbytes:
        parts.append(f"{size(record.nbytes)} sent")
    parts.append(f"{now - record.started:.0f} s")
    if record.rounds and (left := _left(record, now)) is not None:
        parts.append(f"about {left:.0f} s left")
    return " · ".join(parts)


def _left(record: object, now: float) -> float | None:
    from flame.runtime.record import Record

    assert isinstance(record, Record)
    last = record.rounds[-1]
    mine = [closed for closed in record.rounds if closed.worker == last.worker]
    if len(mine) < 2:
        return None
    each = (mine[-1].end - mine[0].end) / (len(mine) - 1)
    return max(0.0, (last.rounds - last.number) * each - (now - last.end))


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError("--set", f"{text!r} is not KEY=VALUE", "e.g. --set hyperparameters.rounds=5")
    return key, value
