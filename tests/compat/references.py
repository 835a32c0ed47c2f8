"""What some of upstream's algorithms compute on two sites' samples, written down once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Array = np.ndarray
RATE, ROUNDS, SIZES = 0.1, 4, (24, 8)
HYPER = {"epochs": 2, "batchSize": 8, "learningRate": RATE, "minPeers": len(SIZES)}


def samples(number: int) -> dict[str, Array]:
    """One site's samples, of which one kind is rare here and frequent there."""
    rng = np.random.default_rng(number)
    x = rng.normal(size=(SIZES[number], 4)).astype(np.float32) + number
    y = (x.sum(axis=1) > 2 * number).astype(np.int64) + number * (x[:, 0] > 1)
    group = (x[:, 1] > number).astype(np.int64)
    names = {"x": x, "y": y, "train_images": x, "train_labels": y}
    return {**names, "dataset": x, "target": (y > 0).astype(np.int64), "group": group}


def saved(folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    for number in range(len(SIZES)):
        np.savez(folder / f"site-{number}.npz", **samples(number))
    return [f"file://{folder}/site-{number}.npz" for number in range(len(SIZES))]


def first_model() -> Array:
    import torch

    torch.manual_seed(0)
    linear = torch.nn.Linear(4, 3)
    return np.hstack([linear.weight.detach().numpy(), linear.bias.detach().numpy()[:, None]]).astype(np.float64)


def gradient(w: Array, data: Mapping[str, Array], start: int) -> Array:
    """Of the mean cross entropy over a batch of 8."""
    x = np.hstack([data["x"][start : start + 8], np.ones((8, 1))])
    scores = np.exp(x @ w.T)
    p = scores / scores.sum(axis=1, keepdims=True)
    p[np.arange(8), data["y"][start : start + 8]] -= 1
    return p.T @ x / 8


def descended(w: Array, data: Mapping[str, Array], steps: int, pull: Callable[[Array], Array]) -> Array:
    for step in range(steps):
        w = w - RATE * (gradient(w, data, step * 8 % len(data["x"])) + pull(w))
    return w


def scaffold() -> list[Array]:
    k, x, c, own, seen = 5, first_model(), np.zeros((3, 5)), [np.zeros((3, 5)) for _ in SIZES], []
    for _ in range(ROUNDS):
        moves, changes = [], []
        for number, size in enumerate(SIZES):
            share = size / sum(SIZES) * len(SIZES)
            correction = -own[number] + c / share
            y = descended(x, samples(number), k, lambda w, v=correction: v)
            new = own[number] - c + (x - y) / (k * RATE)
            moves.append(y - x)
            changes.append((new - own[number]) * share)
            own[number] = new
        x, c = x + sum(moves) / len(SIZES), c + sum(changes) / len(SIZES)
        seen.append(x)
    return seen


def feddyn() -> list[Array]:
    cloud, kept, seen = first_model(), [np.zeros((3, 5)) for _ in SIZES], []
    for _ in range(ROUNDS):
        moves = []
        for number, size in enumerate(SIZES):
            alpha = 0.1 / (size / sum(SIZES) * len(SIZES))
            pull = lambda w, a=alpha, g=kept[number], sent=cloud: a * w + a * (g - sent)  # noqa: E731
            end = descended(cloud, samples(number), 2 * size // 8, pull)
            moves.append(end - cloud)
            kept[number] = kept[number] + end - cloud
        seen.append(cloud + sum(moves) / len(SIZES))
        cloud = seen[-1] + sum(kept) / len(SIZES)
    return seen


def sums(models: list[Array]) -> Array:
    """Of the first two rows of weights, as the programs keep them: shape (rounds, 2)."""
    return np.array([model[:2, :4].sum(axis=1) for model in models])


def first_bias() -> float:
    """The difference of the mean probabilities of two groups over all samples."""
    import torch

    torch.manual_seed(0)
    linear = torch.nn.Linear(4, 2)
    data = [samples(number) for number in range(len(SIZES))]
    x, group = (np.concatenate([each[name] for each in data]) for name in ("dataset", "group"))
    p = torch.softmax(linear(torch.tensor(x)), dim=1)[:, 1].detach().numpy().astype(np.float64)
    return float(p[group == 0].mean() - p[group == 1].mean())


def adagrad() -> list[Array]:
    sent, x, v, seen = first_model(), None, np.zeros((3, 5)), []
    for _ in range(ROUNDS):
        ends = [descended(sent, samples(n), 2 * size // 8, np.zeros_like) for n, size in enumerate(SIZES)]
        mean = sum(size / sum(SIZES) * end for size, end in zip(SIZES, ends, strict=True))
        if x is None:
            x = mean
        else:
            d = mean - x
            v = v + d**2
            x = x + 0.1 * d / (np.sqrt(v) + 0.01)
        sent = x
        seen.append(x)
    return seen
