"""FedGFT: plain averaging, and a term in the trainer's loss against bias between two groups over all clients.

G. Wang, A. Payani, M. Lee, R. Kompella: Mitigating Group Bias in Federated Learning: Beyond Local Fairness. TMLR 2024.
https://arxiv.org/abs/2305.09931

A batch of n samples with sums a and c (see `Bias`) adds coef * gamma * (a/B - c/D)/n, where B and D are those of all
clients, and coef is the bias of all clients (`reg` "l2") or its sign ("id"). For calibration the term is negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flame.common.settings import check_number, refuse_others
from flame.errors import ConfigError
from flame.optimizer.bias import Bias
from flame.optimizer.halves import Alone, BySamples, Plain

FAIR = ("SP", "EOP", "CAL")


class Unbiased(Alone):
    """The client half; for torch models whose output are logarithms of probabilities, (batch, classes).

    Attributes:
        bias: how biased the model that was received is on this client's samples; its `global_*` are of all clients.
    """

    def __init__(self, fair: str, gamma: Any, reg: str) -> None:
        self._gamma, self._reg = gamma, reg
        self.bias = Bias(fair, local=True)
        self._all = Bias(fair)

    def get_term(self, *, output: Any, target: Any, group: Any, **others: Any) -> Any:
        """The term for one batch, a scalar tensor; 0.0 where nothing is to be fair.

        Args:
            output: what the model gives, (batch, classes), logarithms of probabilities.
            target: 0 or 1, (batch,).
            group: 0 or 1, (batch,).
            others: ignored.
        """
        if not self.bias.fair:
            return 0.0
        everywhere = self._all
        a, _, c, _ = _sums(self.bias.fair, output, target, group)
        strength = abs(2 * everywhere.val) if self._gamma == "auto" else self._gamma
        strength *= everywhere.sign if self._reg == "id" else everywhere.val
        term = strength * (a / everywhere.b - c / everywhere.d) / len(output)
        return -term if self.bias.fair == "CAL" else term

    def update_local_bias_params(self, model: Any, loader: Iterable[Any]) -> None:
        """Measure how biased a torch model is on batches of (data, target, group)."""
        if not self.bias.fair:
            return
        total, samples, training = [0.0] * 4, 0, model.training
        model.eval()
        for data, target, group in loader:
            output = model(data).detach()
            sums = _sums(self.bias.fair, output, target.to(output.device), group.to(output.device))
            total = [before + float(more) for before, more in zip(total, sums, strict=True)]
            samples += len(output)
        model.train(training)
        self.bias.set(*(part / max(1, samples) for part in total))

    def update_bias(self, said: Any) -> None:
        """Take over how biased the model is over all clients. Raises RunError if that is not said."""
        if not self.bias.fair:
            return
        everywhere = said if isinstance(said, Bias) else Bias.from_plain(said, self.bias.fair)
        own = self.bias
        own.global_a, own.global_b, own.global_c, own.global_d = everywhere.a, everywhere.b, everywhere.c, everywhere.d
        own.set(own.a, own.b, own.c, own.d)
        self._all = everywhere

    def get_local_bias(self) -> float:
        """How biased the model is on this client's samples."""
        return self.bias.local_val


class FedGFT(BySamples):
    """FedGFT; its roles are those of `flame.mode.horizontal.fedgft`.

    Args:
        fair: "SP", "EOP" or "CAL"; nothing for plain averaging.
        gamma: how strongly the bias is fought; "auto" for twice its size.
        reg: "l2" or "id".

    Attributes:
        bias: how biased the model that was sent out is over all clients.
    """

    name = "fedgft"
    tags = frozenset({"fetchBias", "aggregateBias"})

    def __init__(self, fair: Any = None, gamma: Any = 1.0, reg: Any = "l2", **others: Any) -> None:
        refuse_others("optimizer", self.name, others, ("fair", "gamma", "reg"))
        if fair and fair not in FAIR:
            raise ConfigError(
                "optimizer.kwargs.fair", f"is {fair!r}", f"choose one of {', '.join(FAIR)}, or leave it out"
            )
        if reg not in ("l2", "id"):
            raise ConfigError("optimizer.kwargs.reg", f"is {reg!r}", "choose l2 or id")
        if gamma != "auto":
            check_number("optimizer", "gamma", gamma, least=0)
        self.bias = Bias(fair or "")
        self.step = Plain()
        self.regularizer = Unbiased(fair or "", gamma, reg)

    def update_bias(self, dataset_sizes: Mapping[str, int], local_biases: Mapping[str, Any]) -> None:
        """The mean of the clients' sums by samples, and the difference of those.

        Args:
            dataset_sizes: the samples of each end.
            local_biases: what each has measured: a `Bias`, or one as plain values.

        Raises:
            RunError: a client's is no bias.
        """
        total = sum(dataset_sizes.values())
        if not self.bias.fair or not total:
            return
        means = dict.fromkeys("abcd", 0.0)
        for end, said in local_biases.items():
            bias = said if isinstance(said, Bias) else Bias.from_plain(said, self.bias.fair)
            for name in means:
                means[name] += dataset_sizes[end] / total * getattr(bias, name)
        self.bias.set(**means)

    def get_bias(self) -> float:
        """How biased the model that was sent out is over all clients."""
        return self.bias.val


def _sums(fair: str, output: Any, target: Any, group: Any) -> tuple[Any, Any, Any, Any]:
    """a, b, c and d of a batch, not divided by anything."""
    p = output.exp()[:, 1]
    positive = (target.reshape(-1) == 1).to(p.dtype)
    sides = [(group.reshape(-1) == number).to(p.dtype) for number in (0, 1)]
    if fair == "SP":
        (a, b), (c, d) = (((p * side).sum(), side.sum()) for side in sides)
    elif fair == "EOP":
        (a, b), (c, d) = (((p * side * positive).sum(), (side * positive).sum()) for side in sides)
    else:
        (a, b), (c, d) = (((p * side * positive).sum(), (p * side).sum()) for side in sides)
    return a, b, c, d
