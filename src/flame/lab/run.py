"""`flame.run`: a federation in a few lines, or a directory's job, and its result."""

from __future__ import annotations
