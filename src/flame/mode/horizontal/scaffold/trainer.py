"""The trainer of SCAFFOLD: it takes `k` steps in every round, and its size goes before."""

from __future__ import annotations

import math
from typing import Any

from flame.common.custom_abcmeta import abstract_attribute
from flame.config import Config
from flame.engine.parts import optimizer_of
from flame.errors import RecipeError, WorkflowError
from flame.mode import sized
from flame.mode.role import quiet
from flame.mode.sized import TAG_UPLOAD_DATASET_SIZE
from flame.mode.training import TAG_FETCH, TAG_UPLOAD
from flame.optimizer.scaffold import Scaffold

__all__ = ["TAG_FETCH", "TAG_UPLOAD", "TAG_UPLOAD_DATASET_SIZE", "Trainer"]


class Trainer(sized.Trainer):
    """A trainer; add `self.regularizer.get_term(curr_model=self.model)` to the loss of each of its `k` steps.

    ```python
    def train(self):
        self.reset_batch_counter()
        for _ in range(self.epochs):
            for batch in self.train_loader:
                ...
                self.increment_batch_counter()
                if self.training_is_done():
                    return
    ```

    Attributes:
        epochs: how often `k` batches go through the samples, rounded up; set before the first round.
    """

    algorithm = "scaffold"
    epochs: int
    _k: int
    _batches: int

    @abstract_attribute
    def learning_rate(self) -> Any:
        """Of the program's own optimizer: plain SGD."""

    @abstract_attribute
    def batch_size(self) -> Any:
        """How many samples a step takes."""

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse another algorithm, or one without `k`. Raises RecipeError."""
        super().check_config(config)
        if optimizer_of(config).k is None:  # type: ignore[attr-defined]
            raise RecipeError("optimizer.kwargs.k: a scaffold trainer takes that many steps in a round; it is missing")

    def compose(self) -> None:
        """As a trainer that sends its size, with `internal_params` after `init`."""
        super().compose()
        self.composer.insert("init", quiet("internal_params", self.internal_init_params), after=True)

    def internal_init_params(self) -> None:
        """Set `epochs`.

        Raises:
            WorkflowError: the program has set no batch size.
        """
        if not self.batch_size or self.batch_size < 1:
            raise WorkflowError(f"batch_size is {self.batch_size!r}; set how many samples a step takes")
        batches = max(1, math.ceil(self._samples / self.batch_size))
        assert isinstance(self._algorithm, Scaffold) and self._algorithm.k  # `check_config` says so
        self._k = self._algorithm.k
        self.epochs = math.ceil(self._k / batches)
        self._batches = 0

    def reset_batch_counter(self) -> None:
        """Training begins."""
        self._batches = 0

    def increment_batch_counter(self) -> None:
        """A step was taken."""
        self._batches += 1

    def training_is_done(self) -> bool:
        """Whether `k` steps were taken."""
        return self._batches >= self._k
