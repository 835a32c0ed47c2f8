"""What every invariant is given, and the invariants of names, graph and function tags: one function each.

A function yields `(path, reason, fix)` for each place where its rule is broken; the rule's name is the
function's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flame.errors import nearest
from flame.tag import protocol
from flame.tag.compression import fault
from flame.tag.finding import at, hint
from flame.tag.protocol import Action
from flame.tag.schema import Channel, Role, Tag

BACKENDS = ("inproc", "local", "mqtt", "p2p", "shm")

Problem = tuple[str, str, str]
Dataset = str | tuple[str, str]
Data = Mapping[str, Mapping[str, Sequence[Dataset]]]

_ONE_FOLDER = re.compile(r"[^/\\\x00-\x1f\x7f]+\Z")
_TOPIC = re.compile(r"[^#+\x00-\x1f\x7f]+\Z")


@dataclass(frozen=True, slots=True)
class Facts:
    """A TAG, and what else is known.

    Attributes:
        tag: the TAG.
        code: the roles for which there is a code folder; None when that is not known.
        tags_of: the function tags that each role's class has, for the roles of which that is known.
        actions: what each known tag does.
        backends: the transports that there are.
        data: the datasets of each group of each role; None when that is not known.
        broken: the paths at which the file could not be read: nothing that hangs on them is reported again.
    """

    tag: Tag
    code: Collection[str] | None = None
    tags_of: Mapping[str, Collection[str]] = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=lambda: protocol.BUILT_IN)
    backends: Collection[str] = BACKENDS
    data: Data | None = None
    broken: frozenset[str] = frozenset()

    def is_whole(self, *steps: str | int) -> bool:
        """Whether everything at and below a place could be read."""
        path = at(*steps)
        return not any(spot == path or spot.startswith((path + ".", path + "[")) for spot in self.broken)

    def can_name(self, kind: str) -> bool:
        """Whether all `roles` or `channels` have readable names, so that an unknown one is really unknown."""
        rows = self.tag.roles if kind == "roles" else self.tag.channels
        return kind not in self.broken and all(row.name for row in rows)

    def role_names(self) -> list[str]:
        """The names of the roles, in the file's order."""
        return [role.name for role in self.tag.roles]

    def channels(self, *parts: str) -> Iterator[tuple[int, Channel]]:
        """The channels of which these parts could be read, numbered."""
        for i, channel in enumerate(self.tag.channels):
            if f"channels[{i}]" not in self.broken and all(self.is_whole("channels", i, part) for part in parts):
                yield i, channel

    def roles(self, *parts: str) -> Iterator[tuple[int, Role]]:
        """The roles of which these parts could be read, numbered."""
        for i, role in enumerate(self.tag.roles):
            if f"roles[{i}]" not in self.broken and all(self.is_whole("roles", i, part) for part in parts):
                yield i, role


def bad_name(facts: Facts) -> Iterator[Problem]:
    """Names are not empty, role and channel names are one folder's name, and none could change a topic."""
    if not facts.tag.name and facts.is_whole("name"):
        yield "name", "is empty", "give the TAG a name"
    for i, role in facts.roles("name"):
        yield from _name(at("roles", i, "name"), role.name, _ONE_FOLDER)
    for i, channel in facts.channels("name"):
        yield from _name(at("channels", i, "name"), channel.name, _ONE_FOLDER)
    for i, channel in facts.channels("groupBy"):
        for j, group in enumerate(channel.groups):
            yield from _name(at("channels", i, "groupBy", "value", j), group, _TOPIC)
    for i, channel in facts.channels("funcTags"):
        for role_name, tags in channel.func_tags.items():
            for j, tag in enumerate(tags):
                yield from _name(at("channels", i, "funcTags", role_name, j), tag, _TOPIC)


def _name(path: str, name: str, allowed: re.Pattern[str]) -> Iterator[Problem]:
    if not name:
        yield path, "is empty", "give it a name"
    elif not allowed.match(name) or any(part in ("", ".", "..") for part in name.split("/")) or name != name.strip():
        kind = "a plain folder name" if allowed is _ONE_FOLDER else "plain text"
        yield path, f"{name!r} is not {kind}", "use letters, digits, '-', '_' and '.'"


def duplicate_role(facts: Facts) -> Iterator[Problem]:
    """No two roles have the same name."""
    yield from _duplicates("roles", facts.role_names())


