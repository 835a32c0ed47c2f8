"""A client half that pulls: a term that is quadratic in the weights, for the loss or for the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from flame.errors import RunError
from flame.optimizer.halves import Alone
from flame.weights.adapters import Adapter
from flame.weights.layout import Layout, Weights


class Pull(Alone):
    """(square / 2) * ||w - anchor||^2 + <w, linear>, over the trainable parameters w of a model.

    Attributes:
        steps: how many times it was asked for in this round.
        samples: how many the trainer has, where its role has said so before the order came; otherwise None.
    """

    wanted = True

    def __init__(self, sort: str) -> None:
        self._sort = sort
        self.steps = 0
        self.samples: int | None = None
        self._square = 0.0
        self._adapter: Adapter | None = None
        self._anchor: Weights | None = None
        self._linear: Weights | None = None
        self._near: list[tuple[Any, Any]] | None = None

    def aim(
        self, adapter: Adapter, *, square: float = 0.0, anchor: Weights | None = None, linear: Weights | None = None
    ) -> None:
        """The term of the round that begins; left out, an anchor or a linear part is zero."""
        self._adapter, self._square, self._anchor, self._linear = adapter, square, anchor, linear
        self._near, self.steps = None, 0

    def get_term(self, *, curr_model: Any, **others: Any) -> Any:
        """The term, a scalar of the framework that the model belongs to; 0.0 before the first order.

        Args:
            curr_model: the model that is trained, or its parameters. Ask once for each step.
            others: ignored.
        """
        term: Any = 0.0
        for now, anchor, linear in self._parts(curr_model):
            if self._square:
                term = term + self._square / 2 * ((now if anchor is None else now - anchor) ** 2).sum()
            if linear is not None:
                term = term + (now * linear).sum()
        return term

    def get_gradient(self, *, curr_model: Any) -> Any:
        """The term's gradient at the model: for a torch module by the names of its parameters, else in its form.

        Raises:
            RunError: there has been no order yet.
        """
        found: list[Any] = []
        for now, anchor, linear in self._parts(curr_model):
            now = now.detach() if hasattr(now, "detach") else now
            gradient = self._square * (now if anchor is None else now - anchor)
            found.append(gradient if linear is None else gradient + linear)
        if not found:
            raise RunError(f"{self._sort}: there is no gradient before the first order")
        if hasattr(curr_model, "named_parameters"):
            return dict(zip((name for name, _ in curr_model.named_parameters()), found, strict=True))
        if hasattr(curr_model, "keys"):
            return dict(zip(curr_model, found, strict=True))
        return type(curr_model)(found) if isinstance(curr_model, list | tuple) else found[0]

    def used(self, what: str = "get_term(curr_model=self.model)") -> int:
        """How many steps were taken in this round.

        Raises:
            RunError: the program has not asked for the term.
        """
        if not self.steps:
            raise RunError(
                f"{self._sort}: the program has not asked for the term in this round; in every step, add"
                f" self.regularizer.{what} to the loss, or get_gradient of it to the gradient"
            )
        return self.steps

    def update(self) -> None:
        """The round is over: let go of what it was about."""
        self._adapter = self._anchor = self._linear = self._near = None
        self._square, self.steps = 0.0, 0

    def _parts(self, model: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Every parameter, with its part of the anchor and of the linear part."""
        if self._adapter is None:
            return
        self.steps += 1
        parameters = list(_parameters(model))
        if self._near is None:
            sides = [_laid(side, parameters, self._adapter) for side in (self._anchor, self._linear)]
            self._near = list(zip(*sides, strict=True))
        for now, (anchor, linear) in zip(parameters, self._near, strict=True):
            yield now, anchor, linear


def _laid(side: Weights | None, parameters: list[Any], adapter: Adapter) -> list[Any]:
    """Weights as a list in the order of the model's parameters, where these are; Nones for None."""
    if side is None:
        return [None] * len(parameters)
    values = adapter.as_dict(side)
    if not hasattr(adapter.model, "named_parameters"):
        return list(_parameters(values))
    named = [values[name] for name, _ in adapter.model.named_parameters()]
    return [value.to(parameter.device) for parameter, value in zip(parameters, named, strict=True)]


def zeros(layout: Layout) -> Weights:
    """Weights that are zero."""
    return Weights(layout, np.zeros(layout.nbytes, np.uint8))


def combined(layout: Layout, *terms: tuple[float, Weights | None]) -> Weights:
    """A sum of weights, each times a number, in new memory; None is zero, and so are integers."""
    out = zeros(layout)
    for number, segment in enumerate(out.segments):
        if segment.dtype.kind == "f":
            for factor, weights in terms:
                if weights is not None:
                    segment += segment.dtype.type(factor) * weights.segments[number]
    return out


def _parameters(model: Any) -> Iterator[Any]:
    """What is trained of a model: a torch module's parameters, or arrays."""
    if hasattr(model, "parameters"):
        yield from model.parameters()
    elif hasattr(model, "keys"):
        yield from model.values()
    elif isinstance(model, list | tuple | Iterator):
        yield from model
    else:
        yield model
