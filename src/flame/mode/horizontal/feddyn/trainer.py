"""The trainer of FedDyn: its size goes before every round."""

from flame.mode import sized
from flame.mode.sized import TAG_UPLOAD_DATASET_SIZE
from flame.mode.training import TAG_FETCH, TAG_UPLOAD

__all__ = ["TAG_FETCH", "TAG_UPLOAD", "TAG_UPLOAD_DATASET_SIZE", "Trainer"]


class Trainer(sized.Trainer):
    """A trainer; add `self.regularizer.get_term(curr_model=self.model)` to the loss."""

    algorithm = "feddyn"
