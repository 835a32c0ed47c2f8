"""The path under which programs know `optimizer_provider`."""

from flame.common.provider import Provider

optimizer_provider = Provider("optimizer")

__all__ = ["optimizer_provider"]
