"""The path under which programs know `datasampler_provider`."""

from flame.common.provider import Provider

datasampler_provider = Provider("datasampler")

__all__ = ["datasampler_provider"]
