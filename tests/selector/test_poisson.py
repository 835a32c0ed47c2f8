"""Independent sampling."""

from __future__ import annotations

from random import Random

import pytest

from flame.errors import ConfigError
from flame.selector.poisson import Poisson

ENDS = [f"end-{number}" for number in range(50)]


def test_everybody_is_asked_with_the_same_chance_and_independently() -> None:
    selector, rounds = Poisson(generator=Random(1), rate=0.2), 4000
    chosen = [frozenset(selector.select(ENDS, {"round": number})) for number in range(rounds)]
    shares = [sum(end in some for some in chosen) / rounds for end in ENDS]
    assert all(abs(share - 0.2) < 5 * (0.2 * 0.8 / rounds) ** 0.5 for share in shares)
    both = sum(ENDS[0] in some and ENDS[1] in some for some in chosen) / rounds
    assert abs(both - 0.04) < 0.015
    assert any(not some for some in (selector.select(ENDS[:1], {"round": n}) for n in range(rounds, rounds + 9)))


def test_a_choice_holds_for_a_round_even_of_nobody_and_drops_who_has_gone() -> None:
    selector = Poisson(generator=Random(1), rate=0.5)
    first = list(selector.select(ENDS, {"round": 1}))
    assert list(selector.select(ENDS, {"round": 1})) == first
    assert list(selector.select(first[1:], {"round": 1})) == first[1:]
    nobody = Poisson(generator=Random(1), rate=1e-9)
    assert [list(nobody.select(ENDS, {"round": 1})) for _ in range(100)] == [[]] * 100


@pytest.mark.parametrize("rate", [None, 0, -1, 1.5, "half", True])
def test_a_rate_is_a_probability(rate: object) -> None:
    with pytest.raises(ConfigError, match=r"selector\.kwargs\.rate"):
        Poisson(generator=Random(1), rate=rate)
