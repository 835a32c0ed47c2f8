"""Who is given to whom."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from flame.engine.assignment import NAME, Assignment, Plan, dealt, rebalanced
from flame.errors import RunError

TRAINERS = [f"t{number}" for number in range(7)]
MIDDLES = ["m0", "m1", "m2"]


@pytest.mark.parametrize("chance", [None, Random(1)])
def test_everybody_is_dealt_out_once_and_nobody_has_two_more(chance: Random | None) -> None:
    hands = dealt(TRAINERS, MIDDLES, chance)
    assert sorted(end for hand in hands.values() for end in hand) == TRAINERS
    assert sorted(map(len, hands.values())) == [2, 2, 3]
    assert all(hand == sorted(hand) for hand in hands.values())


def test_without_chance_they_go_in_turn() -> None:
    assert dealt(TRAINERS[:4], MIDDLES) == {"m0": ["t0", "t3"], "m1": ["t1"], "m2": ["t2"]}


def test_by_chance_everybody_is_with_everybody() -> None:
    chance, seen = Random(2), Counter[tuple[str, str]]()
    for _ in range(600):
        seen.update((end, leader) for leader, hand in dealt(TRAINERS[:2], MIDDLES, chance).items() for end in hand)
    assert len(seen) == 6 and all(150 < times < 250 for times in seen.values())


def test_only_who_has_to_moves() -> None:
    hands = rebalanced({}, TRAINERS, MIDDLES)
    assert rebalanced(hands, TRAINERS, MIDDLES) == hands
    gone = rebalanced(hands, TRAINERS, MIDDLES[1:])
    assert all(set(hands[leader]) <= set(gone[leader]) for leader in MIDDLES[1:])
    assert sorted(map(len, gone.values())) == [3, 4]
    more = rebalanced(gone, TRAINERS[1:], [*MIDDLES[1:], "new"])
    assert sorted(end for hand in more.values() for end in hand) == TRAINERS[1:] and len(more["new"]) == 2


def test_a_plan_tells_each_tier_its_part() -> None:
    plan = Plan(3, [{"top": ["m0"]}, {"m0": ["t0", "t1"], "m1": []}])
    assert plan.of(0) == {"top": Assignment(3, None, ("m0",))}
    assert plan.of(1) == {"m0": Assignment(3, "top", ("t0", "t1")), "m1": Assignment(3)}
    assert plan.of(2) == {"t0": Assignment(3, "m0"), "t1": Assignment(3, "m0")}
    assert plan.without(2, "t0") == "m0" and plan.without(2, "t0") is None
    assert plan.of(1)["m0"].below == ("t1",)


def test_a_word_survives_the_way() -> None:
    word = Assignment(4, "top", ("a", "b"), 2)
    assert Assignment.read(4, word.extras()) == word


@pytest.mark.parametrize(
    "said", [None, 1, {"above": None, "below": None}, {"above": 1, "below": []}, {"above": None, "below": [1]}]
)
def test_what_is_no_word_is_refused(said: object) -> None:
    with pytest.raises(RunError, match="is no assignment"):
        Assignment.read(1, {NAME: said})
