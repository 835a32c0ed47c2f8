"""Example-level differential privacy: DP-SGD in every trainer, by way of opacus.

Every trainer clips the gradient of each of its examples to an L2 norm C, adds Gaussian noise of standard deviation
`noise_multiplier` * C to their sum, and takes batches by Poisson sampling. Epsilon is of one example, with or without
it, to whoever gets the trainer's updates; updates themselves go as they are. A program asks for it where it trains:

```text
model, optimizer, loader = self.privacy.private(self.model, optimizer, loader)
```

The model that it gets is opacus's wrapper around `self.model`; the federation goes on with `self.model`, whose names
are its own. PyTorch only.

M. Abadi, A. Chu, I. Goodfellow, H. B. McMahan, I. Mironov, K. Talwar, L. Zhang: Deep Learning with Differential
Privacy. CCS 2016. https://arxiv.org/abs/1607.00133; A. Yousefpour et al.: Opacus: User-Friendly
Differential Privacy Library in PyTorch. 2021. https://arxiv.org/abs/2109.12298
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from flame.common.settings import check_number, refuse_others
from flame.config import Config
from flame.errors import ConfigError, RecipeError
from flame.privacy.accountant import Accountant, Release, accountant_of
from flame.privacy.combine import refuse_what_says_more
from flame.privacy.default import Default
from flame.privacy.noise import Noise
from flame.weights.layout import Weights

logger = logging.getLogger(__name__)

SETTINGS = ("noise_multiplier", "max_grad_norm", "delta", "target_epsilon")


class DPSGD(Default):
    """DP-SGD, for programs that ask `self.privacy.private(model, optimizer, loader)` what to train with.

    Args:
        noise: the source of randomness.
        noise_multiplier: the noise's standard deviation over `max_grad_norm`.
        max_grad_norm: C, the largest L2 norm of an example's gradient.
        delta: the probability with which epsilon may be exceeded; less than one over the number of examples.
        target_epsilon: the epsilon that is not exceeded: batches end before; none for no budget.

    Raises:
        ConfigError: a setting that there is not, one that is missing, or a value that it cannot have.
    """

    name = "dpsgd"

    def __init__(
        self,
        *,
        noise: Noise | None = None,
        noise_multiplier: Any = None,
        max_grad_norm: Any = None,
        delta: Any = 1e-5,
        target_epsilon: Any = None,
        **others: Any,
    ) -> None:
        refuse_others("privacy", self.name, others, SETTINGS)
        for name, value in (("noise_multiplier", noise_multiplier), ("max_grad_norm", max_grad_norm)):
            if value is None:
                raise ConfigError(f"privacy.kwargs.{name}", "dpsgd needs it", "1.0 is where to begin")
            check_number("privacy", name, value, least=0, beyond=name == "max_grad_norm")
        self.stamp = {}
        self._z, self._bound = float(noise_multiplier), float(max_grad_norm)
        self._noise = noise or Noise()
        self._accountant = accountant_of(delta, target_epsilon)
        self._engine: Any = None
        self._wrapped: list[Any] = []
        self._asked = False
        self._steps = 0
        self._plan: Callable[[int], tuple[int, str]] | None = None

    @property
    def epsilon(self) -> float | None:
        """What this trainer's steps have cost; None if it has made none."""
        spent = self._spent()
        return spent.epsilon if spent.releases else None

    def check(self, config: Config, optimizer: Any, *, says_more: bool) -> None:
        """Refuse what would tell more than is accounted for; the plan waits for the number of batches."""
        refuse_what_says_more(self.name, config, optimizer.name if says_more else "")
        if find_spec("opacus") is None:
            raise ConfigError("privacy.sort", "dpsgd needs opacus", "pip install 'flame-fl[privacy]'")
        given = config.hyperparameters
        epochs, rounds = max(1, given.epochs), given.rounds if str(config.selector.sort) == "default" else 1
        words = f"{rounds} round{'s' * (rounds > 1)} of {epochs} epoch{'s' * (epochs > 1)}"
        self._plan = lambda batches: (rounds * epochs * batches, f"{words} of {batches} batches")

    def private(self, model: Any, optimizer: Any, loader: Any) -> tuple[Any, Any, Any]:
        """The model, optimizer and data loader to train with in this round.

        Args:
            model: the trainer's `torch.nn.Module`.
            optimizer: a torch optimizer over its parameters.
            loader: a `torch.utils.data.DataLoader`; its batch size becomes the mean one, and a batch may be empty.

        Raises:
            RecipeError: the model has a layer that mixes the examples of a batch, such as a batch normalisation.
            ConfigError: the planned rounds would exceed the budget.
        """
        self._unwrap()
        _refuse_layers(model)
        if not self._asked and self._plan is not None:
            self._accountant.check_plan(Release(self._z, 1 / len(loader), "poisson"), *self._plan(len(loader)))
        self._asked = True
        # Torch says so of every model whose input needs no gradient; opacus takes care of it.
        warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
        generators = [_generator(self._noise), _generator(self._noise)]
        own, loader.generator = loader.generator, generators[0]  # opacus samples with the loader's
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of opacus's secure mode, which needs what is no longer maintained
                import opacus

                self._engine = self._engine or opacus.PrivacyEngine(accountant="rdp")
                wrapped, stepper, batches = self._engine.make_private(
                    module=model,
                    optimizer=optimizer,
                    data_loader=loader,
                    noise_multiplier=self._z,
                    max_grad_norm=self._bound,
                    noise_generator=generators[1],
                )
        finally:
            loader.generator = own
        self._wrapped.append(wrapped)
        step = Release(self._z, 1 / len(loader), "poisson")
        return wrapped, stepper, Affordable(batches, lambda: self._spent().affords(step))

    def outgoing(self, update: Weights, samples: int) -> tuple[Weights | None, int]:
        """The update as it is; none if the budget allowed no step.

        Raises:
            RecipeError: the program trained without asking for this mechanism.
        """
        if not self._asked:
            raise RecipeError(
                "privacy.sort: dpsgd: the program's `train` does not use it; train with what"
                " self.privacy.private(model, optimizer, loader) returns"
            )
        if not self._wrapped:
            raise RecipeError("privacy.sort: dpsgd: a round was trained without self.privacy.private(...)")
        self._unwrap()
        before, self._steps = self._steps, self._spent().releases.total()
        if self._steps == before and self._accountant.target is not None:
            logger.warning("the privacy budget is spent (of epsilon %g): no update is sent", self._accountant.target)
            return None, 0
        return update, samples

    def _unwrap(self) -> None:
        """Take off the model what opacus has put on it."""
        for wrapped in self._wrapped:
            wrapped.to_standard_module()
        self._wrapped.clear()

    def state(self) -> Mapping[str, Any]:
        """The steps made so far, as opacus counts them, and how many streams of noise were drawn."""
        history = [] if self._engine is None else [tuple(row) for row in self._engine.accountant.history]
        return {"history": history, "noise": self._noise.count, "steps": self._steps, "asked": self._asked}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._noise.skip(state["noise"])
        self._steps, self._asked = state["steps"], state["asked"]
        if state["history"]:
            self._engine = import_module("opacus").PrivacyEngine(accountant="rdp")
            self._engine.accountant.history = list(state["history"])

    def _spent(self) -> Accountant:
        """Opacus's record of steps, in an accountant of our own."""
        spent = Accountant(self._accountant.delta, self._accountant.target)
        for z, rate, steps in self._engine.accountant.history if self._engine is not None else ():
            spent.charge(Release(z, rate, "poisson"), steps)
        return spent


class Affordable:
    """A data loader that ends when the budget allows no further step."""

    def __init__(self, loader: Any, fits: Callable[[], bool]) -> None:
        self._loader, self._fits = loader, fits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._loader)
        while self._fits():
            try:
                batch = next(batches)
            except StopIteration:
                return
            yield batch


def _generator(noise: Noise) -> Any:
    """A torch generator with a seed of its own."""
    return import_module("torch").Generator().manual_seed(noise.key() >> 65)


def _refuse_layers(model: Any) -> None:
    """Refuse layers of which no example has a gradient of its own.

    Raises:
        RecipeError: there is one; the first is named.
    """
    kinds = import_module("torch.nn.modules.batchnorm")._BatchNorm
    for name, layer in model.named_modules():
        if isinstance(layer, kinds):
            raise RecipeError(
                f"privacy.sort: dpsgd: {name} is a {type(layer).__name__}, which mixes the examples of a batch; use"
                " GroupNorm or LayerNorm in its place, in every role's program"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.validators import ModuleValidator

        found = ModuleValidator.validate(model, strict=False)
    if found:
        raise RecipeError(f"privacy.sort: dpsgd: {found[0]}")
