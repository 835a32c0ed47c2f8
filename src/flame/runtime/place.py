"""Which worker is in which host. Pure; it changes where things run and no result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flame.tag import Tag, WorkerSpec


def place(tag: Tag, specs: Sequence[WorkerSpec], hosts: int) -> list[int]:
    """A host for each worker, in the order of the workers.

    Aggregators are spread first. Workers with data then go to the emptiest host one by one, so that answers come in
    about the order in which they are folded. Where a TAG has many more groups than there are hosts, a whole group
    goes to one host instead, so that most messages stay inside it.

    Args:
        tag: the TAG that the workers are of.
        specs: the workers.
        hosts: how many hosts there are, at least 1.
    """
    consumers = {role.name for role in tag.roles if role.is_data_consumer}
    load = Counter(dict.fromkeys(range(hosts), 0))
    placed = [0] * len(specs)
    groups = Counter(_home(spec) for spec in specs if spec.role in consumers)
    together = len(groups) >= 4 * hosts > 4
    home: dict[object, int] = {}
    others = [number for number, spec in enumerate(specs) if spec.role not in consumers]
    datas = [number for number, spec in enumerate(specs) if spec.role in consumers]
    if together:
        for group, size in groups.items():
            home[group] = min(range(hosts), key=load.__getitem__)
            load[home[group]] += size
        for number in others + datas:
            placed[number] = home.get(_home(specs[number]), 0)
        return placed
    for turn, number in enumerate(others):
        placed[number] = turn % hosts
        load[turn % hosts] += 1
    for number in datas:
        host = min(range(hosts), key=load.__getitem__)
        placed[number] = host
        load[host] += 1
    return placed


def _home(spec: WorkerSpec) -> object:
    """What workers that talk to each other most have in common: the group on their first channel."""
    return next(iter(spec.group_association.items()), None)
