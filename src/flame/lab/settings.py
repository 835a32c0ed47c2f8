"""Nested settings as flat text, for tables and for telling runs apart."""

from __future__ import annotations

import json


def flat(settings: object, path: str = "") -> dict[str, str]:
    """Nested settings as `a.b.c` → text, in their order; lists and values as JSON, strings as they are."""
    if not isinstance(settings, dict):
        return {path: settings if isinstance(settings, str) else json.dumps(settings, default=str)} if path else {}
    out: dict[str, str] = {}
    for key, value in settings.items():
        out |= flat(value, f"{path}.{key}" if path else str(key))
    return out
