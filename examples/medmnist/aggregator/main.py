"""The aggregator: after each round it tests the shared model on images that no hospital has."""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator

logger = logging.getLogger(__name__)
EXAMPLE = Path(__file__).resolve().parent.parent


class CNN(nn.Module):
    """Two convolutions with batch normalisation, then a linear layer: 28x28x3 pixels to one of 9 classes."""

    def __init__(self, num_classes=9):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, kernel_size=3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size=3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.fc = nn.Linear(16 * 7 * 7, num_classes)

    def forward(self, x):
        return self.fc(self.features(x).flatten(1))


class MedMnistAggregator(TopAggregator):
    """Averages what the hospitals learned."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset = None

    def load_data(self) -> None:
        with np.load(EXAMPLE / "data" / "test.npz") as file:
            images = torch.from_numpy(file["test_images"]).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
            labels = torch.from_numpy(file["test_labels"][:, 0]).long()
        self.dataset = Dataset(x=images, y=labels)

    def initialize(self) -> None:
        self.model = CNN()

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        self.model.eval()
        images, labels = self.dataset.get()
        with torch.no_grad():
            output = torch.cat([self.model(batch) for batch in images.split(256)])
        accuracy = (output.argmax(1) == labels).float().mean().item()
        loss = nn.functional.cross_entropy(output, labels).item()
        logger.info("test accuracy %.3f, loss %.3f", accuracy, loss)
        self.update_metrics({"test-accuracy": accuracy, "test-loss": loss})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Med-MNIST aggregator")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    aggregator = MedMnistAggregator(Config(args.config))
    aggregator.compose()
    aggregator.run()
