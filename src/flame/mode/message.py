"""The path under which programs know `MessageType`."""

from flame.wire.keys import MessageType

__all__ = ["MessageType"]
