"""The invariants of groups: which workers there will be, and whom they will meet. One function each.

**The depth rule.** Walk from a data consumer towards the root, that is along channels whose far end is more
channels away from the data. Each step has to lead into a coarser group, or the same update would count twice
or never meet its siblings: a group never flows into two groups; and where groups are paths (`eu/west`), the
next group is a shorter path, and if it is itself a path, it is the beginning of the one before. A leading
`default` counts nothing. Flat names (`red`, then `black`) have no depth, and only the first half applies to
them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from flame.tag.finding import at, hint, join
from flame.tag.invariants import Facts, Problem, distances
from flame.tag.schema import DEFAULT_GROUP, Channel, Role


def bad_group_by(facts: Facts) -> Iterator[Problem]:
    """Groups are told apart by `tag`, and none is listed twice."""
    for i, channel in facts.channels("groupBy"):
        if channel.group_by.type != "tag":
            yield at("channels", i, "groupBy", "type"), f"is {channel.group_by.type!r}", 'write "tag"'
        seen: set[str] = set()
        for j, group in enumerate(channel.groups):
            if group in seen:
                yield (
                    at("channels", i, "groupBy", "value", j),
                    f"{group!r} is listed twice",
                    "keep one of them",
                )
            seen.add(group)


def unknown_channel(facts: Facts) -> Iterator[Problem]:
    """An association names channels that its role is on."""
    for i, role in facts.roles("name", "groupAssociation") if facts.can_name("channels") else ():
        mine = [channel.name for channel in facts.tag.channels_of(role.name)]
        readable = all(facts.is_whole("channels", k, "pair") for k in range(len(facts.tag.channels)))
        for j, association in enumerate(role.group_association if readable else ()):
            for name in association:
                if name not in mine:
                    exists = any(channel.name == name for channel in facts.tag.channels)
                    reason = (
                        f"role {role.name!r} is not on channel {name!r}" if exists else f"no channel is named {name!r}"
                    )
                    yield at("roles", i, "groupAssociation", j, name), reason, hint(name, mine)


def unknown_group(facts: Facts) -> Iterator[Problem]:
    """An association names groups that exist on the channel."""
    channels = {channel.name: channel for _, channel in facts.channels("groupBy", "pair")}
    exist = {name: {*channel.groups, DEFAULT_GROUP} for name, channel in channels.items()}
    for i, role in facts.roles("groupAssociation"):
        for j, association in enumerate(role.group_association):
            for name, group in association.items():
                channel = channels.get(name)
                if channel and role.name in channel.pair and group not in exist[name]:
                    reason = f"channel {name!r} has no group {group!r}"
                    yield at("roles", i, "groupAssociation", j, name), reason, hint(group, channel.groups)


def no_worker(facts: Facts) -> Iterator[Problem]:
    """Every role has an association, or there would be no worker of it."""
    for i, role in facts.roles("groupAssociation"):
        if not role.group_association:
            example = "{" + ", ".join(f'"{c.name}": "{c.groups[0]}"' for c in facts.tag.channels_of(role.name)) + "}"
            yield (
                at("roles", i, "groupAssociation"),
                f"there would be no worker of {role.name!r}",
                f"add {example}",
            )


def repeated_association(facts: Facts) -> Iterator[Problem]:
    """A data consumer has no association twice: the second would never get a dataset."""
    for i, role in facts.roles("groupAssociation", "isDataConsumer"):
        seen: set[frozenset[tuple[str, str]]] = set()
        for j, row in enumerate(role.group_association if role.is_data_consumer else ()):
            if frozenset(row.items()) in seen:
                yield (
                    at("roles", i, "groupAssociation", j),
                    "is there already, and only the first is used",
                    "remove it",
                )
            seen.add(frozenset(row.items()))


def one_sided_group(facts: Facts) -> Iterator[Problem]:
    """Where a group has workers of one role of the pair, it has workers of the other."""
    if not facts.can_name("roles") or not facts.can_name("channels"):
        return
    roles = {role.name: role for _, role in facts.roles("groupAssociation", "isDataConsumer") if role.group_association}
    for i, channel in facts.channels("pair", "groupBy"):
        one, other = channel.pair
        if one == other or one not in roles or other not in roles:
            continue
        sides = [(name, _populated(facts, roles[name], channel)) for name in channel.pair]
        for (name, mine), (missing, theirs) in ((sides[0], sides[1]), (sides[1], sides[0])):
            for group in mine:
                if group not in theirs:
                    where = [j for j, listed in enumerate(channel.groups) if listed == group]
                    path = at("channels", i, "groupBy", *(("value", where[0]) if where else ()))
                    reason = f"group {group!r} has workers of {name!r} only, and none of {missing!r}"
                    yield path, reason, f"give {missing!r} an association with {channel.name!r}: {group!r}"


def _populated(facts: Facts, role: Role, channel: Channel) -> dict[str, None]:
    """The groups of a channel in which a role has workers, as far as is known, in order."""
    rows = list(role.group_association)
    if role.is_data_consumer and facts.data is not None:
        known = role.associations_by_group()
        listed = facts.data.get(role.name, {})
        rows = [known[group] for group, some in listed.items() if some and group in known]
    exist = set(channel.groups)
    named = (row.get(channel.name, DEFAULT_GROUP) for row in rows)
    return dict.fromkeys(group if group in exist else DEFAULT_GROUP for group in named)


def group_depth(facts: Facts) -> Iterator[Problem]:
    """Each step towards the root leads into a coarser group; see the head of this file."""
    consumers = [role.name for role in facts.tag.data_consumers()]
    channels = [channel for _, channel in facts.channels("pair", "groupBy", "name")]
    level = distances(consumers, [channel.pair for channel in channels])
    for i, role in facts.roles("groupAssociation"):
        if role.name not in level:
            continue
        here = level[role.name]
        mine = [channel for channel in channels if role.name in channel.pair and not channel.is_self_loop]
        below = [channel for channel in mine if level[channel.other(role.name)] < here]
        above = [channel for channel in mine if level[channel.other(role.name)] > here]
        for low in below:
            for high in above:
                yield from _steps(at("roles", i, "groupAssociation"), role, low, high)


def _steps(path: str, role: Role, low: Channel, high: Channel) -> Iterator[Problem]:
    flows: dict[str, str] = {}
    for j, association in enumerate(role.group_association):
        lower, upper = low.group_of(association), high.group_of(association)
        spot = join(f"{path}[{j}]", high.name)
        if flows.setdefault(lower, upper) != upper:
            both = f"{flows[lower]!r} and into {upper!r} of {high.name!r}"
            yield spot, f"group {lower!r} of {low.name!r} flows into {both}", "let it flow into one group"
        elif "/" in lower + upper and not _is_coarser(upper, lower):
            reason = f"{upper!r} on {high.name!r} is no coarser than {lower!r} on {low.name!r}"
            yield spot, reason, f"use {'/'.join(lower.split('/')[:-1]) or DEFAULT_GROUP!r} there"


def _is_coarser(upper: str, lower: str) -> bool:
    if len(_parts(upper)) >= len(_parts(lower)):
        return False
    return "/" not in upper or _parts(lower)[: len(_parts(upper))] == _parts(upper)


def _parts(group: str) -> list[str]:
    parts = group.split("/")
    return parts[1:] if parts[0] == DEFAULT_GROUP else parts


def unknown_data(facts: Facts) -> Iterator[Problem]:
    """Datasets are given to data consumers, in groups that one of their associations names."""
    names = facts.role_names()
    roles: Mapping[str, Role] = {role.name: role for role in facts.tag.roles}
    for name, groups in (facts.data or {}).items() if facts.can_name("roles") else ():
        if name not in roles:
            yield at("data", name), f"no role is named {name!r}", hint(name, names)
        elif not roles[name].is_data_consumer:
            yield at("data", name), f"role {name!r} consumes no data", 'set "isDataConsumer": true on it'
        else:
            yield from lost_groups(roles[name], groups)


def lost_groups(role: Role, groups: Iterable[str]) -> Iterator[Problem]:
    """The data groups that no association of their role names: so that its datasets have no place."""
    known = role.associations_by_group()
    for group in groups:
        if group not in known:
            reason = f"no association of role {role.name!r} names the group {group!r}"
            yield at("data", role.name, group), reason, hint(group, known)


def no_data(facts: Facts) -> Iterator[Problem]:
    """Every data consumer, and every group listed for it, has datasets."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for name, groups in (facts.data or {}).items():
        counts[name] = {group: len(some) for group, some in groups.items()}
    for role in facts.tag.data_consumers() if facts.data is not None else ():
        if not counts[role.name]:
            yield at("data", role.name), f"there is no dataset for role {role.name!r}", "list them by group"
        for group, count in counts[role.name].items():
            if not count:
                yield (
                    at("data", role.name, group),
                    f"there is no dataset in group {group!r}",
                    "list one, or drop the group",
                )
