"""How programs written for Cisco's Flame read parts of a config, and records that nothing fills any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from flame.config.read import BrokerRow, channel_of, convert, func_tag_map, worker_settings
from flame.config.records import GROUPBY_DEFAULT_GROUP, Hyperparameters
from flame.tag import Channel


class Groups(Struct, frozen=True):
    """The groups of a worker on the two channels of upstream's first examples; see `Config.group_association`."""

    param_channel: str = GROUPBY_DEFAULT_GROUP
    global_channel: str = GROUPBY_DEFAULT_GROUP


class FuncTags(Struct, frozen=True):
    """The function tags of a channel by role; see `Channel.func_tags`."""

    tags: Mapping[str, Sequence[str]] = {}


class ChannelConfigs(Struct, frozen=True):
    """A channel's backend and its brokers by sort, as older files have them; see `Channel.backend`."""

    backend: str = ""
    brokers: Mapping[str, str] = {}


def transform_config(raw_config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json holds, checked, under the attribute names of `Config`.

    Raises:
        ConfigError: a required key is missing, or a value does not fit; the path says where.
    """
    return worker_settings(raw_config)


def transform_channel(raw_channel_config: Mapping[str, Any]) -> Channel:
    """One entry of `channels`. Raises ConfigError."""
    return channel_of(raw_channel_config)


def transform_channels(
    role: str, raw_channels_config: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Channel], dict[str, str]]:
    """The channels by name, and the name of the channel of each function tag of a role. Raises ConfigError."""
    channels = {channel.name: channel for channel in (channel_of(raw, role) for raw in raw_channels_config)}
    return channels, func_tag_map(channels, role)


def transform_hyperparameters(raw_hyperparameters_config: Mapping[str, Any]) -> Hyperparameters:
    """The hyperparameters, over the defaults. Raises ConfigError."""
    return Hyperparameters(**raw_hyperparameters_config)


def transform_brokers(raw_brokers_config: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The host of each sort of broker. Raises ConfigError."""
    return {row.sort: row.host for row in convert(list(raw_brokers_config), list[BrokerRow], path="brokers")}
