"""A link that is slow: whoever is behind it takes long, is never taken for dead, and the result is exact."""

from __future__ import annotations

from pathlib import Path

import pytest
from federation import Federation, models, rounds, steps
from namespaces import TRAFFIC, hosts, why_not

reason = why_not() or ("" if TRAFFIC else "tc is not installed")
pytestmark = pytest.mark.skipif(bool(reason), reason=reason)

PORT = 10105


@pytest.mark.parametrize("backend", ["p2p", "mqtt"])
@pytest.mark.parametrize(
    ("megabytes", "megabytes_per_s"), [(12, 3.0), (2, 0.5)], ids=["longer than silence", "a piece at a time"]
)
def test_slow_is_not_dead(tmp_path: Path, backend: str, megabytes: int, megabytes_per_s: float) -> None:
    """Its order and its update each take several times as long as anybody may be silent."""
    with hosts("top", "one", "two") as lan:
        lan.slow("two", int(megabytes_per_s * 1e6))
        net = Federation(tmp_path, backend, f"10.77.0.1:{PORT}")
        try:
            net.meet(lan.within("top"))
            size = megabytes * 250_000
            top = net.top(within=lan.within("top"), rounds=1, minPeers=2, size=size)
            one = net.site("one", within=lan.within("one"), learningRate=1.0, size=size)
            two = net.site("two", within=lan.within("two"), learningRate=3.0, size=size)
            assert steps(models(top, within_s=70.0)) == [2.0]
            assert rounds(one) == rounds(two) == [1]
        finally:
            net.close()
