"""Enumerations of the workflow engine."""

from __future__ import annotations

from enum import Flag, auto


class LoopIndicator(Flag):
    """Which ends of a loop a tasklet is: none, its begin, its end, or both (a loop of one)."""

    NONE = 0
    BEGIN = auto()
    END = auto()
