"""A party with columns of its own, which tells how far it is, and holds where it is told to."""

import json
import sys
from pathlib import Path

import numpy as np
from tidy import hold, leaves_nothing

from flame.config import Config
from flame.mode.vertical.feature_holder import FeatureHolder


class Columns(FeatureHolder):
    """One column; its part of the model is one weight."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.more = config.hyperparameters.to_dict()

    def load_data(self) -> None:
        self.ids, self.x = range(self.more["first"], 20), np.arange(self.more["first"], 20.0)

    def initialize(self) -> None:
        self.model = {"w": np.zeros(1)}

    def forward(self, rows: np.ndarray) -> np.ndarray:
        Path(f"{self.config.task_id}.epoch-{self._round}").touch()
        hold(self.config.task_id, self.more.get("holdIn", 0), self._round)
        self.seen = self.x[rows]
        return (self.seen * self.model["w"])[:, None]

    def backward(self, gradient: np.ndarray) -> None:
        self.model["w"] -= 0.003 * self.seen @ gradient[:, 0]


if __name__ == "__main__":
    with leaves_nothing():
        columns = Columns(Config(sys.argv[1]))
        columns.compose()
        columns.run()
    print(json.dumps(columns.model["w"].tolist()))
