"""A hospital: trains the shared model on images that never leave it."""

import argparse
import logging

import numpy as np
import torch
from torch import nn

from flame.common.util import get_dataset_filename
from flame.config import Config
from flame.mode.horizontal.trainer import Trainer

logger = logging.getLogger(__name__)


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


def tensors(file, split):
    """The images of one split as floats in [-1, 1], channels first, and their labels."""
    images = torch.from_numpy(file[f"{split}_images"]).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
    return images.contiguous(), torch.from_numpy(file[f"{split}_labels"][:, 0]).long()


class MedMnistTrainer(Trainer):
    """Trains with Adam and reports how it does on the hospital's own validation images."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.criterion = None

    def load_data(self) -> None:
        with np.load(get_dataset_filename(self.config.dataset)) as file:
            self.images, self.labels = tensors(file, "train")
            self.val_images, self.val_labels = tensors(file, "val")
        self.dataset_size = len(self.labels)

    def initialize(self) -> None:
        self.model = CNN()
        self.criterion = nn.CrossEntropyLoss()

    def train(self) -> None:
        settings = self.config.hyperparameters
        optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        self.model.train()
        total = 0.0
        for _ in range(settings.epochs):
            for batch in torch.randperm(self.dataset_size).split(settings.batch_size):
                optimizer.zero_grad()
                loss = self.criterion(self.model(self.images[batch]), self.labels[batch])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
        self.update_metrics({"train-loss": total / (settings.epochs * self.dataset_size)})

    def evaluate(self) -> None:
        self.model.eval()
        with torch.no_grad():
            correct = (self.model(self.val_images).argmax(1) == self.val_labels).float().mean().item()
        self.update_metrics({"val-accuracy": correct})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Med-MNIST trainer")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    trainer = MedMnistTrainer(Config(args.config))
    trainer.compose()
    trainer.run()
