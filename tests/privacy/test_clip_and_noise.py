"""Clipping works to the last float; noise is what it says it is, and its own for every release and place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flame.privacy.clip import blur, clip, norm
from flame.privacy.noise import BLOCK, Noise
from flame.weights.layout import Weights


def update(scale: float, seed: int = 0, size: int = 3000) -> Weights:
    rng = np.random.default_rng(seed)
    return Weights.pack(
        {
            "wide": rng.normal(scale=scale, size=size),
            "w": rng.normal(scale=scale, size=(size // 10, 10)).astype(np.float32),
            "half": rng.normal(scale=scale, size=50).astype(np.float16),
            "count": np.array([7, -3]),
        }
    )


def exact_norm(weights: Weights) -> float:
    floats = [segment for segment in weights.segments if segment.dtype.kind == "f"]
    return math.sqrt(math.fsum(float(x) ** 2 for segment in floats for x in segment))


def test_the_norm_is_over_floating_point_numbers_alone() -> None:
    weights = update(2.0)
    assert norm(weights) == pytest.approx(exact_norm(weights), rel=1e-12)


@pytest.mark.parametrize("bound", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_clipped_is_not_above_the_bound_and_barely_below(bound: float, seed: int) -> None:
    weights = update(5.0, seed)
    before = {name: array.copy() for name, array in weights.arrays().items()}
    assert clip(weights, bound) == pytest.approx(exact_norm(Weights.pack(before)), rel=1e-12)
    assert bound * 0.995 < exact_norm(weights) <= bound * (1 + 1e-12)
    np.testing.assert_array_equal(weights.arrays()["count"], before["count"])
    wide, original = weights.arrays()["wide"], before["wide"]
    np.testing.assert_allclose(wide / original, wide[0] / original[0], rtol=1e-9)  # the direction stays


def test_what_is_within_the_bound_keeps_its_bits() -> None:
    weights = update(0.001)
    before = weights.data.tobytes()
    for bound in (norm(weights), 1e9, math.inf):
        clip(weights, bound)
        assert weights.data.tobytes() == before


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300])
def test_a_norm_that_is_no_number_is_told(bad: float) -> None:
    weights = Weights.pack({"w": np.array([1.0, bad])})
    assert not math.isfinite(clip(weights, math.inf))


def test_noise_has_the_standard_deviation_that_was_asked_for_and_spares_integers() -> None:
    weights = Weights.pack({"w": np.zeros(200_000, np.float32), "v": np.zeros(100_000), "count": np.array([5])})
    blur(weights, Noise("seed").stream(), 0.25)
    for name in ("w", "v"):
        drawn = weights.arrays()[name].astype(float)
        assert drawn.std() == pytest.approx(0.25, rel=0.01)
        assert abs(drawn.mean()) < 4 * 0.25 / math.sqrt(drawn.size)
        # Kolmogorov and Smirnov's distance to the normal distribution.
        expected = np.array([math.erfc(-x / 0.25 / math.sqrt(2)) / 2 for x in np.sort(drawn)[::100]])
        assert np.abs(expected - np.arange(0, drawn.size, 100) / drawn.size).max() < 1.95 / math.sqrt(drawn.size)
    assert weights.arrays()["count"][0] == 0


def test_every_release_segment_and_block_has_noise_of_its_own() -> None:
    noise = Noise("seed")
    draws = []
    for stream in (noise.stream(), noise.stream()):
        for segment in (0, 1):
            for start in (0, BLOCK):
                values = np.zeros(1000)
                stream.add(segment, slice(start, start + 1000), values, 1.0)
                draws.append(values)
    together = np.corrcoef(draws)
    assert np.abs(together - np.eye(len(draws))).max() < 0.15


def test_a_seed_repeats_and_without_one_nothing_does() -> None:
    def first(seed: str | None) -> bytes:
        values = np.zeros(8)
        Noise(seed).stream().add(0, slice(0, 8), values, 1.0)
        return values.tobytes()

    assert first("a") == first("a") != first("b")
    assert first(None) != first(None)
