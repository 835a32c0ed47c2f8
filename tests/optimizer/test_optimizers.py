"""What holds for every optimizer, and the numbers of each against a reference that is written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame.engine.fold import BLOCK, WeightedMean
from flame.errors import ConfigError
from flame.extend import lookup, names
from flame.optimizer.fedopt import FedAdaGrad, FedAdam, FedYogi
from flame.optimizer.fedprox import FedProx
from flame.weights import Layout, Weights

NEEDS = {
    "fedprox": {"mu": 0.1},
    "feddyn": {"alpha": 0.1},
    "qfedavg": {"q": 1, "eta": 0.1},
    "fedper": {"personal": "head.*"},
    "ditto": {"lambda": 0.1},
}
SETTINGS = {
    "fedavg": "it has no settings",
    "fedprox": "its settings are mu",
    "fedavgm": "its settings are momentum",
    "fednova": "its settings are momentum",
    "qfedavg": "its settings are q, eta",
    "scaffold": "its settings are k",
    "feddyn": "its settings are alpha",
    "fedper": "its settings are personal",
    "fedbn": "it has no settings",
    "ditto": "its settings are lambda",
}
ADAPTIVE = {"fedadagrad": FedAdaGrad, "fedadam": FedAdam, "fedyogi": FedYogi}
every = pytest.mark.parametrize("sort", [*ADAPTIVE, *SETTINGS])
adaptive = pytest.mark.parametrize("sort", ADAPTIVE)


def made(sort, **kwargs):
    return lookup("optimizer", sort)(**NEEDS.get(sort, {}) | kwargs)


def second_moment(sort, v, d, beta_2):
    if sort == "fedadagrad":
        return v + d**2
    if sort == "fedadam":
        return beta_2 * v + (1 - beta_2) * d**2
    return v - (1 - beta_2) * d**2 * np.sign(v - d**2)


def reference(sort, base, means, beta_1=0.9, beta_2=0.99, eta=1e-2, tau=1e-3):
    """The model of every round; each starts from the last one as rounded, with x, m and v unrounded."""
    models, x, m, v = [], None, 0.0, 0.0
    for mean in means:
        a = base.astype(np.float64) + mean
        if x is None:
            x = a
        else:
            d = a - x
            m = beta_1 * m + (1 - beta_1) * d
            v = second_moment(sort, v, d, beta_2)
            x = x + eta * m / (np.sqrt(v) + tau)
        base = x.astype(base.dtype)
        models.append(base)
    return models


def run(optimizer, base, deltas):
    models = []
    for delta in deltas:
        fold = WeightedMean()
        fold.add(delta, 3)
        optimizer.step.hear("one", 3, {"steps": 1, "share": 1})
        optimizer.step.gathered(["one"])
        base = fold.finish(base, optimizer.step)
        models.append(base)
    return models


def weights(rng, size, dtype="float32"):
    return Weights.pack({"w": rng.standard_normal(size).astype(dtype)})


@every
def test_every_optimizer_has_both_halves(sort):
    optimizer = made(sort)
    assert optimizer.name == sort
    assert sort in names("optimizer")
    assert optimizer.step.state() == {}
    optimizer.step.restore({})
    optimizer.regularizer.save_state("PRE", anything=1)
    optimizer.regularizer.update()


@every
def test_the_first_round_is_plain_averaging(sort):
    rng = np.random.default_rng(1)
    base, deltas = weights(rng, 50), [weights(rng, 50)]
    expected = run(made("fedavg"), base, deltas)[0]
    assert run(made(sort), base, deltas)[0].data.tobytes() == expected.data.tobytes()


@every
def test_a_setting_that_is_unknown_is_answered_with_the_known_ones(sort):
    with pytest.raises(ConfigError, match=rf"optimizer\.kwargs\.nonsense: {sort} has no such setting") as caught:
        made(sort, nonsense=0.9)
    assert caught.value.fix == SETTINGS.get(sort, "its settings are beta_1, beta_2, eta, tau")


@pytest.mark.parametrize(
    ("sort", "name", "value"),
    [
        ("fedadam", "beta_1", 1),
        ("fedadam", "beta_1", -0.1),
        ("fedyogi", "beta_2", "0.9"),
        ("fedyogi", "eta", 0),
        ("fedadagrad", "tau", 0.0),
        ("fedadagrad", "tau", float("nan")),
        ("fedadam", "eta", True),
        ("fedadam", "eta", None),
        ("fedprox", "mu", -1),
        ("fedprox", "mu", "a"),
        ("fedprox", "mu", float("inf")),
        ("fedavgm", "momentum", 1),
        ("fednova", "momentum", -0.1),
        ("qfedavg", "q", -1),
        ("qfedavg", "eta", 0),
        ("scaffold", "k", 0),
        ("feddyn", "alpha", 0),
        ("ditto", "lambda", "near"),
    ],
)
def test_a_setting_out_of_range_is_located(sort, name, value):
    with pytest.raises(ConfigError, match=rf"optimizer\.kwargs\.{name}: a number"):
        made(sort, **{name: value})


def test_fedprox_needs_mu():
    with pytest.raises(ConfigError, match=r"optimizer\.kwargs\.mu: fedprox needs it"):
        FedProx()


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(ADAPTIVE)),
    st.sampled_from(["float64", "float32", "float16"]),
    st.integers(0, 2**32),
    st.integers(2, 5),
    st.sampled_from([{}, {"beta_1": 0, "eta": 0.1, "tau": 0.01}, {"beta_1": 0.5, "beta_2": 0, "eta": 1}]),
)
def test_the_adaptive_ones_equal_the_reference_rounded_once(sort, dtype, seed, count, kwargs):
    rng = np.random.default_rng(seed)
    base, deltas = weights(rng, 9, dtype), [weights(rng, 9, dtype) for _ in range(count)]
    expected = reference(sort, base.segments[0], [d.segments[0].astype(np.float64) for d in deltas], **kwargs)
    for model, golden in zip(run(made(sort, **kwargs), base, deltas), expected, strict=True):
        eps = np.finfo(dtype).eps if dtype != "float64" else 1e-13
        np.testing.assert_allclose(model.segments[0], golden, rtol=eps, atol=eps)


@pytest.mark.parametrize(
    ("sort", "numbers"),
    [
        # From base 1 with updates 1, -1 and 2, computed in 40 decimal digits.
        ("fedadagrad", [2.0, 1.999000999000999, 1.99949271405439196]),
        ("fedadam", [2.0, 1.99009900990099009, 1.99500134034730316]),
        ("fedyogi", [2.0, 1.99009900990099009, 1.99499645740043962]),
    ],
)
def test_golden_numbers(sort, numbers):
    deltas = [Weights.pack({"w": np.array([value])}) for value in (1.0, -1.0, 2.0)]
    models = run(made(sort), Weights.pack({"w": np.array([1.0])}), deltas)
    np.testing.assert_allclose([model.segments[0][0] for model in models], numbers, rtol=1e-14)


@adaptive
def test_blocks_and_segments_find_their_own_state(sort):
    rng = np.random.default_rng(4)
    arrays = {"w": np.float32, "v": np.float64, "h": np.float16}

    def one():
        return Weights.pack({n: rng.standard_normal(BLOCK + 7).astype(d) for n, d in arrays.items()})

    base, deltas = one(), [one() for _ in range(3)]
    together = run(made(sort), base, deltas)[-1].arrays()
    for name in arrays:
        apart = run(
            made(sort),
            Weights.pack({name: base.arrays()[name]}),
            [Weights.pack({name: delta.arrays()[name]}) for delta in deltas],
        )[-1]
        assert apart.data.tobytes() == together[name].tobytes()


@every
def test_integers_follow_plain_averaging(sort):
    base = Weights.pack({"w": np.ones(3, np.float32), "n": np.array([1, 2])})
    deltas = [Weights.pack({"w": np.ones(3, np.float32), "n": np.array([1, 10])}) for _ in range(3)]
    assert run(made(sort), base, deltas)[-1].arrays()["n"].tolist() == [4, 32]


@adaptive
def test_going_on_from_a_kept_state_gives_the_same_bits(sort):
    rng = np.random.default_rng(2)
    base, deltas = weights(rng, 40), [weights(rng, 40) for _ in range(6)]
    expected = run(made(sort), base, deltas)
    first, second = made(sort), made(sort)
    half = run(first, base, deltas[:3])[-1]
    kept = {letter: array.copy() for letter, array in first.step.state().items()}
    second.step.restore(kept)
    run(first, half, deltas[3:])
    assert run(second, half, deltas[3:])[-1].data.tobytes() == expected[-1].data.tobytes()
    assert set(kept) == {"x", "m", "v"}


@adaptive
@pytest.mark.parametrize(
    "state",
    [{"x": np.ones(3)}, {"x": np.ones(3), "m": np.ones(3), "v": np.ones(4)}, {"q": np.ones(3)},
     {"x": np.ones(3), "m": np.ones(3), "v": np.ones(3), "w": np.ones(3)}],
)  # fmt: skip
def test_a_state_that_is_not_its_own_is_refused(sort, state):
    with pytest.raises(ConfigError, match="x, m and v"):
        made(sort).step.restore(state)


@adaptive
def test_a_state_of_another_size_is_refused(sort):
    step = made(sort).step
    step.restore({letter: np.ones(3) for letter in "xmv"})
    with pytest.raises(ConfigError, match="3 elements, and the model has 4"):
        step.open(Layout.of({"w": np.ones(4)}))


def test_plain_averaging_refuses_the_state_of_another():
    with pytest.raises(ConfigError, match="belongs to another optimizer"):
        made("fedavg").step.restore({"x": np.ones(3)})


@adaptive
def test_a_round_without_updates_leaves_the_state(sort):
    rng = np.random.default_rng(5)
    base, deltas = weights(rng, 8), [weights(rng, 8) for _ in range(2)]
    optimizer = made(sort)
    model = run(optimizer, base, deltas[:1])[-1]
    assert WeightedMean().finish(model, optimizer.step) is model
    assert run(optimizer, model, deltas[1:])[-1].data.tobytes() == run(made(sort), base, deltas)[-1].data.tobytes()


# -- the term of FedProx --


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=6), st.floats(0, 10))
def test_statement_22_the_proximal_term_is_half_mu_times_the_squared_distance(pairs, mu):
    now, sent = (np.array(side) for side in zip(*pairs, strict=True))
    term = FedProx(mu=mu).regularizer.get_term(w=[now[:2], now[2:]], w_t=[sent[:2], sent[2:]])
    assert term == pytest.approx(mu / 2 * sum((a - b) ** 2 for a, b in pairs))


def test_the_model_that_was_sent_is_remembered_until_the_round_is_over():
    term, model = FedProx(mu=2).regularizer, np.array([1.0, 2.0])
    assert term.get_term(w=[model], w_t=[model]) == 0
    model += 1
    assert term.get_term(w=iter([model]), w_t=iter([model])) == 2
    term.update()
    assert term.get_term(w=[model], w_t=[model]) == 0
    term.update()
    term.update()


def test_the_term_of_nothing_is_zero():
    assert FedProx(mu=2).regularizer.get_term(w=[], w_t=[]) == 0


def test_the_term_pulls_a_torch_model_back():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    regularizer = FedProx(mu=0.5).regularizer
    regularizer.get_term(w=model.parameters(), w_t=model.parameters())
    with torch.no_grad():
        model.weight += 2
    term = regularizer.get_term(w=model.parameters(), w_t=model.parameters())
    term.backward()
    assert term.item() == pytest.approx(0.25 * 8)
    assert torch.allclose(model.weight.grad, torch.full((1, 2), 1.0))


def test_the_others_add_nothing_to_the_loss():
    assert made("fedavg").regularizer.get_term(w=[1], w_t=[2]) == 0.0
    assert made("fedadam").regularizer.get_term() == 0.0


def test_settings_are_kept_as_they_were_given():
    assert FedProx(mu=1).regularizer.mu == 1 and isinstance(FedProx(mu=1).regularizer.mu, int)
