"""Every error that Flame raises on purpose.

```
FlameError
├── TagError           a TAG breaks invariants: `.findings`, all of them at once
├── ConfigError        a file or setting is wrong: `.path` says where, `.fix` what to do
├── ExtensionError     a name that no room knows: `.known` lists the ones it could be
├── WeightsError       a model's tensors do not fit the layout
├── WireError
│   ├── EncodeError    a value that may not be sent
│   └── DecodeError    bytes that are not a message
├── ChannelError
│   ├── PeerLost       `.end` has gone
│   └── DeadlinePassed nothing came in time: `.waited_for` says from whom
├── WorkflowError      a chain of tasklets that cannot be run
├── RecipeError        settings that contradict each other
├── ControlError       what the control plane does not do
│   ├── NotFound       there is no such thing
│   ├── Refused        not in the state that it is in
│   └── NotAllowed     not for whoever asks
└── RunError
    ├── TooFewAnswers  a round that its gate does not let pass: `.round`, `.answers`, `.at_least`
    └── WorkerFailed   a worker raised: `.worker`, `.role`, `.traceback`
```
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


class FlameError(Exception):
    """The root: catch this to catch everything that Flame raises on purpose."""


class TagError(FlameError, ValueError):
    """A TAG breaks one or more invariants.

    Attributes:
        findings: every broken invariant, each with a path, a reason and a fix.
        source: the file it was read from, or "".
    """

    def __init__(self, findings: Sequence[object], source: str = "") -> None:
        self.findings = tuple(findings)
        self.source = source
        head = f"{source}: " if source else ""
        problems = "1 problem" if len(self.findings) == 1 else f"{len(self.findings)} problems"
        super().__init__(f"{head}{problems}\n" + "\n".join(f"  {f}" for f in self.findings))


class ConfigError(FlameError, ValueError):
    """A file or a setting is wrong.

    Attributes:
        path: where, e.g. `job.json: dataSpecPath`.
        reason: what is wrong.
        fix: what to do about it, or "".
    """

    def __init__(self, path: str, reason: str, fix: str = "") -> None:
        self.path, self.reason, self.fix = path, reason, fix
        super().__init__(f"{path}: {reason}" + (f" ({fix})" if fix else ""))


class ExtensionError(FlameError, ValueError):
    """A name that no room knows.

    Attributes:
        kind: the room, e.g. `optimizer`.
        name: the name that was asked for.
        known: the names that there are; the nearest of them is guessed at in the message.
    """

    def __init__(self, kind: str, name: str, known: Sequence[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        close = nearest(name, self.known)
        meant = f" (did you mean {close!r}?)" if close else ""
        super().__init__(f"no {kind} named {name!r}{meant}; there are: {', '.join(self.known) or 'none'}")


class WeightsError(FlameError, ValueError):
    """A model's tensors do not fit the layout that they are put into."""


class WireError(FlameError, ValueError):
    """A message cannot go over, or has not come from, the wire."""


class EncodeError(WireError, TypeError):
    """A value that may not be sent: only plain data and arrays may."""


class DecodeError(WireError):
    """Bytes that are not a message."""


class ChannelError(FlameError):
    """Something went wrong on a channel."""


class PeerLost(ChannelError, ConnectionError):
    """A peer has gone.

    Attributes:
        end: the peer's task id.
    """

    def __init__(self, end: str, why: str = "") -> None:
        self.end = end
        super().__init__(f"end {end} is gone" + (f": {why}" if why else ""))


class DeadlinePassed(ChannelError, TimeoutError):
    """Nothing came in time.

    Attributes:
        waited_for: what was awaited, in words.
        seconds: how long.
    """

    def __init__(self, waited_for: str, seconds: float) -> None:
        self.waited_for, self.seconds = waited_for, seconds
        super().__init__(f"waited {seconds:.0f} s for {waited_for}")


class WorkflowError(FlameError, RuntimeError):
    """A chain of tasklets that cannot be run."""


class RecipeError(FlameError, ValueError):
    """Settings that contradict each other."""


class ControlError(FlameError):
    """The control plane does not do what it is asked for; nothing has changed."""


class NotFound(ControlError, LookupError):
    """There is no such design, dataset, job, task or compute."""


class Refused(ControlError):
    """What is asked for cannot be done in the state that things are in."""


class NotAllowed(ControlError):
    """Whoever asks has not shown that they may."""


class RunError(FlameError, RuntimeError):
    """A run could not be brought to its end."""


class TooFewAnswers(RunError):
    """A round has fewer answers than the job's gate asks for.

    Attributes:
        round: the round's number.
        answers: how many count.
        at_least: how many there have to be.
    """

    def __init__(self, round: int, answers: int, asked: int, at_least: int) -> None:
        self.round, self.answers, self.at_least = round, answers, at_least
        super().__init__(
            f"round {round}: {answers} of {asked} answers count; the job's gate asks for at least {at_least}"
        )


class WorkerFailed(RunError):
    """A worker raised.

    Attributes:
        worker: the worker's readable name, e.g. `trainer/3`.
        role: its role.
        traceback: the traceback as text, from wherever the worker ran.
    """

    def __init__(self, worker: str, role: str, traceback: str) -> None:
        self.worker, self.role, self.traceback = worker, role, traceback
        super().__init__(f"worker {worker} (role {role}) raised: {_said(traceback)}")


def _said(traceback: str) -> str:
    """What a traceback ends with: the error's own line, also where a library has added remarks below it."""
    lines = traceback.strip().splitlines() or ["no traceback"]
    remarks = [number for number, line in enumerate(lines) if line == "-" * len(line) and len(line) > 9]
    return lines[remarks[-1] - 1] if remarks and remarks[-1] else lines[-1]


def nearest(name: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """The known name that is most like this one, or ""."""
    import difflib  # only who has made a mistake needs it

    lowered = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=cutoff)
    return lowered[found[0]] if found else ""
