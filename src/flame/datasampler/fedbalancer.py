"""Samples that still teach something are trained on, and no more of them than fit into a deadline.

J. Shin, Y. Li, Y. Liu, S.-J. Lee: FedBalancer: Data and Pace Control for Efficient Federated Learning on Heterogeneous
Clients. MobiSys 2022.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flame.common.settings import check_number
from flame.datasampler import Ends
from flame.errors import ConfigError, RunError

SETTINGS = ("w", "lss", "dss", "p", "noise_factor", "epochs", "batchSize")
AT_ONCE = 256
"""The losses of so many samples are computed at once."""
RECENT_BATCHES, RECENT_ROUNDS = 100, 5
LARGEST = math.nextafter(math.inf, 0)
HIGH = 80
"""A trainer's high loss is this percentile of its samples' losses."""


class FedBalancer:
    """Both halves; every setting is an attribute too.

    Args:
        w: how many rounds the benefit is summed over before the two ratios are changed.
        lss: how much the ratio of the loss threshold, 0 at first, is changed.
        dss: how much the ratio of the deadline, 1 at first, is changed.
        p: the share of a round's samples that have a loss of the threshold or more.
        noise_factor: the standard deviation of what is added to the losses that a trainer tells.
        epochs: the hyperparameter.
        batchSize: the hyperparameter.

    Raises:
        ConfigError: a value that a setting cannot have.
    """

    def __init__(
        self,
        *,
        w: Any = 20,
        lss: Any = 0.05,
        dss: Any = 0.05,
        p: Any = 1.0,
        noise_factor: Any = 0.0,
        epochs: Any = 1,
        batchSize: Any = 16,
        **others: Any,
    ) -> None:
        for name, value in (("w", w), ("epochs", epochs), ("batchSize", batchSize)):
            if type(value) is not int or value < 1:
                raise ConfigError(f"datasampler.kwargs.{name}", f"is {value!r}", "give a whole number, 1 or more")
        for name, value in (("lss", lss), ("dss", dss), ("noise_factor", noise_factor)):
            check_number("datasampler", name, value, least=0)
        check_number("datasampler", "p", p, least=0, below=math.nextafter(1.0, 2.0))
        self.w, self.lss, self.dss, self.p, self.noise_factor = w, lss, dss, p, noise_factor
        self.epochs, self.batchSize = epochs, batchSize
        self.trainer_data_sampler = TrainerHalf(p, noise_factor, epochs, batchSize)
        self.aggregator_data_sampler = AggregatorHalf(w, lss, dss, epochs)


class Indexed:
    """A dataset whose items know their place: (data, target, index)."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        data, target = self.dataset[index]
        return data, target, index


