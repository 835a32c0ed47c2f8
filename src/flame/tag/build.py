"""A TAG in a few lines of Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flame.errors import TagError
from flame.tag.check import check
from flame.tag.schema import DEFAULT_GROUP, Channel, Compression, GroupBy, Role, Tag


class Builder:
    """Collects roles and channels; `done()` gives the checked TAG."""

    def __init__(self, name: str, description: str = "") -> None:
        self._name, self._description = name, description
        self._roles: list[Role] = []
        self._channels: list[Channel] = []

    def role(
        self,
        name: str,
        *associations: Mapping[str, str],
        data_consumer: bool = False,
        replica: int = 1,
        description: str = "",
    ) -> Builder:
        """Adds a role.

        Args:
            name: its name.
            associations: `{channel: group}`, one for each kind of worker. Without any there is one worker
                kind for each
                group of the role's channels; channels with one group only are in all of them.
            data_consumer: whether there is one worker per dataset.
            replica: workers per association.
            description: for people.
        """
        self._roles.append(Role(name, description, data_consumer, replica, tuple(dict(one) for one in associations)))
        return self

    def channel(
        self,
        name: str,
        functions: Mapping[str, str | Iterable[str]],
        *,
        groups: Iterable[str] = (DEFAULT_GROUP,),
        backend: str = "",
        description: str = "",
        compression: str | Compression | None = None,
    ) -> Builder:
        """Adds a channel.

        Args:
            name: its name.
            functions: for each role (one role: a self-loop) its function tags, as a list or separated by
                blanks.
            groups: the groups that exist on it.
            backend: its transport; the job's when empty.
            description: for people.
            compression: how weights that are sent on it are packed; not at all when None.
        """
        tags = {role: tuple(some.split() if isinstance(some, str) else some) for role, some in functions.items()}
        choice = Compression(compression) if isinstance(compression, str) else compression
        pair = (*tags, *tags, "", "")
        self._channels.append(
            Channel(
                name,
                (pair[0], pair[1]) if len(tags) < 3 else ("", ""),
                GroupBy("tag", tuple(groups)),
                tags,
                description,
                backend,
                compression=choice,
            )
        )
        return self

    def done(self) -> Tag:
        """The TAG.

        Raises:
            TagError: it breaks invariants.
        """
        roles = tuple(self._associated(role) for role in self._roles)
        tag = Tag(self._name, roles, tuple(self._channels), self._description)
        if found := check(tag):
            raise TagError(found)
        return tag

    def _associated(self, role: Role) -> Role:
        mine = [channel for channel in self._channels if role.name in channel.pair]
        if role.group_association or not mine:
            return role
        single = {channel.name: channel.groups[0] for channel in mine if len(channel.groups) == 1}
        several = [channel for channel in mine if len(channel.groups) > 1]
        if not several:
            rows: tuple[dict[str, str], ...] = (single,)
        else:
            # Channels with the same groups go together: a worker is in the same group on each of them.
            every = dict.fromkeys(group for channel in several for group in channel.groups)
            rows = tuple(
                {
                    channel.name: group
                    for channel in mine
                    for group in (single.get(channel.name, wanted),)
                    if group in channel.groups
                }
                for wanted in every
            )
        return Role(role.name, role.description, role.is_data_consumer, role.replica, rows)


def build(name: str, description: str = "") -> Builder:
    """Starts a TAG.

    ```python
    tag = (
        build("two tiers")
        .role("trainer", data_consumer=True)
        .role("aggregator")
        .channel("param-channel", {"trainer": "fetch upload", "aggregator": "distribute aggregate"})
        .done()
    )
    ```
    """
    return Builder(name, description)
