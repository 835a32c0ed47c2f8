"""scikit-learn's estimators."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import linear_model, neural_network, svm
from sklearn.base import is_classifier
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from flame.errors import WeightsError
from flame.weights import adapters
from flame.weights.sklearn_adapter import LINEAR, NETWORKS, prepare

X, Y = load_iris(return_X_y=True)
OLD = {name for name in LINEAR if name.startswith("PassiveAggressive")}  # on their way out of scikit-learn


def estimators():
    for name in sorted((LINEAR | NETWORKS) - OLD):
        module = next(module for module in (linear_model, svm, neural_network) if hasattr(module, name))
        yield pytest.param(getattr(module, name), id=name)


@pytest.fixture(params=estimators())
def kind(request):
    return request.param


def fresh(kind):
    made = kind()
    return prepare(made, 4, [0, 1, 2] if is_classifier(made) else None)


def test_a_fit_has_the_layout_that_was_prepared(kind) -> None:
    """And predicts the same once its weights are in another one."""
    one, other = fresh(kind), fresh(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        fit = one.partial_fit if hasattr(one, "partial_fit") else one.fit
        fit(X, Y if is_classifier(one) else np.clip(Y, 0.5, None))
    mine, yours = adapters.of(one), adapters.of(other)
    assert mine.layout == yours.layout
    weights = mine.snapshot()
    assert mine.delta(yours.snapshot()).data.any()
    yours.load(weights)
    weights.data[...] = 0
    np.testing.assert_array_equal(other.predict(X), one.predict(X))


def test_linear_models_begin_at_zero() -> None:
    model = fresh(linear_model.SGDClassifier)
    assert not adapters.of(model).snapshot().data.any()
    assert model.classes_.tolist() == [0, 1, 2] and model.t_ == 1


def test_a_site_that_lacks_a_class_trains_all_the_same() -> None:
    model = fresh(linear_model.SGDClassifier)
    adapter = adapters.of(model)
    base = adapter.snapshot()
    model.partial_fit(X[:100], Y[:100])
    assert adapter.delta(base).data.any()


def test_training_goes_on_from_what_was_loaded() -> None:
    """A perceptron's own optimizer works on the arrays that were loaded."""
    one, other = (neural_network.MLPClassifier(random_state=0, hidden_layer_sizes=(8,)) for _ in range(2))
    prepare(one, 4, [0, 1, 2]), prepare(other, 4, [0, 1, 2])
    for _ in range(3):
        one.partial_fit(X, Y)
    adapters.of(other).load(adapters.of(one).snapshot())
    before = adapters.of(other).snapshot()
    other.partial_fit(X, Y)
    step = adapters.of(other).delta(before)
    assert 0 < max(abs(segment).max() for segment in step.segments) < 0.01


def test_as_dict_is_private_and_by_attribute() -> None:
    model = fresh(neural_network.MLPRegressor)
    form = adapters.of(model).as_dict(adapters.of(model).snapshot())
    assert [array.shape for array in form["coefs_"]] == [(4, 100), (100, 1)]
    form["coefs_"][0][...] = 0
    assert model.coefs_[0].any()
    single = adapters.of(fresh(linear_model.LinearRegression))
    assert isinstance(single.as_dict(single.snapshot())["intercept_"], float)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (linear_model.LogisticRegression(), "no coef_ before its first fit: call"),
        (RandomForestClassifier(), "RandomForestClassifier has no weights that could be averaged"),
        (linear_model.SGDClassifier(average=True), "weights of its own beside the average"),
    ],
    ids=["not fitted", "forest", "averages"],
)
def test_what_has_no_weights_says_why(model, says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        adapters.of(model)


@pytest.mark.parametrize(
    ("model", "classes", "says"),
    [
        (linear_model.LogisticRegression(), None, "needs to know all classes"),
        (linear_model.LogisticRegression(), [1, 1], r"only \[1\]"),
        (linear_model.Ridge(), [0, 1], "no classifier"),
    ],
    ids=["missing", "one", "too many"],
)
def test_prepare_refuses_what_makes_no_sense(model, classes, says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        prepare(model, 4, classes)


def test_a_site_whose_fit_knows_fewer_classes_is_refused_by_name() -> None:
    model = fresh(linear_model.LogisticRegression)
    adapter = adapters.of(model)
    base = adapter.snapshot()
    model.fit(X[:100], Y[:100])
    with pytest.raises(WeightsError, match="coef_"):
        adapter.delta(base)
