"""Settings of a TAG's channels from a command line: `channels.param-channel.compression=int8`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flame.config.read import compression_from
from flame.errors import ConfigError
from flame.tag import Channel, Tag
from flame.tag.finding import hint

_FIRST = "channels."
_KEY = "compression"


def set_channels(tag: Tag, changes: Mapping[str, str]) -> tuple[Tag, dict[str, str]]:
    """The TAG with what is said of its channels, and the changes that are of something else.

    Raises:
        ConfigError: no such channel or setting, or a value that it cannot have; it names those that there are.
    """
    channels = {channel.name: channel for channel in tag.channels}
    for path, text in changes.items():
        if path.startswith(_FIRST):
            channel, steps = _place(channels, path)
            channels[channel.name] = _changed(channel, path, steps, _value(text))
    for path in (path for path in changes if path.startswith(_FIRST)):
        choice = _place(channels, path)[0].compression
        if choice is not None:
            compression_from(choice.to_plain(), f"--set {path}")
    others = {path: text for path, text in changes.items() if not path.startswith(_FIRST)}
    return replace(tag, channels=tuple(channels.values())), others


def _place(channels: Mapping[str, Channel], path: str) -> tuple[Channel, list[str]]:
    """The channel that a path is about, and the rest of the path; a channel's name may have dots in it."""
    rest = path.removeprefix(_FIRST)
    name, found, below = rest.partition(f".{_KEY}")
    steps = below.split(".")[1:]
    wrong = below and not below.startswith(".")
    if not found or wrong or (steps and steps[0] not in ("sort", "kwargs")) or (steps[:1] == ["sort"] and steps[1:]):
        raise ConfigError(f"--set {path}", "no such setting", f"there is channels.NAME.{_KEY}")
    if name not in channels:
        raise ConfigError(f"--set {path}", f"no channel is named {name!r}", hint(name, channels))
    return channels[name], steps


def _changed(channel: Channel, path: str, steps: list[str], value: Any) -> Channel:
    if not steps:
        return replace(channel, compression=compression_from(value, f"--set {path}", tried=False))
    before = channel.compression
    content: dict[str, Any] = {
        "sort": "" if before is None else before.sort,
        "kwargs": dict(before.kwargs) if before else {},
    }
    if len(steps) > 1:
        content["kwargs"][".".join(steps[1:])] = value
    else:
        content[steps[0]] = value
    return replace(channel, compression=compression_from(content, f"--set {path}", tried=False))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
