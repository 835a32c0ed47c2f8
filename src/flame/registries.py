"""The path under which programs know `registry_provider`."""

from flame.common.provider import Provider

registry_provider = Provider("registry")

__all__ = ["registry_provider"]
