"""Several hosts, which are network namespaces: cut links that heal, and walls around trainers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import Federation, models, rounds, steps
from namespaces import FILTER, Hosts, hosts, why_not
from town import last

reason = why_not()
pytestmark = pytest.mark.skipif(bool(reason), reason=reason)

MEETING = "10.77.0.1:10104"


@pytest.fixture
def lan() -> Iterator[Hosts]:
    with hosts("top", "one", "two") as lan:
        yield lan


@pytest.fixture
def net(tmp_path: Path, lan: Hosts, request: pytest.FixtureRequest) -> Iterator[Federation]:
    net = Federation(tmp_path, address=MEETING, silence_s=getattr(request, "param", 1.5))
    net.meet(lan.within("top"))
    yield net
    net.close()


@pytest.mark.parametrize("net", [4.0], indirect=True)
@pytest.mark.parametrize(("cut", "size"), [(Hosts.pull, 2_000_000), (Hosts.swallow, 10), (Hosts.swallow, 2_000_000)])
def test_a_link_that_is_cut_for_a_moment_costs_nothing(net: Federation, lan: Hosts, cut: object, size: int) -> None:
    """What was under way is said again when the link heals: every round has both trainers."""
    assert callable(cut)
    top = net.top(within=lan.within("top"), rounds=4, minPeers=2, size=size)
    one = net.site("one", within=lan.within("one"), learningRate=1.0, size=size)
    two = net.site("two", within=lan.within("two"), learningRate=3.0, size=size, holdIn=2)
    net.reaches("two", "round-2")
    cut(lan, "two")
    net.go("two")
    net.reaches("two", "sent-2")
    last(1.0)
    lan.heal("two")
    assert steps(models(top)) == [2.0] * 4
    assert rounds(one) == rounds(two) == [1, 2, 3, 4]


@pytest.mark.parametrize(("cut", "size"), [(Hosts.pull, 10), (Hosts.swallow, 2_000_000)])
def test_who_is_cut_off_for_longer_rejoins_when_the_link_heals(
    net: Federation, lan: Hosts, cut: object, size: int
) -> None:
    """The rounds go on without it; it waits for them to come back, and takes part again."""
    assert callable(cut)
    top = net.top(within=lan.within("top"), rounds=60, minPeers=2, size=size)
    one = net.site("one", within=lan.within("one"), learningRate=1.0, work=0.1, size=size)
    two = net.site("two", within=lan.within("two"), learningRate=3.0, holdIn=2, size=size)
    net.reaches("two", "round-2")
    cut(lan, "two")
    net.go("two")
    net.reaches("one", "round-4")
    lan.heal("two")
    made = steps(models(top))
    assert made[0] == 2.0 and made[1] == 1.0 and made[-1] == 2.0
    assert rounds(one) == list(range(1, 61)) and rounds(two)[-1] == 60


@pytest.mark.skipif(FILTER is None, reason="iptables is not installed")
@pytest.mark.parametrize("first", ["sites", "top"])
def test_a_trainer_behind_a_firewall_takes_part(net: Federation, lan: Hosts, first: str) -> None:
    """It can call and cannot be called; who comes first does not matter."""
    for name in ("one", "two"):
        lan.wall(name)
    top = net.top(within=lan.within("top"), rounds=3, minPeers=2) if first == "top" else None
    sites = [net.site(name, within=lan.within(name), learningRate=1.0) for name in ("one", "two")]
    for name in ("one", "two"):
        net.reaches(name, "loading")
    top = top or net.top(within=lan.within("top"), rounds=3, minPeers=2)
    assert models(top) == [1.0, 2.0, 3.0]
    assert all(rounds(site) == [1, 2, 3] for site in sites)
