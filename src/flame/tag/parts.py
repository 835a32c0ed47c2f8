"""Which groups of a TAG belong to one federation: a TAG may hold several that never meet."""

from __future__ import annotations

from collections.abc import Mapping

from flame.tag.schema import Role, Tag

Place = tuple[str, str]
"""A channel and a group of it."""


def parts(tag: Tag) -> dict[Place, int]:
    """The number, from 0, of the federation that each place with workers belongs to."""
    leads: dict[Place, Place] = {}

    def root(place: Place) -> Place:
        while (above := leads.setdefault(place, place)) != place:
            place = above
        return place

    for role in tag.roles:
        for association in role.group_association or ({},):
            first, *others = places(tag, role, association) or (None,)
            for other in others:
                if first is not None and other is not None:
                    leads[root(other)] = root(first)
            if first is not None:
                root(first)
    numbers: dict[Place, int] = {}
    return {place: numbers.setdefault(root(place), len(numbers)) for place in list(leads)}


def places(tag: Tag, role: Role, association: Mapping[str, str]) -> list[Place]:
    """The group on each of its channels of a role's worker with that association."""
    mine = [channel for channel in tag.channels if role.name in channel.pair]
    return [(channel.name, channel.group_by.groupable_value(association.get(channel.name))) for channel in mine]
