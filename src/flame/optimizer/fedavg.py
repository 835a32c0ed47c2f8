"""FedAvg: the mean of the updates, weighted by their samples, is added to the model.

H. B. McMahan, E. Moore, D. Ramage, S. Hampson, B. Agüera y Arcas: Communication-Efficient Learning of Deep
Networks from Decentralized Data. AISTATS 2017. https://arxiv.org/abs/1602.05629
"""

from __future__ import annotations

from typing import Any

from flame.common.settings import refuse_others
from flame.optimizer.asked import Asked
from flame.optimizer.halves import BySamples, Plain, Silent


class FedAvg(BySamples, Asked):
    """Plain averaging; it has no settings and no state."""

    name = "fedavg"

    def __init__(self, **others: Any) -> None:
        refuse_others("optimizer", self.name, others)
        self.step = Plain()
        self.regularizer = Silent()
