"""Models that are scikit-learn's linear models and multi-layer perceptrons: the only file that names scikit-learn.

What travels is what was fitted: `coef_` and `intercept_`, or `coefs_` and `intercepts_`. Values are written into the
estimator's own arrays, so that the next `partial_fit`, or `fit` with `warm_start`, goes on from them. They do not
exist before the first fit, and their shapes follow from the number of features and the classes: `prepare` makes them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from flame.errors import WeightsError
from flame.weights.copied import Copied, Tensor

LINEAR = frozenset(
    {
        "ElasticNet",
        "GammaRegressor",
        "Lasso",
        "LinearRegression",
        "LinearSVC",
        "LinearSVR",
        "LogisticRegression",
        "PassiveAggressiveClassifier",
        "PassiveAggressiveRegressor",
        "Perceptron",
        "PoissonRegressor",
        "Ridge",
        "RidgeClassifier",
        "SGDClassifier",
        "SGDRegressor",
        "TweedieRegressor",
    }
)
COUNTERS = ("t_", "n_iter_", "loss_curve_", "best_loss_", "_no_improvement_count")
NETWORKS = frozenset({"MLPClassifier", "MLPRegressor"})
Estimator = TypeVar("Estimator", bound=BaseEstimator)


def adapt(model: Any) -> Copied | None:
    """The adapter of an estimator; None for anything else.

    Raises:
        WeightsError: its kind has no weights that can be averaged, or it has not been fitted or prepared.
    """
    if not isinstance(model, BaseEstimator):
        return None
    attributes = _attributes(model)
    missing = [attribute for attribute in attributes if not hasattr(model, attribute)]
    if missing:
        raise WeightsError(
            f"{type(model).__name__} has no {missing[0]} before its first fit: call"
            " flame.weights.sklearn_adapter.prepare(model, n_features, classes) in `initialize`"
        )
    return Copied(EstimatorForm(model, attributes))


def prepare(model: Estimator, n_features: int, classes: Sequence[Any] | None = None) -> Estimator:
    """Give an estimator its arrays before it has seen data: zeros, or a network's random beginning.

    Every worker prepares with the same numbers, whatever its own data holds.

    Args:
        model: a linear model or a multi-layer perceptron, with one target; it is changed.
        n_features: the columns of the data.
        classes: all labels that any worker may have; None for a regression.

    Returns:
        The estimator.

    Raises:
        WeightsError: another kind of estimator, or classes are missing or too many.
    """
    attributes = _attributes(model)
    if is_classifier(model) != (classes is not None):
        raise WeightsError(
            f"{type(model).__name__} needs to know all classes that any worker may have"
            if is_classifier(model)
            else f"{type(model).__name__} is no classifier, so that it takes no classes"
        )
    labels = np.ones(2) if classes is None else np.unique(np.asarray(classes))
    if len(labels) < 2:
        raise WeightsError(f"{type(model).__name__} tells classes apart; there is only {labels.tolist()}")
    _fit_nothing(model, np.zeros((len(labels), n_features)), labels)
    if attributes[0] == "coef_":
        form = EstimatorForm(model, attributes)
        form.write({name: np.zeros_like(array) for name, array in form.read().items()})
    return model


class EstimatorForm:
    """What an estimator has fitted; see `flame.weights.copied.Form`."""

    averaged: frozenset[str] = frozenset()

    def __init__(self, model: BaseEstimator, attributes: tuple[str, str]) -> None:
        self.model = model
        self._attributes = attributes

    def tensors(self) -> list[Tensor]:
        """The fitted arrays; a list of them is numbered, `coefs_.0`."""
        return [Tensor(name, array.dtype, array.shape) for name, array in self.read().items()]

    def read(self) -> dict[str, NDArray[Any]]:
        """The arrays themselves; a number is an array of no dimensions."""
        return {name: np.asarray(value) for name, _, _, value in self._values()}

    def write(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write into the estimator's arrays where that can be done: its optimizer may hold them, too."""
        for name, attribute, place, value in self._values():
            array = arrays[name]
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value[...] = array
            elif place is not None:
                getattr(self.model, attribute)[place] = array
            else:
                setattr(self.model, attribute, array if isinstance(value, np.ndarray) else array[()])

    def pack(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """A dict by attribute, of an array, a number or a list of arrays, as the estimator has them."""
        form: dict[str, Any] = {}
        for name, attribute, place, value in self._values():
            if place is not None:
                form.setdefault(attribute, []).append(arrays[name])
            else:
                form[attribute] = arrays[name] if isinstance(value, np.ndarray) else arrays[name][()]
        return form

    def beside(self) -> dict[str, Any]:
        """How many samples were seen, by which the learning rate falls, and a network's optimizer."""
        optimizer = getattr(self.model, "_optimizer", None)
        seen = {name: getattr(self.model, name) for name in COUNTERS if hasattr(self.model, name)}
        return {"counters": seen, "optimizer": {} if optimizer is None else dict(vars(optimizer))}

    def put_beside(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `beside` returned."""
        for name, value in kept["counters"].items():
            setattr(self.model, name, value)
        if kept["optimizer"]:
            kind = AdamOptimizer if self.model.solver == "adam" else SGDOptimizer
            self.model._optimizer = kind([*self.model.coefs_, *self.model.intercepts_])
            vars(self.model._optimizer).update(kept["optimizer"])

    def _values(self) -> Iterator[tuple[str, str, int | None, Any]]:
        """Name, attribute, place in the attribute's list, and value of everything that was fitted."""
        for attribute in self._attributes:
            value = getattr(self.model, attribute)
            if isinstance(value, list):
                for place, array in enumerate(value):
                    yield f"{attribute}.{place}", attribute, place, array
            elif isinstance(value, np.ndarray | float | np.floating):
                yield attribute, attribute, None, value
            else:
                raise WeightsError(f"{attribute} is {type(value).__name__}; only arrays can be sent (densify it first)")


def _attributes(model: BaseEstimator) -> tuple[str, str]:
    """What an estimator of such a kind fits."""
    kinds = {parent.__name__ for parent in type(model).__mro__ if parent.__module__.partition(".")[0] == "sklearn"}
    if getattr(model, "average", False):
        raise WeightsError(f"{type(model).__name__}(average=...) keeps weights of its own beside the average")
    if kinds & LINEAR:
        return ("coef_", "intercept_")
    if kinds & NETWORKS:
        return ("coefs_", "intercepts_")
    raise WeightsError(
        f"{type(model).__name__} has no weights that could be averaged; of scikit-learn's estimators there can be"
        f" {', '.join(sorted(LINEAR | NETWORKS))}"
    )


def _fit_nothing(model: Any, features: NDArray[Any], labels: NDArray[Any]) -> None:
    """Let the estimator make its own arrays, and forget that it has seen anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not hasattr(model, "partial_fit"):
            model.fit(features, labels)
        elif is_classifier(model):
            model.partial_fit(features, labels, classes=labels)
        else:
            model.partial_fit(features, labels)
    vars(model).pop("_optimizer", None)
    if hasattr(model, "t_"):
        model.t_ = type(model.t_)(0 if hasattr(model, "coefs_") else 1)