def duplicate_channel(facts: Facts) -> Iterator[Problem]:
    """No two channels have the same name."""
    yield from _duplicates("channels", [channel.name for channel in facts.tag.channels])


def _duplicates(kind: str, names: list[str]) -> Iterator[Problem]:
    for i, name in enumerate(names):
        first = names.index(name)
        if name and first < i:
            yield (
                at(kind, i, "name"),
                f"{name!r} is already the name of {at(kind, first)}",
                "rename one of them",
            )


def missing_role(facts: Facts) -> Iterator[Problem]:
    """A channel's pair names roles of the TAG."""
    names = facts.role_names()
    for i, channel in facts.channels("pair") if facts.can_name("roles") else ():
        for j, name in enumerate(channel.pair):
            if name not in names:
                yield at("channels", i, "pair", j), f"no role is named {name!r}", hint(name, names)


def no_data_consumer(facts: Facts) -> Iterator[Problem]:
    """At least one role consumes data."""
    readable = facts.can_name("roles") and all(
        facts.is_whole("roles", i, "isDataConsumer") for i in range(len(facts.tag.roles))
    )
    if readable and not facts.tag.data_consumers():
        yield "roles", "no role consumes data", 'set "isDataConsumer": true on the role that has the datasets'


def not_connected(facts: Facts) -> Iterator[Problem]:
    """Every role can be reached from the first one over channels."""
    names = facts.role_names()
    pairs = [channel.pair for _, channel in facts.channels("pair")]
    if (
        len(pairs) < len(facts.tag.channels)
        or not facts.can_name("roles")
        or not facts.is_whole("channels")
        or not names
    ):
        return
    consumers = facts.tag.data_consumers()
    start = consumers[0].name if consumers else names[0]
    reached = distances([start], pairs)
    for i, name in enumerate(names):
        if name not in reached:
            yield at("roles", i), f"{name!r} cannot be reached from {start!r}", "join them by a channel"


