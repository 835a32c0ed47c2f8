"""Tasklets, and the list that they form.

A workflow is a list of tasklets in which a loop, or a group of siblings, is one element (`Chain`). The
expression `a >> loop(b >> c) >> d` builds the list `[a, [b, c], d]`; `flame.mode.composer` holds it, edits it
and runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, Self

from flame.errors import WorkflowError
from flame.mode.enums import LoopIndicator

Check = Callable[[], object]


class ChainError(WorkflowError, ValueError):
    """A chain that cannot be built so: an unknown or a doubled alias, a list of nothing, a second way on."""


class LoopEndError(WorkflowError, NotImplementedError):
    """An end of a loop cannot be taken out: the loop would not know where it begins or ends."""


class Owner(Protocol):
    """What a tasklet asks of the composer that it was made in."""

    def link(self, left: Tasklet, right: Tasklet | Sequence[Tasklet]) -> Tasklet:
        """Let the chain of `right` follow the chain of `left`."""

    def wrap(self, member: Tasklet, check: Check) -> Tasklet:
        """Make the chain of `member` a loop that is done when `check` is true."""

    def place(self, anchor: Tasklet, new: Tasklet, *, after: bool) -> None:
        """Put `new` beside `anchor`."""

    def drop(self, tasklet: Tasklet) -> None:
        """Take a tasklet out of its chain."""

    def join(self, first: Tasklet, others: Sequence[Tasklet]) -> None:
        """Let others run together with `first`, as one step of its chain."""

    def enclose(self, first: Tasklet, last: Tasklet, check: Check) -> None:
        """Make the stretch from one tasklet to another a loop that is done when `check` is true."""

    def get_tasklets_in_loop(self, start: Tasklet, end: Tasklet) -> list[Tasklet]:
        """The tasklets from one to another."""

    def thaw(self) -> None:
        """Refuse, by raising, to have the chain changed while it runs."""


#: The composer whose `with` block this thread or fiber is in.
composing: ContextVar[Owner | None] = ContextVar("composing", default=None)


class Chain:
    """A list of tasklets in which a loop, or a group of siblings, is one element.

    Attributes:
        items: the elements, in the order in which they run.
        parent: the chain that this one is an element of, or None.
        check: for a loop: true when it is done.
        siblings: whether the items form one step of the chain around them.
    """

    __slots__ = ("check", "items", "parent", "siblings")

    def __init__(self, items: Sequence[Tasklet | Chain], check: Check | None = None, siblings: bool = False) -> None:
        self.items: list[Tasklet | Chain] = []
        self.parent: Chain | None = None
        self.check, self.siblings = check, siblings
        self.take(items)

    def take(self, items: Sequence[Tasklet | Chain]) -> None:
        """Append elements and become their parent."""
        for item in items:
            item.parent = self
        self.items.extend(items)

    def tasklets(self) -> Iterator[Tasklet]:
        """Every tasklet, in the order in which they run."""
        for item in self.items:
            if isinstance(item, Chain):
                yield from item.tasklets()
            else:
                yield item

    def edge(self, position: int) -> list[Tasklet]:
        """The tasklets at an end of the list: position 0 or -1; more than one if siblings are there."""
        item = self.items[position]
        if not isinstance(item, Chain):
            return [item]
        return list(item.tasklets()) if item.siblings else item.edge(position)

    def __str__(self) -> str:
        text = (", " if self.siblings else " >> ").join(map(str, self.items))
        return f"[{text}]" if self.siblings else f"loop({text})" if self.check else text


class Tasklet:
    """One named step of a workflow: a function and its arguments.

    Attributes:
        alias: its name, by which a chain is edited.
        func: what it does, with `args` and `kwargs`.
        quiet: whether it is engine code that draws nothing from a random stream.
        continue_fn: true sends the workflow back to the start of the innermost loop.
        parent: the chain that it stands in, or None.
    """

    __slots__ = ("alias", "args", "composer", "continue_fn", "func", "kwargs", "parent", "quiet")

    def __init__(self, alias: str, func: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        self.alias, self.func, self.args, self.kwargs = alias, func, args, kwargs
        self.composer = composing.get()
        self.continue_fn: Check | None = None
        self.parent: Chain | None = None
        self.quiet = False

    def __rshift__(self, other: Tasklet | Sequence[Tasklet]) -> Tasklet:
        """Let another tasklet, or a list of siblings, follow; returns what follows (the first sibling)."""
        return self.get_composer().link(self, other)

    def __str__(self) -> str:
        return self.alias

    def __repr__(self) -> str:
        return f"Tasklet({self.alias!r})"

    @property
    def loop_state(self) -> LoopIndicator:
        """Which ends of the loops around it this tasklet is."""
        state, first, last = LoopIndicator.NONE, True, True
        node: Tasklet | Chain = self
        while (parent := node.parent) is not None:
            if not parent.siblings:
                first, last = first and parent.items[0] is node, last and parent.items[-1] is node
            if parent.check is not None:
                state |= (LoopIndicator.BEGIN if first else LoopIndicator.NONE) | (
                    LoopIndicator.END if last else LoopIndicator.NONE
                )
            node = parent
        return state

    def get_composer(self) -> Owner:
        """The composer that it was made in.

        Raises:
            WorkflowError: it was made outside of a `with Composer()` block.
        """
        if self.composer is None:
            raise WorkflowError(f"tasklet {self.alias} was made outside of a `with Composer()` block")
        return self.composer

    def get_root(self) -> Tasklet:
        """The tasklet that its chain begins with; itself if it stands in none."""
        return self._edge(0)

    def get_ender(self) -> Tasklet:
        """The tasklet that its chain ends with; itself if it stands in none."""
        return self._edge(-1)

    def is_last_in_loop(self) -> bool:
        """Whether a loop ends with it."""
        return LoopIndicator.END in self.loop_state

    def is_loop_done(self) -> bool:
        """Whether the innermost loop that it is in is done; true where it is in none."""
        node: Tasklet | Chain = self
        while (parent := node.parent) is not None:
            if parent.check is not None:
                return bool(parent.check())
            node = parent
        return True

    def is_continue(self) -> bool:
        """Whether its continue function, if it has one, sends the workflow back now."""
        return self.continue_fn is not None and bool(self.continue_fn())

    def _edge(self, position: int) -> Tasklet:
        node: Tasklet | Chain = self
        while node.parent is not None:
            node = node.parent
        return self if isinstance(node, Tasklet) else node.edge(position)[position]

    def do(self) -> object:
        """Run its function once."""
        return self.func(*self.args, **self.kwargs)

    def set_continue_fn(self, cont_fn: Check) -> Self:
        """Go back to the start of the loop whenever `cont_fn` is true after this tasklet.

        Raises:
            TypeError: it cannot be called.
        """
        if not callable(cont_fn):
            raise TypeError(f"the continue function of {self.alias} is not callable: {cont_fn!r}")
        if self.composer is not None:
            self.composer.thaw()
        self.continue_fn = cont_fn
        return self

    def insert_before(self, tasklet: Tasklet) -> None:
        """Put a tasklet in front of this one; in front of a loop's starter it becomes the starter.

        Raises:
            ChainError: its alias is taken, or it stands in a chain already.
        """
        self.get_composer().place(self, tasklet, after=False)

    def insert_after(self, tasklet: Tasklet) -> None:
        """Put a tasklet behind this one; behind a loop's ender it becomes the ender.

        Raises:
            ChainError: its alias is taken, or it stands in a chain already.
        """
        self.get_composer().place(self, tasklet, after=True)

    def set_siblings(self, siblings: Sequence[Tasklet]) -> None:
        """Let others run together with this one, as one step, as `… >> [this, *siblings]` does.

        Raises:
            ChainError: one of them stands in a chain already, or has an alias that is taken.
        """
        self.get_composer().join(self, siblings)

    def update_loop_attrs(
        self,
        check_fn: Check | None = None,
        state: LoopIndicator | None = None,
        starter: Tasklet | None = None,
        ender: Tasklet | None = None,
    ) -> None:
        """Make a loop of a stretch of the chain with this tasklet in it, as `Loop(check_fn)(starter >> ender)` does.

        Once is enough, for any tasklet of the stretch; whoever says it of each of them says nothing new.

        Args:
            check_fn: true when the loop is done; needed for a new loop, and left out of account by one that there is.
            state: which ends of the loop this tasklet is, in place of `starter` or `ender`.
            starter: where it begins.
            ender: where it ends.

        Raises:
            ChainError: it is not said where the loop begins and ends and when it is done; or the stretch is in no
                chain, cuts another loop in two, or does not have this tasklet in it.
        """
        state = LoopIndicator.NONE if state is None else state
        first = starter or (self if state & LoopIndicator.BEGIN else None)
        last = ender or (self if state & LoopIndicator.END else None)
        if first is None or last is None:
            raise ChainError(f"{self}: where the loop begins and where it ends must be said, as starter and ender")
        for flag, end in ((LoopIndicator.BEGIN, first), (LoopIndicator.END, last)):
            if state is not LoopIndicator.NONE and bool(state & flag) != (end is self):
                raise ChainError(f"{self} is said to be {state!r} of a loop from {first} to {last}")
        if self not in self.get_composer().get_tasklets_in_loop(first, last):
            raise ChainError(f"{self} is not between {first} and {last}")
        if first.begins_what_ends_with(last):
            return
        if check_fn is None:
            raise ChainError(f"{self}: when the loop is done must be said, as check_fn")
        self.get_composer().enclose(first, last, check_fn)

    def begins_what_ends_with(self, last: Tasklet) -> bool:
        """Whether there is a loop from this tasklet to that one."""
        node: Tasklet | Chain = self
        while (parent := node.parent) is not None:
            if parent.check is not None and parent.edge(0)[0] is self and parent.edge(-1)[-1] is last:
                return True
            node = parent
        return False

    def replace_with(self, tasklet: Tasklet) -> None:
        """Do what another tasklet does, under its alias; place, loop and continue function are kept."""
        self.get_composer().thaw()
        self.alias, self.func, self.args, self.kwargs = (
            tasklet.alias,
            tasklet.func,
            tasklet.args,
            tasklet.kwargs,
        )
        self.quiet = tasklet.quiet

    def remove(self) -> None:
        """Take it out of its chain.

        Raises:
            LoopEndError: it begins or ends a loop.
        """
        self.get_composer().drop(self)

    def reset(self) -> None:
        """Forget chain, loop and continue function."""
        self.parent, self.continue_fn = None, None


class Loop:
    """Makes a chain run again until it is done: `Loop(done)(a >> b)`.

    Args:
        loop_check_fn: true when the loop is done; asked after *every* tasklet of the loop, so that the rest
            of a pass is skipped once it is true.

    Raises:
        TypeError: the function cannot be called.
    """

    __slots__ = ("check",)

    def __init__(self, loop_check_fn: Check) -> None:
        if not callable(loop_check_fn):
            raise TypeError(f"loop_check_fn is not callable: {loop_check_fn!r}")
        self.check = loop_check_fn

    def __call__(self, ender: Tasklet) -> Tasklet:
        """Close the loop around the chain of `ender`, which is returned."""
        return ender.get_composer().wrap(ender, self.check)
