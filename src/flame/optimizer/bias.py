"""How differently a model treats two groups."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from flame.errors import RunError

LEAST = 1e-8
"""A group without samples divides by this."""


@dataclass(slots=True)
class Bias:
    """The difference a/b - c/d between two groups, of means over samples.

    With p the probability of class 1 and sums over the samples of group 0 (a, b) and group 1 (c, d):

    - SP, statistical parity: a and c sum p, b and d count.
    - EOP, equal opportunity: the same over samples whose target is 1.
    - CAL, calibration: a and c sum p over samples whose target is 1, b and d sum p.

    Attributes:
        fair: "SP", "EOP", "CAL", or "" for none.
        a, b, c, d: divided by the number of samples.
        val: a/b - c/d. A client's own, with b and d of all clients once they are known.
        sign: of `val`: -1, 0 or 1.
        local: whether it is one client's.
        local_val: a client's a/b - c/d.
        global_a, global_b, global_c, global_d: those of all clients; 1 until they are known.
    """

    fair: str = ""
    a: float = 0.0
    b: float = 1.0
    c: float = 0.0
    d: float = 1.0
    val: float = 0.0
    sign: int = 0
    local: bool = False
    local_val: float = 0.0
    global_a: float = 1.0
    global_b: float = 1.0
    global_c: float = 1.0
    global_d: float = 1.0

    def set(self, a: float, b: float, c: float, d: float) -> None:
        """Take sums over samples, divided by their number, and follow up with the differences."""
        self.a, self.b, self.c, self.d = a, max(b, LEAST), c, max(d, LEAST)
        self.local_val = self.a / self.b - self.c / self.d
        self.val = self.a / self.global_b - self.c / self.global_d if self.local else self.local_val
        self.sign = (self.val > 0) - (self.val < 0)

    def to_plain(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Any, fair: str) -> Bias:
        """Read what another worker says, trusting nothing in it.

        Raises:
            RunError: it is no bias, or one of another kind of fairness.
        """
        said = [plain.get(name) for name in "abcd"] if isinstance(plain, dict) else []
        parts = [part for part in said if isinstance(part, float) and math.isfinite(part)]
        if len(parts) != len("abcd"):
            raise RunError(f"fedgft: a bias has four finite sums; another worker says {plain!r:.80}")
        if plain.get("fair") != fair:
            raise RunError(f"fedgft: fair is {fair!r} here and {plain.get('fair')!r:.20} at another worker")
        bias = cls(fair)
        bias.set(*parts)
        return bias