class TrainerHalf:
    """Knows what each sample lost when it was last looked at.

    Attributes:
        generator: draws samples and noise.
        batch_s: how long a batch takes; None to go by what the program measures.
        stat_utility: the statistical utility (Oort) of the samples at or above the threshold.
    """

    def __init__(self, p: float, noise_factor: float, epochs: int, batch_size: int) -> None:
        self._p, self._noise, self._epochs, self._batch = p, noise_factor, epochs, batch_size
        self.generator = random.Random(0)
        self.batch_s: float | None = None
        self.stat_utility = 0.0
        self._threshold, self._deadline = 0.0, math.inf
        self._losses: dict[int, float] = {}
        self._chosen: Sequence[int] = ()
        self._durations: deque[float] = deque(maxlen=RECENT_BATCHES)
        self._over = 0

    def state(self) -> dict[str, Any]:
        """What each sample lost, what was told, and how long batches took."""
        return {
            "losses": list(self._losses.items()),
            "told": (self._threshold, self._deadline),
            "durations": list(self._durations),
            "generator": list(self.generator.getstate()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._losses = dict(state["losses"])
        self._threshold, self._deadline = state["told"]
        self._durations.extend(state["durations"])
        version, words, gauss = state["generator"]
        self.generator.setstate((version, tuple(words), gauss))

    def load_dataset(self, dataset: Any) -> Indexed:
        """The dataset with every item's index: of (data, target) it makes (data, target, index)."""
        return Indexed(dataset)

    def sample(
        self, dataset: Indexed, *, loss_fn: Any = None, model: Any = None, device: Any = "cpu", **others: Any
    ) -> Any:
        """The samples of this round, as a `torch.utils.data.Subset`.

        Args:
            dataset: what `load_dataset` has given.
            loss_fn: called as `loss_fn(output, target, reduction="none")`; looks at every sample the first time.
            model: a torch module.
            device: where it is.
            others: not looked at.
        """
        from torch.utils.data import Subset

        if not self._losses:
            self._look(dataset, loss_fn, model, device)
        size = self._trainable(len(dataset))
        self._chosen = range(len(dataset)) if size >= len(dataset) else self._choose(size)
        return Subset(dataset, self._chosen)  # type: ignore[arg-type]  # it asks for length and items only

    def fb_loss(self, loss_fn: Any, output: Any, target: Any, epoch: int, indices: Any) -> Any:
        """A batch's mean loss; in the first epoch it is noted what each sample has lost.

        Args:
            loss_fn: called as `loss_fn(output, target, reduction="none")`.
            output: what the model says, of shape (samples, …).
            target: what it should say.
            epoch: counted from 1.
            indices: which samples these are, as the dataset gives them.
        """
        if epoch != 1:
            return loss_fn(output, target)
        losses = loss_fn(output, target, reduction="none")
        for index, loss in zip(indices.tolist(), _each(losses), strict=True):
            self._losses[index] = loss
            if loss >= self._threshold:
                self._over += 1
                self.stat_utility += loss**2
        return losses.mean()

    def reset_stat_utility(self) -> None:
        """A round begins."""
        self.stat_utility, self._over = 0.0, 0

    def normalize_stat_utility(self, epoch: int) -> None:
        """After the first epoch: n · sqrt(mean of the squared losses), of the n samples at or above the threshold."""
        if epoch == 1 and self._over:
            self.stat_utility = self._over * math.sqrt(self.stat_utility / self._over)

    def update_train_duration_per_batch_list(self, seconds: float) -> None:
        """A batch took so long; not looked at where `batch_s` says it."""
        self._durations.append(float(seconds))

    def handle_metadata_from_aggregator(self, metadata: Mapping[str, Any]) -> None:
        """Take the loss threshold, and the deadline in seconds.

        Raises:
            RunError: one of them is not a number.
        """
        self._threshold = _told(metadata, "loss_threshold", "the aggregator")
        self._deadline = _told(metadata, "deadline", "the aggregator", most=math.inf)

    def get_metadata(self) -> dict[str, float]:
        """How small and large this trainer's losses are, what was chosen, and how long an epoch takes; {} at first."""
        if not self._losses:
            return {}
        losses = np.fromiter(self._losses.values(), float)
        size = len(self._chosen)
        return {
            "loss_low": float(losses.min()) + self._noise * self.generator.gauss(0.0, 1.0),
            "loss_high": float(np.percentile(losses, HIGH)) + self._noise * self.generator.gauss(0.0, 1.0),
            "selected_loss_sum": math.fsum(self._losses[index] for index in self._chosen),
            "selected_len": float(size),
            "epoch_train_duration": math.ceil(size / self._batch) * self._mean_batch_s(),
        }

    def _look(self, dataset: Indexed, loss_fn: Any, model: Any, device: Any) -> None:
        import torch
        from torch.utils.data import DataLoader

        training = model.training
        model.eval()
        with torch.no_grad():
            for data, target, indices in DataLoader(dataset, batch_size=AT_ONCE):  # type: ignore[arg-type]
                losses = loss_fn(model(data.to(device)), target.to(device), reduction="none")
                self._losses.update(zip(indices.tolist(), _each(losses), strict=True))
        model.train(training)

    def _mean_batch_s(self) -> float:
        if self.batch_s is not None:
            return self.batch_s
        return math.fsum(self._durations) / len(self._durations) if self._durations else 0.0

    def _trainable(self, there: int) -> int:
        """How many samples fit into the deadline, by all epochs."""
        one_each = self._epochs * self._mean_batch_s()
        if not one_each or math.isinf(self._deadline):
            return there
        return max(1, min(there, int((self._deadline / one_each - 1) * self._batch - 1)))

    def _choose(self, fitting: int) -> list[int]:
        """Samples with much loss and with little, in their proportion, as far as there are."""
        over = [index for index, loss in self._losses.items() if loss >= self._threshold]
        under = [index for index, loss in self._losses.items() if loss < self._threshold]
        size = max(fitting, len(over))
        of_under = min(len(under), max(int(size * (1 - self._p)), size - len(over)))
        picked = self.generator.sample(under, of_under) + self.generator.sample(over, min(len(over), size - of_under))
        return sorted(picked)


class AggregatorHalf:
    """Moves the threshold and the deadline as the benefit of rounds rises or falls.

    Attributes:
        threshold_ratio: where between the trainers' low and high losses the threshold is: 0 to 1.
        deadline_ratio: where between the deadline for one epoch and that for all of them the deadline is: 0 to 1.
    """

    def __init__(self, w: int, lss: float, dss: float, epochs: int) -> None:
        self._window, self._lss, self._dss, self._epochs = w, lss, dss, epochs
        self.threshold_ratio, self.deadline_ratio = 0.0, 1.0
        self._benefits: list[float] = []
        self._heard: list[Mapping[str, float]] = []
        self._paces: dict[str, deque[tuple[float, float]]] = {}
        self._round = 0
        self._told: dict[str, float] = {"loss_threshold": 0.0, "deadline": math.inf}

    def state(self) -> dict[str, Any]:
        """Where the ratios are, the benefits of rounds, and what was heard and told."""
        return {
            "ratios": (self.threshold_ratio, self.deadline_ratio),
            "benefits": list(self._benefits),
            "heard": list(self._heard),
            "paces": {end: list(pace) for end, pace in self._paces.items()},
            "told": self._told,
            "round": self._round,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.threshold_ratio, self.deadline_ratio = state["ratios"]
        self._benefits, self._heard = list(state["benefits"]), list(state["heard"])
        self._paces = {end: deque(pace, maxlen=RECENT_ROUNDS) for end, pace in state["paces"].items()}
        self._told, self._round = dict(state["told"]), state["round"]

    def handle_metadata_from_trainer(self, metadata: Mapping[str, Any], end: str, channel: Ends) -> None:
        """Note what a trainer says with its update.

        Raises:
            RunError: something is not a number, or is negative where it cannot be.
        """
        names = ("selected_loss_sum", "selected_len", "epoch_train_duration")
        said = {name: _told(metadata, name, end) for name in names}
        said |= {name: _told(metadata, name, end, least=-math.inf) for name in ("loss_low", "loss_high")}
        self._heard.append(said)
        epoch_s = said["epoch_train_duration"]
        took = channel.get_end_property(end, "round_duration")
        apart = max(0.0, took - self._epochs * epoch_s) if isinstance(took, float) else 0.0
        self._paces.setdefault(end, deque(maxlen=RECENT_ROUNDS)).append((apart, epoch_s))

    def get_metadata(self, round: int, ends: Sequence[str]) -> dict[str, float]:
        """The threshold of losses, and the deadline in seconds, for the orders of a round."""
        if round != self._round and self._heard:
            self._weigh_benefit(round)
            self._told = {"loss_threshold": self._threshold(), "deadline": self._deadline()}
            self._heard = []
        self._round = round
        return self._told

    def _weigh_benefit(self, round: int) -> None:
        lost, size = (math.fsum(said[name] for said in self._heard) for name in ("selected_loss_sum", "selected_len"))
        self._benefits.append(lost / size / self._told["deadline"] if size else 0.0)
        w, benefits = self._window, self._benefits
        if (round - 1) % w != w - 1 or len(benefits) < 2 * w:
            return
        way = 1 if math.fsum(benefits[-2 * w : -w]) > math.fsum(benefits[-w:]) else -1
        self.threshold_ratio = min(1.0, max(0.0, self.threshold_ratio + way * self._lss))
        self.deadline_ratio = min(1.0, max(0.0, self.deadline_ratio - way * self._dss))
        del benefits[:-w]

    def _threshold(self) -> float:
        if self.threshold_ratio <= 0:
            return 0.0
        low = min(said["loss_low"] for said in self._heard)
        high = math.fsum(said["loss_high"] for said in self._heard) / len(self._heard)
        return max(0.0, low + (high - low) * self.threshold_ratio)

    def _deadline(self) -> float:
        first, last = self._peak(1), self._peak(self._epochs)
        deadline = first + (last - first) * self.deadline_ratio
        return deadline if deadline > 0 else math.inf

    def _peak(self, epochs: int) -> float:
        """The time at which most trainers per second would have come through so many epochs."""
        paces = list(self._paces.values())
        done = sorted(
            (math.fsum(apart for apart, _ in pace) + epochs * math.fsum(each for _, each in pace)) / len(pace)
            for pace in paces
        )
        rates = [(count / at, at) for count, at in enumerate(done, 1) if at > 0]
        return max(rates)[1] if rates else 0.0


def _each(losses: Any) -> list[float]:
    """One number per sample, of losses of shape (samples, …)."""
    found: list[float] = losses.detach().reshape(len(losses), -1).mean(1).tolist()
    return found


def _told(
    metadata: Mapping[str, Any],
    name: str,
    source: str,
    *,
    least: float = 0.0,
    most: float = math.nextafter(math.inf, 0),
) -> float:
    value = metadata.get(name) if isinstance(metadata, Mapping) else None
    if not isinstance(value, float) or not least <= value <= most:
        raise RunError(f"{source} tells no {name} that could be (it is {value!r:.40}), which fedbalancer goes by")
    return value
