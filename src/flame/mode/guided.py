"""The trainer whose aggregator chooses by what there is to be learned from it (Oort).

F. Lai, X. Zhu, H. V. Madhyastha, M. Chowdhury: Oort: Efficient Federated Learning via Guided Participant Selection.
OSDI 2021.
"""

from __future__ import annotations

import math
from typing import Any

from flame.channel.channel import Channel
from flame.common.custom_abcmeta import abstract_attribute
from flame.errors import RunError
from flame.mode import training
from flame.selector.oort import STAT_UTILITY, Oort


class Trainer(training.Trainer):
    """A worker that tells how much its samples lose: call `oort_loss` for every batch of an epoch.

    The program sets, besides what every trainer does, `loss_fn`: a class of torch's that takes `reduction`, such as
    `torch.nn.CrossEntropyLoss`. In `train` it calls `reset_stat_utility()`, then `oort_loss(...)` instead of the loss
    function for every batch, and `normalize_stat_utility(epoch)` at the end of every epoch, counted from 1.
    """

    @abstract_attribute
    def loss_fn(self) -> Any:
        """A class of loss functions, such as `torch.nn.CrossEntropyLoss`."""

    def internal_init(self) -> None:
        """Join the channels and make what the config asks for."""
        super().internal_init()
        self.reset_stat_utility()

    def reset_stat_utility(self) -> None:
        """Forget what was lost: a round begins."""
        self._squares, self._counted = 0.0, 0
        self._stat_utility: float | None = None

    def oort_loss(self, output: Any, target: Any, epoch: int, batch_idx: int, **loss_kwargs: Any) -> Any:
        """A batch's loss; in the first epoch the losses of its samples are added up.

        Args:
            output: what the model says, of shape (samples, …).
            target: what it should say.
            epoch: counted from 1.
            batch_idx: the number of the batch; not looked at: all batches count.
            loss_kwargs: for `loss_fn`; `reduction` is "mean" or "sum", "mean" if it is left out.

        Returns:
            The loss, to call `backward` on.
        """
        reduction = loss_kwargs.pop("reduction", "mean")
        if epoch != 1:
            return self.loss_fn(reduction=reduction, **loss_kwargs)(output, target)
        losses = self.loss_fn(reduction="none", **loss_kwargs)(output, target)
        each = losses.detach().reshape(len(target), -1).mean(1)
        self._squares += float((each**2).sum())
        self._counted += len(target)
        return losses.sum() if reduction == "sum" else losses.mean()

    def normalize_stat_utility(self, epoch: int) -> None:
        """After the first epoch: the utility is n · sqrt(mean of the squared losses), of n samples of this worker."""
        if epoch == 1 and self._counted:
            loader = getattr(self, "train_loader", None)
            size = len(getattr(loader, "dataset", ())) or self._counted
            self._stat_utility = size * math.sqrt(self._squares / self._counted)

    def _chosen_by(self, channel: Channel) -> dict[str, Any]:
        """The utility, whatever this worker's own selector is.

        Raises:
            RunError: the program has not added it up.
        """
        if self._counted and self._stat_utility is None:
            self.normalize_stat_utility(1)
        if self._stat_utility is None and self._samples:
            raise RunError(
                f"{self.config.name or self.config.task_id} has no statistical utility in round {self._round}:"
                " let train() call oort_loss(output, target, epoch, batch_idx) for every batch, with epochs from 1"
            )
        utility = self._stat_utility or 0.0
        return {Oort.name: {STAT_UTILITY: utility if math.isfinite(utility) else 0.0}}
