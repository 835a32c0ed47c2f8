"""The composer: holds a role's chain of tasklets, lets it be edited by alias, and runs it.

Before a run the list is laid out as a flat program, so that a step costs well under a microsecond however
deep the loops are. After *every* tasklet, in this order: a true continue function goes back to the start of
the innermost loop; a true loop check leaves that loop at once; otherwise the next tasklet runs, and behind a
loop's last its first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Token
from time import perf_counter

from flame.errors import WorkflowError
from flame.mode.enums import LoopIndicator
from flame.mode.steps import lay_out, left
from flame.mode.tasklet import Chain, ChainError, Check, LoopEndError, Owner, Tasklet, composing
from flame.mode.views import ComposerContext, Views

__all__ = ["CloneComposer", "Composer", "ComposerContext", "UnknownUnlinked"]


class UnknownUnlinked(WorkflowError, KeyError):
    """No unlinked tasklet has that alias."""

    def __str__(self) -> str:
        return str(self.args[0])


class Composer(Views):
    """Builds and runs a workflow: `with Composer() as composer: a >> Loop(done)(b >> c) >> d`.

    Tasklets made inside the `with` block belong to it; they may be chained later too. The open composer is
    known to this thread or fiber only.

    Attributes:
        before: called with each tasklet before it runs, or None.
        observer: called with alias, start and duration (seconds of `clock`) after each tasklet, or None.
        clock: seconds; only differences mean anything.
        current: the tasklet that runs now, or that raised; None before and after a run.
        entering: called when the first loop that is in no other is entered, or None.
        passed: called after each pass of that loop, or None.
    """

    __slots__ = (
        "_chains",
        "_running",
        "_tokens",
        "_unlinked",
        "before",
        "clock",
        "current",
        "entering",
        "observer",
        "passed",
    )

    def __init__(self) -> None:
        self.before: Callable[[Tasklet], object] | None = None
        self.observer: Callable[[str, float, float], object] | None = None
        self.clock: Callable[[], float] = perf_counter
        self.current: Tasklet | None = None
        self.entering: Callable[[], object] | None = None
        self.passed: Callable[[], object] | None = None
        self._chains: list[Chain] = []
        self._unlinked: dict[str, Tasklet] = {}
        self._tokens: list[Token[Owner | None]] = []
        self._running = False

    def __enter__(self) -> Composer:
        self._tokens.append(composing.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        composing.reset(self._tokens.pop())

    def __str__(self) -> str:
        return "\n".join(map(str, self._chains))

    # -- running ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the chain to its end; whatever a tasklet raises comes out.

        Raises:
            WorkflowError: there is no chain, or more than one, or a continue function outside of a loop.
        """
        self.thaw()
        program = lay_out(self._only_chain())
        before, observer, clock = self.before, self.observer, self.clock
        position, end = 0, len(program)
        first, behind_first = self.rounds or (end, end)
        entering, passed = self.entering, self.passed
        if first == 0 and entering is not None:
            entering()
        self._running = True
        try:
            while position < end:
                tasklet, call, again, check, start, following, around, behind = program[position]
                was = position
                self.current = tasklet
                if before is not None:
                    before(tasklet)
                if observer is None:
                    call()
                else:
                    began = clock()
                    call()
                    observer(tasklet.alias, began, clock() - began)
                if again is not None and again():
                    position = start
                elif check is None or not check():
                    position = following
                else:
                    position = left(around, behind)
                if first <= was < behind_first:
                    if passed is not None and (position == first or position >= behind_first):
                        passed()
                elif position == first and entering is not None:
                    entering()
            self.current = None
        finally:
            self._running = False

    def _only_chain(self) -> Chain:
        if not self._chains:
            raise WorkflowError("nothing to run: no tasklets have been chained with >>")
        if len(self._chains) > 1:
            roots = ", ".join(chain.edge(0)[0].alias for chain in self._chains)
            raise WorkflowError(f"{len(self._chains)} chains, which begin with {roots}: join them with >>")
        return self._chains[0]

    def thaw(self) -> None:
        """Refuse to change, or to start again, a chain that is running.

        Raises:
            WorkflowError: it is running.
        """
        if self._running:
            raise WorkflowError(f"the chain is running (at {self.current}) and cannot be changed or started now")

    @property
    def rounds(self) -> tuple[int, int] | None:
        """Where the first loop that is in no other begins and ends, counted in tasklets; None if there is no loop."""
        at = 0
        for item in self._only_chain().items:
            length = 1 if isinstance(item, Tasklet) else sum(1 for _ in item.tasklets())
            if isinstance(item, Chain) and item.check is not None:
                return at, at + length
            at += length
        return None

    # -- looking ---------------------------------------------------------------------------------------------

    def tasklets(self) -> Iterator[Tasklet]:
        """Every tasklet that has been chained, siblings too, in the order in which they run."""
        for chain in self._chains:
            yield from chain.tasklets()

    def get_tasklet(self, alias: str) -> Tasklet:
        """The tasklet of that alias in the chain.

        Raises:
            ChainError: there is none.
        """
        for tasklet in self.tasklets():
            if tasklet.alias == alias:
                return tasklet
        known = ", ".join(tasklet.alias for tasklet in self.tasklets())
        raise ChainError(f"Tasklet with alias {alias} not found; the chain has: {known or 'nothing'}")

    def tasklet(self, alias: str) -> Tasklet:
        """A tasklet that `unlink` has set free.

        Raises:
            UnknownUnlinked: there is none of that alias.
        """
        if alias not in self._unlinked:
            raise UnknownUnlinked(f"no unlinked tasklet {alias}; there are: {', '.join(self._unlinked) or 'none'}")
        return self._unlinked[alias]

    @property
    def unlinked_tasklets(self) -> Mapping[str, Tasklet]:
        """The tasklets that `unlink` has set free and that are in no chain yet, by alias."""
        return self._unlinked

    def clear_unlinked_tasklet_state(self) -> None:
        """Forget the tasklets that `unlink` has set free and that are in no chain yet."""
        self._unlinked = {}

    def print(self) -> None:
        """Print the chain as one would write it."""
        print(self)

    # -- editing ---------------------------------------------------------------------------------------------

    def unlink(self) -> None:
        """Take the chain apart; `tasklet(alias)` gives its tasklets, without loops and continue functions."""
        self.thaw()
        self._unlinked = {tasklet.alias: tasklet for tasklet in self.tasklets()}
        self._chains = []
        for tasklet in self._unlinked.values():
            tasklet.reset()

    def insert(self, alias: str, tasklet: Tasklet, after: bool = False) -> None:
        """Put a tasklet before, or after, the one of that alias.

        Raises:
            ChainError: the alias is unknown, or that of the new tasklet is taken.
        """
        self.place(self.get_tasklet(alias), tasklet, after=after)

    def remove_tasklet(self, alias: str) -> None:
        """Take out the tasklet of that alias.

        Raises:
            ChainError: the alias is unknown.
            LoopEndError: it begins or ends a loop.
        """
        self.drop(self.get_tasklet(alias))

    def link(self, left: Tasklet, right: Tasklet | Sequence[Tasklet]) -> Tasklet:
        """Let the chain of `right` follow the chain of `left`; `right`, or the first sibling, is returned.

        Raises:
            ChainError: an empty list, a ring, or a tasklet that is not at the end where it would be joined.
        """
        self.thaw()
        group = [right] if isinstance(right, Tasklet) else list(right)
        if not group:
            raise ChainError(f"{left} >> []: a list of siblings cannot be empty")
        head = self._chain_of(left)
        tail = self._chain_of(group[0]) if len(group) == 1 else self._siblings(group)
        if head is tail:
            raise ChainError(f"{left} >> {group[0]} would form a ring; use Loop")
        if left not in head.edge(-1):
            raise ChainError(f"{left} >> {group[0]}: {left} already leads on in {head}")
        if group[0] not in tail.edge(0) + tail.edge(-1):
            raise ChainError(f"{left} >> {group[0]}: {group[0]} already follows another in {tail}")
        head.take(tail.items)
        self._chains.remove(tail)
        return group[0]

    def wrap(self, member: Tasklet, check: Check) -> Tasklet:
        """Make the chain of `member` a loop that is done when `check` is true; `member` is returned."""
        self.thaw()
        chain = self._chain_of(member)
        loop = Chain(chain.items, check)
        chain.items = []
        chain.take([loop])
        return member

    def join(self, first: Tasklet, others: Sequence[Tasklet]) -> None:
        """Let others run together with `first`, as one step of the chain that it stands in.

        Raises:
            ChainError: one of them stands in a chain already, or has an alias that is taken, or `first` has siblings.
        """
        self.thaw()
        if not others:
            raise ChainError(f"{first}: a list of siblings cannot be empty")
        self._chain_of(first)
        holder = first.parent
        assert holder is not None  # `_chain_of` has put it into one
        if holder.siblings:
            raise ChainError(f"{first} is one of {holder} already")
        taken = {tasklet.alias for tasklet in self.tasklets()}
        for tasklet in others:
            self._adopt(tasklet)
            if tasklet.parent is not None or tasklet.alias in taken:
                raise ChainError(f"{tasklet} is in a chain already and cannot be a sibling")
            taken.add(tasklet.alias)
        holder.items[holder.items.index(first)] = step = Chain([first, *others], siblings=True)
        step.parent = holder

    def enclose(self, first: Tasklet, last: Tasklet, check: Check) -> None:
        """Make the stretch of a chain from one tasklet to another a loop that is done when `check` is true.

        Raises:
            ChainError: the stretch begins or ends within another loop.
        """
        self.thaw()
        if first.parent is None:
            self._chain_of(first)
        ends = {id(holder): item for item, holder in _way_up(last, -1)}
        begins = [(item, holder) for item, holder in _way_up(first, 0) if id(holder) in ends]
        if not begins:
            raise ChainError(f"no loop can go from {first} to {last}: another one would be cut in two")
        item, holder = begins[0]
        begin, behind = holder.items.index(item), holder.items.index(ends[id(holder)]) + 1
        loop = Chain(holder.items[begin:behind], check)
        holder.items[begin:behind] = [loop]
        loop.parent = holder

    def place(self, anchor: Tasklet, new: Tasklet, *, after: bool) -> None:
        """Put `new` beside `anchor`, in the innermost loop that `anchor` is in.

        Raises:
            ChainError: the alias of `new` is taken, or it stands in a chain already, or `anchor` in none.
        """
        self.thaw()
        self._adopt(new)
        if anchor.parent is None or new.parent is not None:
            raise ChainError(f"{new} cannot go beside {anchor}: the one must be free and the other in a chain")
        if any(tasklet.alias == new.alias for tasklet in self.tasklets()):
            raise ChainError(f"a tasklet with alias {new} is in the chain already")
        item, holder = _step_of(anchor)
        holder.items.insert(holder.items.index(item) + after, new)
        new.parent = holder

    def drop(self, tasklet: Tasklet) -> None:
        """Take a tasklet out of its chain.

        Raises:
            LoopEndError: it begins or ends a loop.
            ChainError: it stands in none.
        """
        self.thaw()
        if tasklet.parent is None:
            raise ChainError(f"{tasklet} is in no chain")
        if tasklet.loop_state is not LoopIndicator.NONE:
            raise LoopEndError("Can't handle loop ends removal yet")
        node: Tasklet | Chain = tasklet
        while (holder := node.parent) is not None:
            holder.items.remove(node)
            node = holder
            if holder.items:
                break
        self._chains = [chain for chain in self._chains if chain.items]
        tasklet.parent = None

    def _adopt(self, tasklet: Tasklet) -> None:
        if tasklet.composer is None:
            tasklet.composer = self
        if tasklet.composer is not self:
            raise WorkflowError(f"tasklet {tasklet} belongs to another composer")
        if self._unlinked.get(tasklet.alias) is tasklet:
            del self._unlinked[tasklet.alias]

    def _chain_of(self, tasklet: Tasklet) -> Chain:
        if tasklet.parent is None:
            self._adopt(tasklet)
            self._chains.append(Chain([tasklet]))
        node: Tasklet | Chain = tasklet
        while node.parent is not None:
            node = node.parent
        if not isinstance(node, Chain) or node not in self._chains:
            raise WorkflowError(f"tasklet {tasklet} belongs to another composer")
        return node

    def _siblings(self, group: Sequence[Tasklet]) -> Chain:
        for tasklet in group:
            self._adopt(tasklet)
            if tasklet.parent is not None:
                raise ChainError(f"{tasklet} is in a chain already and cannot be a sibling")
        self._chains.append(Chain([Chain(group, siblings=True)]))
        return self._chains[-1]


def CloneComposer(composer: Composer) -> Composer:
    """Open a composer again, so that new tasklets belong to it.

    `with CloneComposer(self.composer) as composer:` is how a role changes the chain of its parent class.
    """
    return composer


def _step_of(tasklet: Tasklet) -> tuple[Tasklet | Chain, Chain]:
    """The element of a chain that a tasklet is, or is a sibling in, and that chain."""
    holder = tasklet.parent
    assert holder is not None
    if holder.siblings and holder.parent is not None:
        return holder, holder.parent
    return tasklet, holder


def _way_up(tasklet: Tasklet, edge: int) -> list[tuple[Tasklet | Chain, Chain]]:
    """The elements that begin (edge 0) or end (-1) with a tasklet, from the inside out, each with what it stands in."""
    item, holder = _step_of(tasklet)
    way = [(item, holder)]
    while holder.parent is not None and holder.items[edge] is item:
        item, holder = holder, holder.parent
        way.append((item, holder))
    return way
