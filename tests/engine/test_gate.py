"""What a gate decides, and which settings it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame.engine.gate import Everyone, WhenLost
from flame.engine.round import Round, Verdict
from flame.errors import ConfigError


def test_its_settings() -> None:
    gate = Everyone(atLeast=2, whenLost="wait")
    assert (gate.at_least, gate.when_lost) == (2, WhenLost.WAIT)
    assert (Everyone().at_least, Everyone().when_lost) == (0, WhenLost.CONTINUE)


@pytest.mark.parametrize(
    ("kwargs", "where"),
    [
        ({"atLeast": -1}, "gate.kwargs.atLeast"),
        ({"atLeast": "2"}, "gate.kwargs.atLeast"),
        ({"atLeast": True}, "gate.kwargs.atLeast"),
        ({"whenLost": "panic"}, "gate.kwargs.whenLost"),
        ({"whenLost": None}, "gate.kwargs.whenLost"),
        ({"atleast": 1}, "gate.kwargs.atleast"),
    ],
)
def test_a_wrong_setting_is_refused_where_it_is(kwargs: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Everyone(**kwargs)
    assert refused.value.path == where and refused.value.fix


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.data())
def test_who_is_asked_again_is_waited_for_again(ends: list[str], data: st.DataObject) -> None:
    """Whatever goes and comes back, a round is met when each has one answer that counts, or none is waited for."""
    round_, open_ends, counted = Round(1), dict.fromkeys("abcd"), set[str]()
    round_.ask("abcd")
    for end in ends:
        if end in counted and data.draw(st.booleans()):
            round_.retract(1)
            round_.reopen(end)
            counted.remove(end)
            open_ends[end] = None
        else:
            verdict = round_.offer(end, 1, 1)
            assert (verdict is Verdict.FOLDED) == (end in open_ends)
            open_ends.pop(end, None)
            counted.add(end)
        assert round_.met == (not open_ends)
        assert round_.folded == round_.samples == round_.heard == len(counted)
        assert round_.next == next((end for end in "abcd" if end in open_ends), None)
