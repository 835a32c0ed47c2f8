"""Selectors that choose by what peers have answered, against their papers' formulas."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame.errors import ConfigError, RunError
from flame.extend import lookup
from flame.selector.drawing import drawn
from flame.selector.oort import WINDOW, Oort
from flame.selector.power_of_choice import PowerOfChoice

ENDS = [f"end-{number:02}" for number in range(20)]


def oort(seed: int = 0, **kwargs: Any) -> Oort:
    return Oort(generator=random.Random(seed), **{"aggr_num": 4, **kwargs})


def power(seed: int = 0, **kwargs: Any) -> PowerOfChoice:
    return PowerOfChoice(generator=random.Random(seed), **{"k": 2, "d": 5, **kwargs})


def tell(selector: Oort, end: str, utility: float, seconds: float | None = 1.0, number: int = 1) -> None:
    selector.hear(end, number, seconds, {"stat_utility": utility})


# -- Oort --------------------------------------------------------------------------------


def test_more_are_asked_than_are_needed() -> None:
    assert len(oort().select(ENDS, {"round": 1})) == int(1.3 * 4)
    assert len(oort(over_commit=1).select(ENDS, {"round": 1})) == 4
    assert len(oort().select(ENDS[:3], {"round": 1})) == 3
    assert len(oort(aggr_num=-5).select(ENDS, {"round": 1})) == 1


def test_utility_is_clipped_grows_with_time_and_shrinks_with_slowness() -> None:
    """Algorithm 1, lines 9 to 12, by hand."""
    selector = oort()
    seconds = {end: float(number + 1) for number, end in enumerate(ENDS)}
    for number, end in enumerate(ENDS):
        tell(selector, end, 10.0 * (number + 1), seconds[end], number + 1)
    selector.select([], {"round": 30})
    preferred = 7.0  # a share of 0.3 of twenty durations are shorter
    assert selector.preferred_s == preferred
    found = selector.utilities(ENDS)
    for number, end in enumerate(ENDS):
        worth = min(10.0 * (number + 1), 200.0) + math.sqrt(0.1 * math.log(30) / (number + 1))
        slow = (preferred / seconds[end]) ** 2 if seconds[end] > preferred else 1.0
        assert found[end] == pytest.approx(worth * slow)


def test_an_outlier_is_clipped() -> None:
    selector = oort()
    many = [f"end-{number}" for number in range(100)]
    for number, end in enumerate(many):
        tell(selector, end, 1.0 if number < 97 else 1e9)
    selector.select([], {"round": 1})
    assert set(selector.utilities(many).values()) == {1.0}


def test_without_durations_nobody_is_slow() -> None:
    selector = oort()
    for end in ENDS:
        tell(selector, end, 1.0, None)
    selector.select([], {"round": 1})
    assert set(selector.utilities(ENDS).values()) == {1.0}


def test_exploration_decays_to_a_fifth() -> None:
    """Of those asked nine tenths were never heard at first; their share falls by a fiftieth each round."""
    selector = oort(aggr_num=100, over_commit=1)
    many = [f"end-{number}" for number in range(100_000)]
    for end in many[:1000]:
        tell(selector, end, 1.0)
    for number in range(1, 121):
        fresh = sum(end not in selector._utility for end in selector.select(many, {"round": number}))
        assert fresh == round(100 * max(0.2, 0.9 * 0.98 ** (number - 1)))


def test_the_best_are_exploited_in_proportion_to_their_utility() -> None:
    """Whoever has less than 95 % of the utility of the last of the best is left out."""
    counts: Counter[str] = Counter()
    for seed in range(600):
        selector = oort(seed, aggr_num=1, over_commit=1)
        for end, utility in zip("abcd", (4.0, 3.9, 3.7, 1.0), strict=True):
            tell(selector, end, utility)
        counts.update(selector.select(list("abcd"), {"round": 1}))
    assert set(counts) == {"a", "b"}
    assert counts["a"] / counts["b"] == pytest.approx(4 / 3.9, abs=0.25)


def test_a_slow_peer_is_left_out_although_it_teaches_more() -> None:
    selector = oort(aggr_num=2, over_commit=1)
    for end in ENDS:
        tell(selector, end, 1.0, 1.0)
    tell(selector, ENDS[0], 1.5, 100.0)
    assert all(ENDS[0] not in selector.select(ENDS, {"round": number}) for number in range(1, 30))
    neutral = oort(aggr_num=1, over_commit=1, alpha=0)
    for end in ENDS:
        tell(neutral, end, 1.0, 1.0)
    tell(neutral, ENDS[0], 1.5, 100.0)
    assert neutral.select(ENDS, {"round": 1}) == [ENDS[0]]


def test_the_pacer_waits_longer_when_less_is_learned() -> None:
    def paced(gain: Any) -> float:
        selector = oort(aggr_num=2, over_commit=1)
        for number, end in enumerate(ENDS):
            tell(selector, end, 1.0, float(number))
        for number in range(1, 2 * WINDOW + 2):
            for end in selector.select(ENDS, {"round": number}):
                tell(selector, end, gain(number), float(ENDS.index(end)), number)
        return selector.preferred_s

    assert paced(lambda number: 1.0 / number) == 7.0
    assert paced(lambda number: float(number)) == 6.0


def test_who_was_heard_often_is_left_alone_while_there_are_others() -> None:
    selector = oort(aggr_num=1, over_commit=1, blacklist=2)
    for _ in range(2):
        tell(selector, "a", 100.0)
    tell(selector, "b", 1.0)
    assert selector.select(["a", "b"], {"round": 1}) == ["b"]
    assert selector.select(["a"], {"round": 2}) == ["a"]


def test_who_is_busy_is_not_asked() -> None:
    for selector in (oort(), power()):
        for number in range(1, 20):
            assert not {*ENDS[:12]} & {*selector.select(ENDS, {"round": number, "busy": dict.fromkeys(ENDS[:12])})}


def test_what_a_trainer_says() -> None:
    assert oort().says({"stat_utility": 3.0, "loss": 1.0}, 10) == {"stat_utility": 3.0}
    assert oort().says({"loss": 0.5}, 10) == {"stat_utility": 5.0}
    assert oort().says({"loss": math.nan}, 10) == {"stat_utility": 0.0}
    assert oort().says({}, 0) == {"stat_utility": 0.0}
    with pytest.raises(RunError, match="stat_utility or loss"):
        oort().says({"accuracy": 1.0}, 10)


def test_a_middle_aggregator_says_what_all_of_its_own_are_worth() -> None:
    selector = oort()
    tell(selector, "a", 1.5)
    tell(selector, "b", 2.0)
    assert selector.relay() == {"stat_utility": 3.5}
    assert selector.relay() == {"stat_utility": 0.0}


@pytest.mark.parametrize("said", [None, 3, {"stat_utility": -1.0}, {"stat_utility": math.inf}, {"stat_utility": "1"}])
def test_nonsense_from_a_peer_is_refused(said: object) -> None:
    with pytest.raises(RunError, match="end-00 says no stat_utility"):
        oort().hear("end-00", 1, 1.0, said)


# -- power of choice --------------------------------------------------------------------------------


def test_of_the_candidates_those_with_the_largest_losses_are_asked() -> None:
    selector = power(d=20)
    for number, end in enumerate(ENDS):
        selector.hear(end, 1, None, {"loss": float(number % 7), "samples": 10.0})
    chosen = selector.select(ENDS, {"round": 1})
    assert len(chosen) == 2 and all(ENDS.index(end) % 7 == 6 for end in chosen)


def test_who_was_never_heard_comes_first() -> None:
    selector = power(k=1, d=20)
    for end in ENDS[1:]:
        selector.hear(end, 1, None, {"loss": 1e9, "samples": 10.0})
    assert selector.select(ENDS, {"round": 1}) == [ENDS[0]]


def test_candidates_are_drawn_by_the_size_of_their_data() -> None:
    counts: Counter[str] = Counter()
    selector = power(k=1, d=1)
    for end, samples in (("a", 60.0), ("b", 30.0), ("c", 10.0), ("d", 0.0)):
        selector.hear(end, 1, None, {"loss": 1.0, "samples": samples})
    for number in range(3000):
        counts.update(selector.select(list("abcd"), {"round": number}))
    assert [counts[end] / 3000 for end in "abcd"] == pytest.approx([0.6, 0.3, 0.1, 0.0], abs=0.03)


def test_what_it_says_and_relays() -> None:
    assert power().says({"loss": 0.5}, 10) == {"loss": 0.5, "samples": 10.0}
    with pytest.raises(RunError, match="metric loss"):
        power().says({}, 10)
    selector = power()
    selector.hear("a", 1, None, {"loss": 1.0, "samples": 30.0})
    selector.hear("b", 1, None, {"loss": 5.0, "samples": 10.0})
    assert selector.relay() == {"loss": 2.0, "samples": 40.0}
    assert selector.relay() == {"loss": 0.0, "samples": 0.0}


# -- both --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sort", "kwargs"),
    [
        ("oort", {}),
        ("oort", {"aggr_num": 0}),
        ("oort", {"aggr_num": "3"}),
        ("oort", {"aggr_num": 3, "over_commit": 0.9}),
        ("oort", {"aggr_num": 3, "alpha": -1}),
        ("oort", {"aggr_num": 3, "blacklist": -1}),
        ("oort", {"agg_num": 3}),
        ("power-of-choice", {}),
        ("power-of-choice", {"k": 2}),
        ("power-of-choice", {"k": 0, "d": 2}),
        ("power-of-choice", {"k": 3, "d": 2}),
    ],
)
def test_wrong_settings_are_refused(sort: str, kwargs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"selector\.kwargs"):
        lookup("selector", sort)(generator=random.Random(0), **kwargs)


@given(
    weights=st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1e6)), size=st.integers(0, 10), seed=st.integers()
)
def test_drawing_is_without_replacement_and_takes_those_with_weight_first(
    weights: dict[str, float], size: int, seed: int
) -> None:
    picked = drawn(weights, size, random.Random(seed))
    assert len(picked) == len(set(picked)) == min(size, len(weights))
    heavy = {end for end, weight in weights.items() if weight > 0}
    assert heavy <= set(picked) or set(picked) <= heavy
