"""The path under which programs know `backend_provider`."""

from flame.common.provider import Provider

backend_provider = Provider("backend")

__all__ = ["backend_provider"]
