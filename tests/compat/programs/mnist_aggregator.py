"""A torch aggregator in the shape of upstream's mnist, hier_mnist and eager_hier_mnist examples."""

import argparse
import json
import logging

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.horizontal.top_aggregator import TopAggregator

logger = logging.getLogger(__name__)


class Net(nn.Module):
    """As the trainers have it."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1)
        self.dropout1 = nn.Dropout(0.1)
        self.fc1 = nn.Linear(36, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = self.dropout1(torch.flatten(x, 1))
        return F.log_softmax(self.fc1(x), dim=1)


class PyTorchMnistAggregator(TopAggregator):
    """PyTorch Mnist Aggregator."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset: Dataset = None

        self.device = None
        self.test_loader = None
        self.losses = []

    def initialize(self) -> None:
        """Initialize role."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = Net().to(self.device)

    def load_data(self) -> None:
        """Load a test dataset."""
        patterns = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(100) % 10
        images = patterns[labels] + 0.5 * torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(99))
        self.test_loader = DataLoader(TensorDataset(images, labels), batch_size=50)
        # store data into dataset for analysis (e.g., bias)
        self.dataset = Dataset(dataloader=self.test_loader)

    def train(self) -> None:
        """Train a model."""
        # Implement this if testing is needed in aggregator

    def evaluate(self) -> None:
        """Evaluate (test) a model."""
        self.model.eval()
        test_loss, correct = 0, 0
        with torch.no_grad():
            for data, target in self.test_loader:
                data, target = data.to(self.device), target.to(self.device)
                output = self.model(data)
                test_loss += F.nll_loss(output, target, reduction="sum").item()
                pred = output.argmax(dim=1, keepdim=True)
                correct += pred.eq(target.view_as(pred)).sum().item()

        total = len(self.test_loader.dataset)
        test_loss /= total
        logger.info(f"Test loss: {test_loss}")
        logger.info(f"Test accuracy: {correct}/{total} ({correct / total})")

        # update metrics after each evaluation so that the metrics can be logged in a model registry.
        self.update_metrics({"test-loss": test_loss, "test-accuracy": correct / total})
        self.losses.append(test_loss)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    a = PyTorchMnistAggregator(config)
    a.compose()
    a.run()
    print(json.dumps(a.losses))
