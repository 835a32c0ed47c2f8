"""The path under which programs know `ChannelManager`."""

from flame.channel.manager import ChannelManager

__all__ = ["ChannelManager"]
