"""The round as a state machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flame.engine.round import Round, Verdict


def test_a_round_is_met_when_everybody_has_answered_or_gone() -> None:
    round_ = Round(3)
    round_.ask(["a", "b", "c"])
    assert round_.offer("b", 3, 10) is Verdict.FOLDED
    round_.lost("a")
    assert not round_.met and round_.next == "c"
    assert round_.offer("c", 3, 5) is Verdict.FOLDED
    assert round_.met and round_.next is None
    assert (round_.asked, round_.folded, round_.samples) == (3, 2, 15)


def test_answers_that_do_not_count() -> None:
    round_ = Round(2)
    round_.ask(["a", "b"])
    assert round_.offer("a", 1, 10) is Verdict.STALE
    assert round_.offer("z", 2, 10) is Verdict.UNASKED
    assert round_.offer("a", 2, 10, empty=True) is Verdict.EMPTY
    assert round_.offer("a", 2, 10) is Verdict.UNASKED
    assert round_.offer("b", 2, 0) is Verdict.EMPTY
    assert round_.met and not round_.folded


def test_a_round_that_asks_nobody_is_met() -> None:
    assert Round(1).met


@given(st.permutations(list("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_whoever_answers_when_the_next_is_always_the_first_open_one(order: list[str], gone: set[str]) -> None:
    asked = list("abcdef")
    round_ = Round(1)
    round_.ask(asked)
    settled: set[str] = set()
    for end in order:
        assert round_.next == next(each for each in asked if each not in settled)
        if end in gone:
            round_.lost(end)
        else:
            assert round_.offer(end, 1, 1) is Verdict.FOLDED
        settled.add(end)
    assert round_.met and round_.folded == len(set(asked) - gone)