def distances(starts: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """How many channels each reachable role is away from the nearest start."""
    near: dict[str, list[str]] = defaultdict(list)
    for one, other in pairs:
        near[one].append(other)
        near[other].append(one)
    found = dict.fromkeys(starts, 0)
    queue = list(starts)
    for name in queue:
        for other in near[name]:
            if other not in found:
                found[other] = found[name] + 1
                queue.append(other)
    return found


def no_code(facts: Facts) -> Iterator[Problem]:
    """Every role has a code folder of its name, when the folders are known."""
    for i, role in facts.roles("name") if facts.code is not None else ():
        if role.name and role.name not in (facts.code or ()):
            close = nearest(role.name, facts.code or ())
            fix = f"rename the folder {close!r}" if close else f"add a folder {role.name!r} with a main.py"
            yield at("roles", i, "name"), f"no code for role {role.name!r}", fix


def bad_replica(facts: Facts) -> Iterator[Problem]:
    """`replica` is a positive number, and is 1 for a role whose workers are counted by its datasets."""
    for i, role in facts.roles("replica", "isDataConsumer"):
        path = at("roles", i, "replica")
        if not 1 <= role.replica < 2**31:
            yield (
                path,
                f"is {role.replica}, not between 1 and {2**31 - 1}",
                "leave it out for one worker per association",
            )
        elif role.is_data_consumer and role.replica > 1:
            yield (
                path,
                "a data consumer has one worker per dataset, not per replica",
                "list a dataset several times",
            )


def unknown_backend(facts: Facts) -> Iterator[Problem]:
    """A channel's transport is one that there is."""
    for i, channel in facts.channels("backend"):
        if channel.backend and channel.backend not in facts.backends:
            reason = f"no backend is named {channel.backend!r}"
            yield at("channels", i, "backend"), reason, hint(channel.backend, facts.backends)


def bad_compression(facts: Facts) -> Iterator[Problem]:
    """A channel's compression is one that there is, with settings that it has."""
    for i, channel in facts.channels("compression"):
        found = None if channel.compression is None else fault(channel.compression)
        if found is not None:
            where, reason, fix = found
            yield f"{at('channels', i)}.{where}", reason, fix


def joined_data_consumers(facts: Facts) -> Iterator[Problem]:
    """Two different roles that consume data are joined directly only to put columns together."""
    consumers = {role.name for role in facts.tag.data_consumers()}
    for i, channel in facts.channels("pair"):
        one, other = channel.pair
        if one != other and one in consumers and other in consumers and not channel.tag_owner(protocol.JOINS_COLUMNS):
            yield (
                at("channels", i, "pair"),
                f"{one!r} and {other!r} both consume data",
                "put a role between them",
            )


def foreign_tags(facts: Facts) -> Iterator[Problem]:
    """`funcTags` names roles of the channel's pair only."""
    for i, channel in facts.channels("pair", "funcTags"):
        for name in channel.func_tags:
            if name not in channel.pair:
                yield (
                    at("channels", i, "funcTags", name),
                    f"{name!r} is not on this channel",
                    hint(name, channel.pair),
                )


def no_tags(facts: Facts) -> Iterator[Problem]:
    """`funcTags` says for both roles of the pair what they do; an empty list is an answer."""
    for i, channel in facts.channels("pair", "funcTags"):
        silent = [name for name in dict.fromkeys(channel.pair) if name not in channel.func_tags]
        if silent:
            reason = f"nothing is said of role {' and '.join(map(repr, silent))}"
            fix = ", ".join(f'"{name}": [functions]' for name in silent)
            yield at("channels", i, "funcTags"), reason, f"add {fix}"


def repeated_tag(facts: Facts) -> Iterator[Problem]:
    """A role performs a function on one channel, once: code finds the channel by the function."""
    first: dict[tuple[str, str], str] = {}
    for i, channel in facts.channels("funcTags"):
        for role, tags in channel.func_tags.items():
            for j, tag in enumerate(tags):
                path = at("channels", i, "funcTags", role, j)
                if tag and (role, tag) in first:
                    yield path, f"{role!r} already performs {tag!r} at {first[role, tag]}", "keep one of them"
                first.setdefault((role, tag), path)


def unknown_tag(facts: Facts) -> Iterator[Problem]:
    """A role's class has the functions that the TAG gives to it, when the class is known."""
    for i, channel in facts.channels("funcTags"):
        for role, tags in channel.func_tags.items():
            for j, tag in enumerate(tags if role in facts.tags_of else ()):
                if tag and tag not in facts.tags_of[role]:
                    reason = f"the class of role {role!r} has no function {tag!r}"
                    yield at("channels", i, "funcTags", role, j), reason, hint(tag, facts.tags_of[role])


def no_partner(facts: Facts) -> Iterator[Problem]:
    """Every function has a partner at the other side of its channel."""
    for i, channel in facts.channels("pair", "funcTags"):
        for role in dict.fromkeys(channel.pair):
            for j, tag in enumerate(channel.tags_of(role)):
                if tag in facts.actions and (problem := _partner(facts, channel, role, facts.actions[tag])):
                    yield at("channels", i, "funcTags", role, j), *problem


def _partner(facts: Facts, channel: Channel, role: str, action: Action) -> tuple[str, str] | None:
    other = channel.other(role)
    wanted = " or ".join(repr(name) for name in sorted(action.partners))
    if action.self_loop and not channel.is_self_loop:
        return f"{action.tag!r} joins workers of one role", f'make the pair ["{role}", "{role}"]'
    if protocol.partners(channel, role, action.tag, facts.actions):
        return None
    there = channel.tags_of(other)
    unknown = [name for name in there if name not in facts.actions]
    typo = next((name for name in unknown if nearest(name, action.partners, 0.8)), "")
    if unknown and not (typo and typo not in facts.tags_of.get(other, ())):
        return None
    told = f"{other!r} performs {typo!r}: a slip of the pen?" if typo else f"add {wanted} to role {other!r} here"
    if action.sends:
        return f"nobody takes what {action.tag!r} sends: role {other!r} has no {wanted} here", told
    return f"{action.tag!r} would wait for ever: role {other!r} has no {wanted} here", told


def deadlock(facts: Facts) -> Iterator[Problem]:
    """Run together, the programs of all roles never reach a state in which one of them can never go on."""
    whole = len(list(facts.channels("pair", "funcTags"))) == len(facts.tag.channels)
    if not whole or not facts.can_name("roles") or [*no_partner(facts), *repeated_tag(facts)]:
        return
    stuck = protocol.blocked(facts.tag, facts.actions)
    waits = [f"{one.step.role!r} in {one.step.tag!r} for {' or '.join(map(repr, one.waits_for))}" for one in stuck]
    if stuck:
        fix = "a loop of waiting: turn one channel around, or list own functions in the order in which they run"
        yield at(*stuck[0].step.path), f"waits for ever: {'; '.join(waits)}", fix
