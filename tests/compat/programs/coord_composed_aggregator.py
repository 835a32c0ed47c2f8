"""A coordinated top whose chain is written after the `with` block, in the shape of upstream's femnist example."""

import argparse
import json

import numpy as np

from flame.config import Config
from flame.mode.composer import Composer
from flame.mode.horizontal.coord_syncfl.top_aggregator import TAG_AGGREGATE, TAG_DISTRIBUTE, TopAggregator
from flame.mode.tasklet import Loop, Tasklet


class ComposedAggregator(TopAggregator):
    """Counts how often it loads."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model, self.dataset, self.diary = None, None, []

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        self.model = [np.zeros((2, 2), np.float32), np.zeros(3, np.float32)]

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        self.diary.append(float(self.model[1][0]))

    def compose(self) -> None:
        with Composer() as composer:
            self.composer = composer

            task_internal_init = Tasklet("internal_init", self.internal_init)
            task_init = Tasklet("initialize", self.initialize)
            task_load_data = Tasklet("load_data", self.load_data)
            task_get_coord_ends = Tasklet("get_coord_ends", self.get_coordinated_ends)
            task_put = Tasklet("distribute", self.put, TAG_DISTRIBUTE)
            task_get = Tasklet("aggregate", self.get, TAG_AGGREGATE)
            task_train = Tasklet("train", self.train)
            task_eval = Tasklet("evaluate", self.evaluate)
            task_analysis = Tasklet("analysis", self.run_analysis)
            task_save_metrics = Tasklet("save_metrics", self.save_metrics)
            task_increment_round = Tasklet("inc_round", self.increment_round)
            task_save_params = Tasklet("save_params", self.save_params)
            task_save_model = Tasklet("save_model", self.save_model)

        loop = Loop(loop_check_fn=lambda: self._work_done)
        (
            task_internal_init
            >> task_init
            >> loop(
                task_load_data
                >> task_get_coord_ends
                >> task_put
                >> task_get
                >> task_train
                >> task_eval
                >> task_analysis
                >> task_save_metrics
                >> task_increment_round
            )
            >> task_save_params
            >> task_save_model
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    aggregator = ComposedAggregator(config)
    aggregator.compose()
    aggregator.run()
    print(json.dumps(aggregator.diary))
