import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame.errors import ConfigError
from flame.extend import lookup

SETTINGS = {"default": {}, "random": {"k": 3}, "oort": {"aggr_num": 3}, "power-of-choice": {"k": 2, "d": 4}}
every = pytest.mark.parametrize("sort", SETTINGS)
rosters = st.integers(0, 30).map(lambda n: [f"end-{number:02}" for number in range(n)])


def made(sort, seed=0, **kwargs):
    return lookup("selector", sort)(generator=random.Random(seed), **SETTINGS[sort] | kwargs)


def in_order(chosen, ends):
    return list(chosen) == [end for end in ends if end in set(chosen)]


@every
@given(ends=rosters, seed=st.integers(0, 99))
def test_a_choice_is_of_those_who_are_there_in_their_order_and_holds_for_a_round(sort, ends, seed):
    selector = made(sort, seed)
    for number in range(1, 4):
        first = list(selector.select(ends, {"round": number}))
        assert in_order(first, ends)
        assert list(selector.select(ends, {"round": number})) == first
        assert list(selector.select(list(ends), {"round": number})) == first


@every
@given(ends=rosters, seed=st.integers(0, 99))
def test_the_same_generator_gives_the_same_choices(sort, ends, seed):
    one, other = made(sort, seed), made(sort, seed)
    for number in range(5):
        assert list(one.select(ends, {"round": number})) == list(other.select(ends, {"round": number}))


@every
@given(ends=rosters.filter(bool), gone=st.sets(st.integers(0, 29)))
def test_who_has_gone_is_dropped_at_once_and_who_comes_waits(sort, ends, gone):
    selector = made(sort)
    before = list(selector.select(ends, {"round": 1}))
    left = [end for number, end in enumerate(ends) if number not in gone]
    still = [end for end in before if end in left]
    chosen = list(selector.select([*left, "newcomer"], {"round": 1}))
    assert chosen == still if still else in_order(chosen, [*left, "newcomer"])


def test_a_list_that_shrank_in_place_is_noticed_too():
    ends, selector = ["a", "b", "c"], made("default")
    assert list(selector.select(ends, {})) == ["a", "b", "c"]
    ends.remove("b")
    assert list(selector.select(ends, {})) == ["a", "c"]


def test_default_asks_everybody_and_newcomers_from_the_next_round_on():
    selector = made("default")
    assert list(selector.select(["a"], {"round": 1})) == ["a"]
    assert list(selector.select(["a", "b"], {"round": 1})) == ["a"]
    assert list(selector.select(["a", "b"], {"round": 2})) == ["a", "b"]


def test_while_nobody_is_chosen_every_call_chooses_anew():
    selector = made("default")
    assert list(selector.select([], {"round": 1})) == []
    assert list(selector.select(["a"], {"round": 1})) == ["a"]
    assert list(selector.select(["b"], {"round": 1})) == ["b"]


@pytest.mark.parametrize(("k", "size"), [(-5, 1), (-1, 1), (0, 0), (1, 1), (4, 4), (10, 10), (99, 10)])
def test_k_says_how_many(k, size):
    ends = [str(number) for number in range(10)]
    chosen = made("random", k=k).select(ends, {"round": 1})
    assert len(chosen) == len(set(chosen)) == size
    assert list(made("random", k=k).select([], {"round": 1})) == []


def test_every_end_has_the_same_chance():
    ends = [str(number) for number in range(10)]
    selector = made("random", k=3)
    seen = Counter(end for number in range(3000) for end in selector.select(ends, {"round": number}))
    assert set(seen) == set(ends)
    assert all(abs(count - 900) < 150 for count in seen.values())


def test_choosing_few_of_a_million_does_not_look_at_them_all():
    ends = [str(number) for number in range(1_000_000)]
    selector = made("random", k=100)
    selector.select(ends, {"round": 0})
    begun = time.perf_counter()
    for number in range(1, 11):
        assert len(selector.select(ends, {"round": number})) == 100
        selector.select(ends, {"round": number})
    assert (time.perf_counter() - begun) / 10 < 0.005


@every
def test_a_setting_that_is_unknown_is_answered_with_the_known_ones(sort):
    with pytest.raises(ConfigError, match=rf"selector\.kwargs\.c: {sort} has no such setting \(it"):
        made(sort, c=3)


@pytest.mark.parametrize("k", ["3", 2.5, 3.0, True])
def test_k_is_a_whole_number(k):
    with pytest.raises(ConfigError, match=r"selector\.kwargs\.k: a whole number"):
        made("random", k=k)


def test_random_needs_k():
    with pytest.raises(ConfigError, match=r"selector\.kwargs\.k: random needs it"):
        lookup("selector", "random")(generator=random.Random(0))
