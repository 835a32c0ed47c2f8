"""A chain as a flat program: for each tasklet, where it leads, so that nobody looks for it while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from flame.errors import WorkflowError
from flame.mode.tasklet import Chain, Check, Tasklet


class Step(NamedTuple):
    """One tasklet of a flat program; positions are indices into the program."""

    tasklet: Tasklet
    call: Callable[[], object]
    again: Check | None
    check: Check | None
    start: int
    following: int
    around: tuple[tuple[Check, int], ...]
    behind: int


class _Loop:
    """A loop while a program is laid out: where it starts, where it is left, and which loop is around it."""

    __slots__ = ("around", "behind", "check", "start")

    def __init__(self, check: Check, start: int, around: _Loop | None) -> None:
        self.check, self.start, self.around, self.behind = check, start, around, start


def lay_out(chain: Chain) -> list[Step]:
    """A chain's tasklets in a row.

    Raises:
        WorkflowError: one outside of all loops has a continue function.
    """
    placed: list[tuple[Tasklet, Check | None, _Loop | None]] = []
    _place(chain, None, placed)
    program = []
    for position, (tasklet, again, loop) in enumerate(placed):
        call = (
            partial(tasklet.func, *tasklet.args, **tasklet.kwargs) if tasklet.args or tasklet.kwargs else tasklet.func
        )
        if loop is None:
            if again is not None:
                raise WorkflowError(f"{tasklet} has a continue function and stands in no loop")
            program.append(Step(tasklet, call, None, None, -1, position + 1, (), -1))
            continue
        following = loop.start if position + 1 == loop.behind else position + 1
        program.append(Step(tasklet, call, again, loop.check, loop.start, following, _around(loop), loop.behind))
    return program


def _place(chain: Chain, loop: _Loop | None, placed: list[tuple[Tasklet, Check | None, _Loop | None]]) -> None:
    """Append the tasklets of a chain; only the last of a group of siblings has checks, for all of them."""
    for item in chain.items:
        if isinstance(item, Tasklet):
            placed.append((item, item.continue_fn, loop))
        elif item.check is not None:
            inner = _Loop(item.check, len(placed), loop)
            _place(item, inner, placed)
            inner.behind = len(placed)
        else:
            *rest, last = item.tasklets()
            agains = [sibling.continue_fn for sibling in (*rest, last) if sibling.continue_fn is not None]
            placed.extend((sibling, None, None) for sibling in rest)
            placed.append((last, partial(_any, agains) if agains else None, loop))


def _any(checks: Sequence[Check]) -> bool:
    return any(check() for check in checks)


def _around(loop: _Loop) -> tuple[tuple[Check, int], ...]:
    """The loops that end where this one ends, from the inside out: leaving this one may leave them too."""
    ends = []
    outer = loop.around
    while outer is not None and outer.behind == loop.behind:
        ends.append((outer.check, outer.start))
        outer = outer.around
    return tuple(ends)


def left(around: tuple[tuple[Check, int], ...], behind: int) -> int:
    """Where a run goes when it leaves a loop: behind it, or to the start of a loop around it that ends there, too."""
    for check, start in around:
        if not check():
            return start
    return behind
