"""Placement: everybody is somewhere, evenly, and always in the same place."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from flame.runtime.place import place
from flame.tag import Tag, WorkerSpec, expand, template

REGIONS = ("asia", "eu", "na", "us")


@st.composite
def federations(draw: st.DrawFn) -> tuple[Tag, list[WorkerSpec]]:
    """A star or a tree with some sites."""
    if draw(st.booleans()):
        tag = template("two-tier")
        data = {"default": [f"site-{number}" for number in range(draw(st.integers(1, 40)))]}
    else:
        regions = draw(st.lists(st.sampled_from(REGIONS), min_size=1, unique=True))
        tag = template("hierarchical", regions=tuple(regions))
        data = {region: [f"{region}-{n}" for n in range(draw(st.integers(1, 12)))] for region in regions}
    return tag, expand(tag, {"trainer": data})


@given(federations(), st.integers(1, 9))
def test_everybody_is_placed_evenly_and_always_the_same(federation: tuple[Tag, list[WorkerSpec]], hosts: int) -> None:
    tag, specs = federation
    placed = place(tag, specs, hosts)
    assert len(placed) == len(specs) and all(0 <= host < hosts for host in placed)
    assert placed == place(tag, specs, hosts)
    load = Counter({host: 0 for host in range(hosts)}) + Counter()
    load.update(placed)
    loads = [load[host] for host in range(hosts)]
    assert max(loads) - min(loads) <= 1
    sites = [load for load in Counter(h for h, s in zip(placed, specs, strict=True) if s.role == "trainer").values()]
    assert len(sites) >= min(hosts, len([s for s in specs if s.role == "trainer"])) - 1


def test_many_groups_stay_together() -> None:
    """With many more groups than hosts, a group's trainers are where its aggregator is."""
    regions = tuple(f"region-{number}" for number in range(40))
    tag = template("hierarchical", regions=regions)
    specs = expand(tag, {"trainer": {region: [f"{region}/{n}" for n in range(5)] for region in regions}})
    placed = place(tag, specs, 4)
    homes: dict[str, set[int]] = {}
    for spec, host in zip(specs, placed, strict=True):
        group = next((group for group in spec.group_association.values() if group in regions), None)
        if group is not None:
            homes.setdefault(group, set()).add(host)
    assert all(len(hosts) == 1 for hosts in homes.values())
    load = Counter(placed)
    assert max(load.values()) - min(load.values()) <= 6  # one group, and the aggregator at the top
