"""The path under which programs know `privacy_provider`."""

from flame.common.provider import Provider

privacy_provider = Provider("privacy")

__all__ = ["privacy_provider"]
