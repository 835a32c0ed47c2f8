"""The models and data of the workloads, shared by the Flame programs and the floors: both do the same work."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional


class Cnn(nn.Module):
    """Workload A: conv 3-6-16, batch norm, ReLU, pool, one linear layer; images (3, 28, 28), 9 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Linear(16 * 7 * 7, 9)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n, 9)."""
        return self.head(self.features(images).flatten(1))


class Mlp(nn.Module):
    """Workload C: 64-32-10."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, digits: Tensor) -> Tensor:
        """Logits of shape (n, 10)."""
        return self.out(functional.relu(self.hidden(digits)))


def images(site: int, count: int = 500) -> tuple[Tensor, Tensor]:
    """Random images (count, 3, 28, 28) float32 and labels (count,) int64 of one site."""
    generator = torch.Generator().manual_seed(site)
    return (
        torch.randn(count, 3, 28, 28, generator=generator),
        torch.randint(0, 9, (count,), generator=generator),
    )


@cache
def _all_digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)


def digits(site: int, count: int = 20) -> tuple[Tensor, Tensor]:
    """Twenty handwritten digits, drawn with replacement: (count, 64) float32 and labels (count,) int64."""
    pixels, labels = _all_digits()
    rows = torch.randint(0, len(labels), (count,), generator=torch.Generator().manual_seed(site))
    return pixels[rows], labels[rows]


def fit(model: nn.Module, inputs: Tensor, labels: Tensor, batch: int, optimizer: torch.optim.Optimizer) -> float:
    """One pass over the samples in batches, in a fresh random order; the mean loss."""
    model.train()
    order = torch.randperm(len(labels))
    total = 0.0
    for start in range(0, len(labels), batch):
        rows = order[start : start + batch]
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(labels)
