"""No mechanism: updates go as they are; and the base of mechanisms that are written for Cisco's Flame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.common.own import own_state, put_back
from flame.common.settings import refuse_others
from flame.config import Config
from flame.privacy import Cohort, Perturb
from flame.weights.adapters import Adapter
from flame.weights.layout import Weights
from flame.weights.plain import form_of, in_form, out_of


class Default:
    """Protects nothing. It has no settings."""

    name = "default"
    stamp: dict[str, Any]

    def __init__(self, **others: Any) -> None:
        others.pop("noise", None)
        refuse_others("privacy", self.name, others)
        self.stamp = {}

    @property
    def epsilon(self) -> float | None:
        """None: nothing is counted."""
        return None

    @property
    def exhausted(self) -> bool:
        """Never: there is no budget."""
        return False

    @property
    def even_of_nobody(self) -> bool:
        """No: a round without answers changes nothing."""
        return False

    def check(self, config: Config, optimizer: Any, *, says_more: bool) -> None:
        """Goes with everything."""

    def check_between(self, config: Config, *, waits: bool) -> None:
        """Goes with everything."""

    def outgoing(self, update: Weights, samples: int) -> tuple[Weights | None, int]:
        """The update itself."""
        return update, samples

    def admit(self, end: str, extras: Mapping[str, Any]) -> None:
        """Takes everything."""

    def release(self, cohort: Cohort) -> Perturb | None:
        """None: the mean is taken as it is."""
        return None

    def affords(self, cohort: Cohort) -> bool:
        """Always."""
        return True

    def charge(self, cohort: Cohort) -> None:
        """Costs nothing."""

    def state(self) -> Mapping[str, Any]:
        """Keeps nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Needs nothing."""

    def private(self, model: Any, optimizer: Any, loader: Any) -> tuple[Any, Any, Any]:
        """The same three."""
        return model, optimizer, loader


class DefaultPrivacy(Default):
    """A trainer's filter of its own: override `apply_dp_fn`; a constructor need not call this one's.

    Attributes:
        name: its `sort` in the config.
    """

    def __init__(self, **settings: Any) -> None:
        """Any settings will do."""

    @property
    def stamp(self) -> dict[str, Any]:  # type: ignore[override]
        """Nothing: whoever takes an update in knows of no mechanism."""
        return {}

    def apply_dp_fn(self, delta_weights: Any) -> Any:
        """What is sent instead of an update.

        Args:
            delta_weights: the update in the framework's form, as a private copy: a dict of tensors for torch, a list of
                arrays for Keras.

        Returns:
            The like of it.
        """
        return delta_weights

    def meet(self, adapter: Adapter) -> None:
        """This is the model that the trainer trains."""
        self._form = form_of(adapter)

    def outgoing(self, update: Weights, samples: int) -> tuple[Weights | None, int]:
        """What `apply_dp_fn` makes of the update. Raises WeightsError if that does not fit the model."""
        return out_of(self.apply_dp_fn(in_form(update, self._form)), update.layout), samples

    def state(self) -> Mapping[str, Any]:
        """Its attributes, but for functions."""
        return own_state(self)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        put_back(self, state)
