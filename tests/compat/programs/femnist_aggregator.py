"""An aggregator whose chain is written after the `with` block, in the shape of upstream's femnist example."""

import argparse
import json

import torch
from torch import nn

from flame.config import Config
from flame.dataset import Dataset
from flame.mode.composer import Composer
from flame.mode.horizontal.syncfl.top_aggregator import TAG_AGGREGATE, TAG_DISTRIBUTE, TopAggregator
from flame.mode.tasklet import Loop, Tasklet


class Net(nn.Module):
    """A residual net of one block; its normalisation counts batches in an integer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.block = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = x + torch.relu(self.block(x))
        return self.fc(x.mean(dim=(2, 3)))


class FemnistAggregator(TopAggregator):
    """Counts how often it loads: once in every round."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model = None
        self.dataset: Dataset = None
        self.device = torch.device("cpu")
        self.partition_id = 0
        self.loads, self.counters = 0, []

    def initialize(self) -> None:
        self.model = Net().to(self.device)

    def load_data(self) -> None:
        self.loads += 1

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        self.counters.append(int(self.model.norm.num_batches_tracked))
        self.update_metrics({"batches": self.counters[-1]})

    def compose(self) -> None:
        with Composer() as composer:
            self.composer = composer

            task_internal_init = Tasklet("internal_init", self.internal_init)
            task_init = Tasklet("initialize", self.initialize)
            task_load_data = Tasklet("load_data", self.load_data)
            task_put = Tasklet("distribute", self.put, TAG_DISTRIBUTE)
            task_get = Tasklet("aggregate", self.get, TAG_AGGREGATE)
            task_train = Tasklet("train", self.train)
            task_eval = Tasklet("evaluate", self.evaluate)
            task_analysis = Tasklet("analysis", self.run_analysis)
            task_save_metrics = Tasklet("save_metrics", self.save_metrics)
            task_increment_round = Tasklet("inc_round", self.increment_round)
            task_end_of_training = Tasklet("inform_end_of_training", self.inform_end_of_training)
            task_save_params = Tasklet("save_params", self.save_params)
            task_save_model = Tasklet("save_model", self.save_model)

        loop = Loop(loop_check_fn=lambda: self._work_done)
        (
            task_internal_init
            >> task_init
            >> loop(
                task_load_data
                >> task_put
                >> task_get
                >> task_train
                >> task_eval
                >> task_analysis
                >> task_save_metrics
                >> task_increment_round
            )
            >> task_end_of_training
            >> task_save_params
            >> task_save_model
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    a = FemnistAggregator(config)
    a.compose()
    a.run()
    assert a.loads in (len(a.counters), len(a.counters) + 1)
    print(json.dumps(a.counters))
