"""A hospital: shares a summary of its values, then answers how many of them are at most this or that."""

import argparse

import numpy as np

from flame.common.util import get_dataset_filename
from flame.config import Config
from flame.mode.composer import Composer
from flame.mode.function import receives, sends
from flame.mode.role import Role
from flame.mode.tasklet import Loop, Tasklet


class Hospital(Role):
    """Its values never leave it: only counts, one sum and two bounds do."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.question = []

    def load_data(self) -> None:
        self.values = np.loadtxt(get_dataset_filename(self.config.dataset))

    def initialize(self) -> None:
        pass

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        pass

    @sends("shareSummary", to="collectSummaries")
    def share_summary(self, channel) -> None:
        least, most = float(self.values.min()), float(self.values.max())
        summary = {"count": len(self.values), "sum": float(self.values.sum()), "min": least, "max": most}
        channel.send(channel.one_end(), summary)

    @receives("hearQuestion", frm="askQuestion")
    def hear_question(self, channel) -> None:
        self.question, _ = channel.recv(channel.one_end())

    @sends("shareCounts", to="collectCounts")
    def share_counts(self, channel) -> None:
        counts = [int((self.values <= edge).sum()) for edge in self.question]
        channel.send(channel.one_end(), counts)

    def compose(self) -> None:
        with Composer() as self.composer:
            join = Tasklet("internal_init", self.internal_init)
            load = Tasklet("load_data", self.load_data)
            share = Tasklet("share_summary", self.call, "shareSummary")
            hear = Tasklet("hear_question", self.call, "hearQuestion")
            answer = Tasklet("share_counts", self.call, "shareCounts")
            until_no_question = Loop(loop_check_fn=lambda: self.question is None)
            join >> load >> share >> until_no_question(hear >> answer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a hospital that answers questions")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    hospital = Hospital(Config(args.config))
    hospital.compose()
    hospital.run()
