"""The log lines of a program that is started by itself and has set up no logging of its own, as upstream's are."""

from __future__ import annotations

import logging
import os
import sys

from flame.errors import ConfigError

FORMAT = "%(asctime)s | %(filename)s:%(lineno)d | %(levelname)s | %(threadName)s | %(funcName)s | %(message)s"


def set_up_logging() -> None:
    """Write from the level that the environment's `LOG_LEVEL` names, INFO without one; nothing if handlers are there.

    Warnings and what is worse go to standard error, the rest to standard output, in six fields.

    Raises:
        ConfigError: there is no such level.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    name = os.environ.get("LOG_LEVEL", "") or "INFO"
    level = logging.getLevelNamesMapping().get(name.upper())
    if level is None:
        known = ", ".join(logging.getLevelNamesMapping())
        raise ConfigError("LOG_LEVEL", f"is {name!r}", f"choose one of {known}, or leave it out")
    usual, grave = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    usual.addFilter(lambda record: record.levelno < logging.WARNING)
    grave.setLevel(logging.WARNING)
    for handler in (usual, grave):
        handler.setFormatter(logging.Formatter(FORMAT))
        root.addHandler(handler)
    root.setLevel(level)
