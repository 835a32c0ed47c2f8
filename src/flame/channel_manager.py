"""The path under which programs know `ChannelManager`."""

from __future__ import annotations

import logging
from types import TracebackType

from flame.channel.manager import ChannelManager

__all__ = ["ChannelManager", "custom_excepthook"]

logger = logging.getLogger(__name__)


def custom_excepthook(
    exc_type: type[BaseException], exc_value: BaseException, exc_traceback: TracebackType | None
) -> None:
    """Log what nobody has caught: for a program that sets `sys.excepthook` to it. Flame itself replaces no hook."""
    logger.critical("Uncaught exception", exc_info=(exc_type, exc_value, exc_traceback))
