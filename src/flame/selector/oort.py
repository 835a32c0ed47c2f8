"""Guided selection: those are asked whose answers teach much and come soon.

F. Lai, X. Zhu, H. V. Madhyastha, M. Chowdhury: Oort: Efficient Federated Learning via Guided Participant Selection.
OSDI 2021, algorithm 1 and section 4.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from flame.common.settings import check_number, refuse_others
from flame.errors import ConfigError, RunError
from flame.selector.choice import Choice, kept, put_back
from flame.selector.drawing import drawn
from flame.selector.numbers import in_bounds, number_in

STAT_UTILITY = "stat_utility"

EXPLORE, EXPLORE_DECAY, EXPLORE_LEAST = 0.9, 0.98, 0.2
"""The share of a round's peers that were never heard before: in the first round, what it is multiplied by, its end."""
CUT_OFF = 0.95
"""Those are exploited that have so much of the utility of the last who would be among the best."""
CLIP = 0.95
"""The utility of this share of peers is no more than that of the others, who are clipped to it."""
WINDOW, FIRST_SHARE, SHARE_STEP = 20, 0.3, 0.05
"""The pacer: after so many rounds, of which share of peers the round waits at first, and by how much it is relaxed."""


class Oort:
    """Chooses more peers than are needed, by their statistical utility, their speed and how long ago they were heard.

    The utility of a peer is (size of its data) · sqrt(mean of its squared losses), as it was when it was last heard,
    clipped at the 95th percentile. sqrt(0.1 · ln(round) / (round when it was last heard)) is added to it; if the peer
    takes longer, t, than the duration T that the pacer prefers, the sum is multiplied by (T / t) ** alpha.
    A share of those asked, in the beginning nine tenths, have never been heard; the others are drawn by their utility
    among the best.

    Args:
        generator: draws.
        aggr_num: how many answers a round needs; the job's gate is then `first` with this k, if it names none.
        over_commit: so many times as many are asked.
        alpha: how much slowness counts.
        blacklist: one that has been heard in so many rounds is not asked again while there are others; 0 for never.

    Raises:
        ConfigError: a setting that there is not, or a value that it cannot have.
    """

    name = "oort"

    def __init__(
        self,
        *,
        generator: random.Random,
        aggr_num: Any = None,
        over_commit: Any = 1.3,
        alpha: Any = 2.0,
        blacklist: Any = 0,
        **others: Any,
    ) -> None:
        refuse_others("selector", "oort", others, ("aggr_num", "over_commit", "alpha", "blacklist"))
        self.aggr_num = needed(aggr_num)
        check_number("selector", "over_commit", over_commit, least=1)
        check_number("selector", "alpha", alpha, least=0)
        if type(blacklist) is not int or blacklist < 0:
            raise ConfigError("selector.kwargs.blacklist", f"a whole number, 0 or more, is needed, not {blacklist!r}")
        self._commit, self._alpha, self._blacklist = float(over_commit), float(alpha), blacklist
        self._generator = generator
        self._choice = Choice()
        self._round = 1
        self._explore = EXPLORE
        self._share = FIRST_SHARE
        self._utility: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._last: dict[str, int] = {}
        self._times: dict[str, int] = {}
        self._gained: list[float] = []
        self._relayed = 0.0
        self._exploited: frozenset[str] = frozenset()

    def state(self) -> dict[str, Any]:
        """All that was heard, whom was chosen, and how far exploration and pacer are."""
        heard = {
            end: (self._utility[end], self._seconds[end], self._last[end], self._times[end]) for end in self._utility
        }
        return {
            "heard": heard,
            "choice": self._choice.state(),
            "generator": kept(self._generator),
            "explore": self._explore,
            "share": self._share,
            "gained": list(self._gained),
            "exploited": sorted(self._exploited),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        if not state:
            return
        for end, (utility, seconds, last, times) in state["heard"].items():
            self._utility[end], self._seconds[end] = utility, seconds
            self._last[end], self._times[end] = last, times
        self._choice.restore(state["choice"])
        put_back(self._generator, state["generator"])
        self._explore, self._share = state["explore"], state["share"]
        self._gained, self._exploited = list(state["gained"]), frozenset(state["exploited"])

    # -- the side of those that are asked ------------------------------------------------------------------

    def says(self, metrics: Mapping[str, Any], samples: int) -> dict[str, Any]:
        """The statistical utility: the metric `stat_utility`, or else samples · `loss`, as if all lost as much.

        Raises:
            RunError: the worker has measured neither.
        """
        utility = number_in(metrics, STAT_UTILITY)
        loss = number_in(metrics, "loss")
        if utility is None and loss is not None:
            utility = samples * abs(loss)
        if utility is None and samples:
            raise RunError(f"the selector oort chooses by the metric {STAT_UTILITY} or loss; measured: {list(metrics)}")
        return {STAT_UTILITY: utility or 0.0}

    def relay(self) -> dict[str, Any]:
        """The sum of what was heard since the last time."""
        relayed, self._relayed = self._relayed, 0.0
        return {STAT_UTILITY: relayed}

    # -- the side that asks ------------------------------------------------------------------

    def hear(self, end: str, number: int, seconds: float | None, said: object) -> None:
        """Note an answer.

        Raises:
            RunError: it says no utility, or one that is none.
        """
        if said == {}:
            return
        utility = in_bounds(said, STAT_UTILITY, self.name, end)
        if end in self._exploited:
            self._gained[-1] += utility
        self._relayed += utility
        self._utility[end] = utility
        self._seconds[end] = seconds or 0.0
        self._last[end] = max(1, number)
        self._times[end] = self._times.get(end, 0) + 1

    def select(self, ends: Sequence[str], properties: Mapping[str, Any]) -> Sequence[str]:
        """The ends chosen for this round that are still there."""
        self._round = max(1, int(properties.get("round", 1)))
        return self._choice.renew(ends, properties, self._chosen)

    def _chosen(self, ends: Sequence[str]) -> list[str]:
        size = min(len(ends), int(self._commit * self.aggr_num))
        heard = [end for end in ends if end in self._utility]
        fresh = [end for end in ends if end not in self._utility]
        explore = min(len(fresh), max(size - len(heard), round(self._explore * size)))
        self._explore = max(EXPLORE_LEAST, self._explore * EXPLORE_DECAY)
        exploited = self._best(heard, size - explore)
        self._pace(exploited)
        picked = {*exploited, *self._generator.sample(fresh, explore)}
        return [end for end in ends if end in picked]

    def _best(self, heard: Sequence[str], size: int) -> list[str]:
        """So many of those that have been heard, by chance in proportion to their utility, among the best of them."""
        if size <= 0:
            return []
        often = {end for end in heard if self._blacklist and self._times[end] >= self._blacklist}
        allowed = [end for end in heard if end not in often]
        if len(allowed) < size:
            allowed = list(heard)
        utilities = self.utilities(allowed)
        cut_off = CUT_OFF * sorted(utilities.values(), reverse=True)[size - 1]
        return drawn({end: u for end, u in utilities.items() if u >= cut_off}, size, self._generator)

    def utilities(self, ends: Sequence[str]) -> dict[str, float]:
        """What some ends that have been heard are worth in this round."""
        ordered = sorted(self._utility[end] for end in ends)
        most = ordered[min(len(ordered) - 1, int(CLIP * len(ordered)))]
        preferred = self.preferred_s
        found = {}
        for end in ends:
            worth = min(self._utility[end], most) + math.sqrt(0.1 * math.log(self._round) / self._last[end])
            slow = self._seconds[end] > preferred
            found[end] = worth * (preferred / self._seconds[end]) ** self._alpha if slow else worth
        return found

    @property
    def preferred_s(self) -> float:
        """How long a round should take at most: so long as the pacer's share of peers takes; no bound in the end."""
        durations = sorted(self._seconds.values())
        place = int(self._share * len(durations))
        return durations[place] if place < len(durations) else math.inf

    def _pace(self, exploited: Sequence[str]) -> None:
        """Prefer longer rounds once those that are asked teach less than they did."""
        gained = self._gained
        if len(gained) >= 2 * WINDOW and len(gained) % WINDOW == 0:
            if sum(gained[-2 * WINDOW : -WINDOW]) > sum(gained[-WINDOW:]):
                self._share = min(1.0, self._share + SHARE_STEP)
            del gained[:-WINDOW]
        gained.append(0.0)
        self._exploited = frozenset(exploited)


def needed(aggr_num: Any) -> int:
    """How many answers a round needs, from the setting; a negative number counts as 1.

    Raises:
        ConfigError: it is not a whole number other than 0.
    """
    if type(aggr_num) is not int or aggr_num == 0:
        raise ConfigError("selector.kwargs.aggr_num", f"is {aggr_num!r}", "how many answers a round needs, 1 or more")
    return max(1, aggr_num)
