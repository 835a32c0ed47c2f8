"""FedDyn: a regulariser that every client adapts, so that what is best for each becomes what is best for all.

D. A. E. Acar, Y. Zhao, R. Matas, M. Mattina, P. Whatmough, V. Saligrama: Federated Learning Based on Dynamic
Regularization. ICLR 2021. https://arxiv.org/abs/2111.04263

A client that is sent x minimises its loss + (alpha/2)*||w||^2 + alpha*<w, g - x>, and then g = g + (w - x), from g = 0.
The server: a = the mean of what the clients have come to, h = h + (1/m) * the sum of (w - x), over m clients in all.
The model is a, as in the authors' evaluation; a + h is what is sent out next. (The paper's gradients are -alpha times
g, and its h is -alpha times this one.)

Where the roles exchange sizes (`flame.mode.horizontal.feddyn`), a client's alpha is divided by its samples over the
mean of all clients'.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from flame.common.settings import check_number, refuse_others
from flame.errors import ConfigError
from flame.optimizer import Said, Trained
from flame.optimizer.crowd import Crowd, Evenly, part
from flame.optimizer.halves import Floats
from flame.optimizer.kept import Kept
from flame.optimizer.pull import Pull, combined
from flame.weights.adapters import Adapter
from flame.weights.layout import Layout, Weights


class Dynamic(Crowd):
    """The server half: h, in float64."""

    def __init__(self) -> None:
        super().__init__("feddyn")
        self._kept = Kept("h")

    def open(self, layout: Layout) -> None:
        """Make h for a layout. Raises ConfigError if it was kept for another size."""
        self._kept.open(layout)

    def tell(self, sent: Weights, averaged: Collection[str]) -> Said:
        """Sizes, where they are known; what is sent is the model plus h."""
        self._kept.add_to(sent, "h", but=averaged)
        return super().tell(sent, averaged)

    def block(self, segment: int, where: slice, base: Floats, mean: Floats) -> Floats:
        """Base plus mean; h grows by the share of those who were heard times mean."""
        h = self._kept.part("h", segment, where)
        np.add(base, mean, out=base)
        np.add(h, np.multiply(mean, self.heard / self.there, out=mean), out=h)
        return base

    def state(self) -> dict[str, Floats]:
        """h, over all floating-point elements; {} before the first round."""
        return self._kept.state()

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from h, which is copied. Raises ConfigError for another state."""
        self._kept.restore(state)


class Regularised(Pull):
    """The client half: (alpha/2)*||w||^2 + alpha*<w, g - x>; keeps g in the model's dtypes."""

    def __init__(self, alpha: float) -> None:
        super().__init__("feddyn")
        self._alpha = alpha
        self.alpha = alpha
        self._own: Weights | None = None

    def begin(self, said: Said, sent: Weights, adapter: Adapter) -> Weights:
        """The term of the round, with the round's alpha."""
        self.alpha = self._alpha / part(said, self.samples, "feddyn")
        self.aim(adapter, square=self.alpha, linear=combined(sent.layout, (self.alpha, self._own), (-self.alpha, sent)))
        return sent

    def finish(self, delta: Weights, trained: Trained, adapter: Adapter) -> Said:
        """Renew g; says nothing. Raises RunError if the program has not asked for the term."""
        self.used()
        self._own = combined(delta.layout, (1.0, self._own), (1.0, delta))
        return {}

    def state(self) -> Mapping[str, Any]:
        """What it keeps, `own`: g; {} before the first round."""
        return {} if self._own is None else {"own": self._own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._own = state.get("own")


class FedDyn(Evenly):
    """FedDyn; `alpha` says how strongly clients are regularised."""

    name = "feddyn"

    def __init__(self, alpha: Any = None, **others: Any) -> None:
        refuse_others("optimizer", self.name, others, ("alpha",))
        if alpha is None:
            raise ConfigError("optimizer.kwargs.alpha", "feddyn needs it", "the paper tries 0.001, 0.01 and 0.1")
        check_number("optimizer", "alpha", alpha, least=0, beyond=True)
        self.step = Dynamic()
        self.regularizer = Regularised(alpha)
