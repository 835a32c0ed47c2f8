"""FedBN: batch normalisations stay with those whose data they fit; all else is shared.

X. Li, M. Jiang, X. Zhang, M. Kamp, Q. Dou: FedBN: Federated Learning on Non-IID Features via Local Batch Normalization.
ICLR 2021. https://arxiv.org/abs/2102.07623
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flame.common.settings import refuse_others
from flame.errors import RunError
from flame.optimizer.apart import Apart
from flame.optimizer.halves import BySamples, Plain
from flame.weights.layout import Layout

MARK = "running_mean"


class FedBN(BySamples):
    """FedBN; it has no settings. A layer that keeps a running mean is a batch normalisation."""

    name = "fedbn"

    def __init__(self, **others: Any) -> None:
        refuse_others("optimizer", self.name, others)
        self.step = Plain()
        self.regularizer = Apart(_normalisations)


def _normalisations(layout: Layout) -> Collection[str]:
    names = [entry.name for entry in layout.entries]
    layers = {_layer(name) for name in names if name.rpartition(".")[2] == MARK}
    if not layers:
        raise RunError("fedbn: the model has no batch normalisation with running statistics")
    return {name for name in names if _layer(name) in layers}


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
