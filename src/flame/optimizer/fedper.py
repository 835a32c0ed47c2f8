"""FedPer: all share the base of a model, and everybody has layers of its own on top.

M. G. Arivazhagan, V. Aggarwal, A. K. Singh, S. Choudhary: Federated Learning with Personalization Layers. 2019.
https://arxiv.org/abs/1912.00818

Personal tensors never leave a trainer. At the server they stay as its program made them.
"""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

from flame.common.settings import refuse_others
from flame.errors import ConfigError, RunError
from flame.optimizer.apart import Apart
from flame.optimizer.halves import BySamples, Plain
from flame.weights.layout import Layout


class FedPer(BySamples):
    """FedPer; `personal` names the tensors that stay: a pattern such as `head.*`, or a list of patterns."""

    name = "fedper"

    def __init__(self, personal: Any = None, **others: Any) -> None:
        refuse_others("optimizer", self.name, others, ("personal",))
        self._patterns = [personal] if isinstance(personal, str) else personal
        if not isinstance(self._patterns, list) or not self._patterns or not all(map(_is_text, self._patterns)):
            raise ConfigError("optimizer.kwargs.personal", f"is {personal!r}", "give patterns of names, as in head.*")
        self.step = Plain()
        self.regularizer = Apart(self._chosen)

    def _chosen(self, layout: Layout) -> Collection[str]:
        names = [entry.name for entry in layout.entries]
        for pattern in self._patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise RunError(f"fedper: no tensor is called {pattern!r}; there are: {', '.join(names[:20])}")
        found = {name for name in names if any(fnmatchcase(name, pattern) for pattern in self._patterns)}
        if len(found) == len(names):
            raise RunError(f"fedper: {', '.join(self._patterns)} leaves nothing of the model to learn together")
        return found


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
