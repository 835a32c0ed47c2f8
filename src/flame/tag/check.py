"""Every invariant of a TAG, all findings at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from flame.errors import TagError
from flame.tag import door, groups, invariants, load, protocol
from flame.tag.finding import Finding
from flame.tag.invariants import BACKENDS, Data, Facts, Problem
from flame.tag.protocol import Action
from flame.tag.schema import Tag

#: The rules, in the order in which their findings are listed. A rule is named like its function.
INVARIANTS: tuple[Callable[[Facts], Iterator[Problem]], ...] = (
    invariants.bad_name,
    invariants.duplicate_role,
    invariants.duplicate_channel,
    invariants.missing_role,
    invariants.no_data_consumer,
    invariants.not_connected,
    invariants.joined_data_consumers,
    invariants.bad_replica,
    invariants.unknown_backend,
    invariants.bad_compression,
    invariants.no_code,
    groups.bad_group_by,
    groups.unknown_channel,
    groups.unknown_group,
    groups.no_worker,
    groups.repeated_association,
    groups.one_sided_group,
    groups.group_depth,
    groups.unknown_data,
    groups.no_data,
    invariants.foreign_tags,
    invariants.no_tags,
    invariants.repeated_tag,
    invariants.unknown_tag,
    invariants.no_partner,
    invariants.deadlock,
)

_NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})
_NO_PROTOCOLS: Mapping[str, Action] = MappingProxyType({})


def check(
    tag: Tag,
    *,
    code: Collection[str] | None = None,
    tags_of: Mapping[str, Collection[str]] = _NOTHING,
    protocols: Mapping[str, Action] = _NO_PROTOCOLS,
    backends: Collection[str] = BACKENDS,
    data: Data | None = None,
) -> list[Finding]:
    """Every place where the TAG breaks an invariant; an empty list is a sound TAG.

    Args:
        tag: the TAG.
        code: the names of the roles for which there is a code folder, when that is known.
        tags_of: for each role whose class is known, the function tags that the class has.
        protocols: what the user's own function tags do; they may also replace built-in ones.
        backends: the transports that there are.
        data: for each data consumer and group its datasets, when they are known.
    """
    actions = {**protocol.BUILT_IN, **protocols}
    return _findings(Facts(tag, code, tags_of, actions, backends, data))


def read(
    source: str | Path | Mapping[str, object],
    *,
    code: Collection[str] | None = None,
    tags_of: Mapping[str, Collection[str]] = _NOTHING,
    protocols: Mapping[str, Action] = _NO_PROTOCOLS,
    backends: Collection[str] = BACKENDS,
    data: Data | None = None,
) -> Tag:
    """A TAG from a JSON or YAML file, or from the values that one holds.

    A file may name a template instead: `{"template": "hierarchical", "options": {"regions": ["eu", "na"]}}`.

    The other arguments are those of `check`.

    Raises:
        TagError: it cannot be read, or it breaks invariants; `.findings` lists every place at once.
    """
    content = source if isinstance(source, Mapping) else load.load(source)
    place = "" if isinstance(source, Mapping) else str(source)
    if isinstance(content, Mapping) and "template" in content:
        from flame.tag.templates import named  # templates are made with `build`, which checks

        tag, wrong = named(content, place), list[Finding]()
    else:
        tag, wrong = door.parse(content)
    actions = {**protocol.BUILT_IN, **protocols}
    broken = frozenset(finding.path for finding in wrong)
    found = wrong + _findings(Facts(tag, code, tags_of, actions, backends, data, broken))
    if found:
        raise TagError(found, place)
    return tag


def _findings(facts: Facts) -> list[Finding]:
    if "" in facts.broken:
        return []
    return [
        Finding(*problem, invariant=rule.__name__.replace("_", "-")) for rule in INVARIANTS for problem in rule(facts)
    ]
