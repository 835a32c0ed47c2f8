"""Laws of the workflow engine: what runs, in which order, and what an edited chain becomes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import greenlet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame.errors import WorkflowError
from flame.mode.composer import CloneComposer, Composer
from flame.mode.enums import LoopIndicator
from flame.mode.message import MessageType
from flame.mode.tasklet import Loop, Tasklet


class Log(list[str]):
    """Aliases in the order in which they ran, and tasklets that write to it."""

    def tasklets(self, names: str) -> list[Tasklet]:
        return [Tasklet(name, self.append, name) for name in names]

    def passes(self, alias: str, wanted: int) -> Callable[[], bool]:
        return lambda: self.count(alias) >= wanted

    @property
    def text(self) -> str:
        return "".join(self)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def abcd(log: Log) -> Composer:
    """a >> loop(b >> c) >> d, two passes."""
    with Composer() as composer:
        a, b, c, d = log.tasklets("abcd")
        a >> Loop(log.passes("c", 2))(b >> c) >> d
    return composer


def test_statement_06_a_loop_runs_until_its_check_is_true(abcd: Composer, log: Log) -> None:
    abcd.run()
    assert log.text == "abcbcd"
    assert str(abcd) == "a >> loop(b >> c) >> d"


def test_statement_07_a_true_continue_function_starts_the_loop_again_even_if_it_is_done(log: Log) -> None:
    with Composer() as composer:
        a, b, c, d = log.tasklets("abcd")
        b.set_continue_fn(cont_fn=lambda: log.count("b") < 3)
        a >> Loop(loop_check_fn=log.passes("c", 1))(b >> c) >> d
    composer.run()
    assert log.text == "abbbcd"
    log.clear()
    with Composer() as composer:
        a, b, c = log.tasklets("abc")
        b.set_continue_fn(lambda: log.count("b") < 2)
        a >> Loop(lambda: "b" in log)(b >> c)
    composer.run()
    assert log.text == "abb"


def test_statement_08_a_done_loop_skips_the_rest_of_its_pass(log: Log) -> None:
    with Composer() as composer:
        a, b, c, d = log.tasklets("abcd")
        a >> Loop(log.passes("b", 2))(b >> c) >> d
    composer.run()
    assert log.text == "abcbd"


def test_an_inner_loop_may_end_where_the_outer_one_ends(log: Log) -> None:
    with Composer() as composer:
        a, b, c, d = log.tasklets("abcd")
        inner = Loop(lambda: log.count("c") % 2 == 0)
        Loop(log.passes("b", 2))(a >> b >> inner(c)) >> d
    composer.run()
    assert log.text == "abccabd"


def test_a_loop_of_one(log: Log) -> None:
    with Composer() as composer:
        (a,) = log.tasklets("a")
        Loop(log.passes("a", 3))(a)
    composer.run()
    assert log.text == "aaa"


def test_a_chain_may_be_written_after_the_block(log: Log) -> None:
    with Composer() as composer:
        a, b, c = log.tasklets("abc")
    a >> b
    b >> c
    composer.run()
    assert log.text == "abc"


def test_siblings_run_in_the_order_of_the_list_and_can_be_found(log: Log) -> None:
    with Composer() as composer:
        a, b, c, d = log.tasklets("abcd")
        a >> [b, c] >> d
    composer.run()
    assert log.text == "abcd"
    assert composer.get_tasklet("c") is c
    assert str(composer) == "a >> [b, c] >> d"


def test_siblings_are_one_step_of_a_loop(log: Log) -> None:
    with Composer() as composer:
        a, b, c, d = log.tasklets("abcd")
        Loop(log.passes("b", 2))(a >> [b, c]) >> d
    composer.run()
    assert log.text == "abcabcd"


def test_what_a_sibling_raises_comes_out(log: Log) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with Composer() as composer:
        a, b = log.tasklets("ab")
        a >> [b, Tasklet("c", fail)]
    with pytest.raises(ZeroDivisionError):
        composer.run()
    assert composer.current is composer.get_tasklet("c")


def test_a_list_of_one_is_that_tasklet_and_an_empty_one_is_refused(log: Log) -> None:
    with Composer() as composer:
        a, b = log.tasklets("ab")
        with pytest.raises(ValueError, match="cannot be empty"):
            a >> []
        a >> [b]
    assert str(composer) == "a >> b"


def test_statement_09_inserting_before_a_starter_makes_it_the_starter(abcd: Composer, log: Log) -> None:
    with CloneComposer(abcd) as composer:
        (x,) = log.tasklets("x")
        composer.get_tasklet("b").insert_before(x)
    abcd.run()
    assert log.text == "axbcxbcd"
    assert x.loop_state is LoopIndicator.BEGIN


def test_inserting_after_an_ender_makes_it_the_ender(abcd: Composer, log: Log) -> None:
    with CloneComposer(abcd):
        (x,) = log.tasklets("x")
    abcd.insert("c", x, after=True)
    abcd.run()
    assert log.text == "abcxbcd"
    assert x.loop_state is LoopIndicator.END


def test_an_inserted_inner_member_has_all_the_rights_of_a_member(abcd: Composer, log: Log) -> None:
    with CloneComposer(abcd):
        (x,) = log.tasklets("x")
        x.set_continue_fn(lambda: log.count("x") == 1)
    abcd.get_tasklet("b").insert_after(x)
    abcd.run()
    assert log.text == "abxbxcbxcd"


def test_inserting_before_the_root(abcd: Composer, log: Log) -> None:
    with CloneComposer(abcd):
        (x,) = log.tasklets("x")
    abcd.insert("a", x)
    abcd.run()
    assert log.text == "xabcbcd"


def test_inserting_beside_a_sibling_goes_beside_the_group(log: Log) -> None:
    with Composer() as composer:
        a, b, c, x = log.tasklets("abcx")
        a >> [b, c]
        c.insert_before(x)
    assert str(composer) == "a >> x >> [b, c]"


def test_statement_09_unlinked_tasklets_are_chained_anew(abcd: Composer, log: Log) -> None:
    abcd.get_tasklet("b").set_continue_fn(lambda: True)
    abcd.unlink()
    abcd.tasklet("d") >> abcd.tasklet("b")
    with pytest.raises(KeyError, match="no unlinked tasklet b; there are: a, c"):
        abcd.tasklet("b")
    abcd.run()
    assert log.text == "db"


def test_the_root_can_be_removed(abcd: Composer, log: Log) -> None:
    abcd.get_tasklet("a").remove()
    abcd.remove_tasklet("d")
    abcd.run()
    assert log.text == "bcbc"


def test_a_sibling_can_be_removed(log: Log) -> None:
    with Composer() as composer:
        a, b, c, d = log.tasklets("abcd")
        a >> [b, c] >> d
    c.remove()
    b.remove()
    composer.run()
    assert log.text == "ad"


@pytest.mark.parametrize("alias", "bc")
def test_statement_09_a_loop_end_cannot_be_removed(abcd: Composer, alias: str) -> None:
    with pytest.raises(NotImplementedError, match=r"^Can't handle loop ends removal yet$"):
        abcd.get_tasklet(alias).remove()


def test_a_replaced_tasklet_keeps_its_place_and_its_continue_function(abcd: Composer, log: Log) -> None:
    abcd.get_tasklet("b").set_continue_fn(lambda: log.count("x") == 1)
    with CloneComposer(abcd):
        (x,) = log.tasklets("x")
        x.quiet = True
        abcd.get_tasklet("b").replace_with(x)
    abcd.run()
    assert log.text == "axxcxcd"
    assert abcd.get_tasklet("x").quiet


def test_statement_10_aliases_are_checked(abcd: Composer, log: Log) -> None:
    with CloneComposer(abcd):
        (c,) = log.tasklets("c")
    with pytest.raises(ValueError, match="alias c is in the chain already"):
        abcd.insert("a", c)
    with pytest.raises(ValueError, match=r"^Tasklet with alias nobody not found"):
        abcd.get_tasklet("nobody")
    with pytest.raises(WorkflowError, match="there are: none"):
        abcd.tasklet("a")


def test_only_callables_decide() -> None:
    with pytest.raises(TypeError):
        Loop(True)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Tasklet("a", print).set_continue_fn(1)  # type: ignore[arg-type]


def test_chains_that_cannot_be_run_say_why(log: Log) -> None:
    with Composer() as composer:
        a, b, c, d, e = log.tasklets("abcde")
        with pytest.raises(WorkflowError, match="nothing to run"):
            composer.run()
        a >> b
        c >> d
        with pytest.raises(WorkflowError, match="2 chains, which begin with a, c"):
            composer.run()
        with pytest.raises(WorkflowError, match="would form a ring"):
            b >> a
        with pytest.raises(WorkflowError, match="a already leads on in a >> b"):
            a >> e
        b >> c
        e.set_continue_fn(lambda: False)
        d >> e
        with pytest.raises(WorkflowError, match="e has a continue function and stands in no loop"):
            composer.run()
    assert log.text == ""


def test_a_tasklet_from_outside_or_elsewhere_is_refused(log: Log) -> None:
    outside, other = log.tasklets("oz")
    with pytest.raises(WorkflowError, match="tasklet o was made outside"):
        outside >> other
    with Composer():
        (a,) = log.tasklets("a")
    with Composer():
        (b,) = log.tasklets("b")
    with pytest.raises(WorkflowError, match="tasklet b belongs to another composer"):
        a >> b


def test_a_running_chain_is_frozen() -> None:
    with Composer() as composer:
        spare = Tasklet("spare", print)
        work = Tasklet("work", lambda: composer.insert("work", spare))
        work >> Tasklet("end", print)
    with pytest.raises(WorkflowError, match="running \\(at work\\)"):
        composer.run()
    composer.insert("work", spare)
    assert str(composer) == "spare >> work >> end"


def test_the_open_composer_is_nobody_elses() -> None:
    found: list[object] = []
    with Composer() as outer, Composer() as inner:
        assert Tasklet("a", print).composer is inner
        thread = threading.Thread(target=lambda: found.append(Tasklet("b", print).composer))
        thread.start()
        thread.join()
        greenlet.greenlet(lambda: found.append(Tasklet("c", print).composer)).switch()
        with CloneComposer(outer):
            assert Tasklet("d", print).composer is outer
        assert Tasklet("e", print).composer is inner
    assert found == [None, None]
    assert Tasklet("f", print).composer is None


def test_the_hooks_see_every_tasklet(abcd: Composer, log: Log) -> None:
    ticks: Iterator[float] = iter(range(100))
    spans: list[tuple[str, float, float]] = []
    before: list[str] = []
    abcd.clock = lambda: next(ticks)
    abcd.observer = lambda alias, start, seconds: spans.append((alias, start, seconds))
    abcd.before = lambda tasklet: before.append(tasklet.alias)
    abcd.run()
    assert "".join(before) == log.text
    assert spans == [(alias, 2 * index, 1) for index, alias in enumerate(log)]


def test_arguments_reach_the_function() -> None:
    seen: list[Any] = []
    with Composer() as composer:
        Tasklet("a", lambda *args, **kwargs: seen.append((args, kwargs)), 1, two=2) >> Tasklet("b", lambda: None)
    composer.run()
    assert seen == [((1,), {"two": 2})]


def test_message_types_keep_upstreams_numbers() -> None:
    assert [int(kind) for kind in MessageType] == list(range(1, 22))
    assert MessageType(19) is MessageType.BIAS


# -- the flat program equals the recursive meaning of the list

Tree = list[Any]  # a leaf is True or False: has it a continue function?; a list is a loop


class Script:
    """Answers of checks and continue functions, from one list of bits; behind its end everything is done."""

    def __init__(self, bits: list[bool]) -> None:
        self.bits, self.log = iter(bits), Log()

    def done(self) -> bool:
        return next(self.bits, True)

    def again(self) -> bool:
        return next(self.bits, False)


def meaning(tree: Tree, script: Script, in_loop: bool, names: dict[tuple[int, ...], str], at: tuple[int, ...]) -> None:
    """What a list means, told by recursion."""
    while True:
        for index, item in enumerate(tree):
            here = (*at, index)
            if isinstance(item, list):
                meaning(item, script, True, names, here)
                if index < len(tree) - 1 or not in_loop:
                    continue
            else:
                script.log.append(names[here])
                if in_loop and item and script.again():
                    break
            if in_loop and script.done():
                return
        if not in_loop:
            return


def build(tree: Tree, script: Script, in_loop: bool, names: dict[tuple[int, ...], str], at: tuple[int, ...]) -> Tasklet:
    """The same list as a chain."""
    chain = None
    for index, item in enumerate(tree):
        here = (*at, index)
        if isinstance(item, list):
            step = Loop(script.done)(build(item, script, True, names, here))
        else:
            name = names.setdefault(here, f"t{len(names)}")
            step = Tasklet(name, script.log.append, name)
            if item and in_loop:
                step.set_continue_fn(script.again)
        chain = step if chain is None else chain >> step
    assert chain is not None
    return chain


trees = st.recursive(
    st.lists(st.booleans(), min_size=1, max_size=3),
    lambda inner: st.lists(st.booleans() | inner, min_size=1, max_size=4),
    max_leaves=8,
)


@given(trees, st.lists(st.booleans(), max_size=40))
@settings(max_examples=150, deadline=None)
def test_the_program_does_what_the_list_means(tree: Tree, bits: list[bool]) -> None:
    names: dict[tuple[int, ...], str] = {}
    ours, theirs = Script(bits), Script(bits)
    with Composer() as composer:
        build([False, tree, False], ours, False, names, ())
    composer.run()
    meaning([False, tree, False], theirs, False, names, ())
    assert ours.log == theirs.log
    assert next(ours.bits, None) == next(theirs.bits, None)
