"""The statistician: finds the mean, a histogram and exact quantiles of values that it never sees."""

import argparse

import numpy as np

from flame.config import Config
from flame.mode.composer import Composer
from flame.mode.function import receives, sends
from flame.mode.role import Role
from flame.mode.tasklet import Loop, Tasklet


class Statistician(Role):
    """First asks for the histogram's bins, then closes in on every quantile at once, by halving."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.histogram = None

    def load_data(self) -> None:
        pass

    def initialize(self) -> None:
        pass

    def train(self) -> None:
        pass

    def evaluate(self) -> None:
        pass

    @receives("collectSummaries", frm="shareSummary")
    def collect_summaries(self, channel) -> None:
        summaries = [summary for summary, _ in channel.recv_fifo(channel.ends())]
        self.count = sum(summary["count"] for summary in summaries)
        self.mean = sum(summary["sum"] for summary in summaries) / self.count
        least, most = min(s["min"] for s in summaries), max(s["max"] for s in summaries)
        settings = self.config.hyperparameters
        self.edges = np.linspace(least, most, settings.bins + 1)
        # The wanted value is the smallest that has `ranks` values at or below it; it lies in (below, at].
        self.ranks = np.ceil(np.array(settings.quantiles) * self.count)
        self.below, self.at = np.full(len(self.ranks), least - 1), np.full(len(self.ranks), most)
        self.question = self.edges[1:]

    @sends("askQuestion", to="hearQuestion")
    def ask_question(self, channel) -> None:
        channel.broadcast(None if self.found() else self.question.tolist())

    @receives("collectCounts", frm="shareCounts")
    def collect_counts(self, channel) -> None:
        at_most = sum(np.array(counts) for counts, _ in channel.recv_fifo(channel.ends()))
        if self.histogram is None:
            self.histogram = np.diff(at_most, prepend=0)
        else:
            enough = at_most >= self.ranks
            self.at = np.where(enough, self.question, self.at)
            self.below = np.where(enough, self.below, self.question)
        self.question = (self.below + self.at) // 2

    def found(self) -> bool:
        """Whether no whole number is left between the bounds: ages are whole numbers."""
        return self.histogram is not None and bool((self.at - self.below <= 1).all())

    def report(self) -> None:
        quantiles = dict(zip(self.config.hyperparameters.quantiles, self.at.tolist(), strict=True))
        print(f"{self.count} values, mean {self.mean:.3f}")
        for left, right, inside in zip(self.edges, self.edges[1:], self.histogram, strict=False):
            print(f"  {left:5.1f} to {right:5.1f}  {inside:4d}  {'#' * int(inside // 5)}")
        for share, value in quantiles.items():
            print(f"  {share:4.0%} of them are at most {value:g}")
        bins = {f"bin-{number}": int(inside) for number, inside in enumerate(self.histogram)}
        self.update_metrics({"count": self.count, "mean": self.mean} | bins)
        self.update_metrics({f"quantile-{share:g}": value for share, value in quantiles.items()})
        self.save_metrics()

    def compose(self) -> None:
        with Composer() as self.composer:
            join = Tasklet("internal_init", self.internal_init)
            collect = Tasklet("collect_summaries", self.call, "collectSummaries")
            ask = Tasklet("ask_question", self.call, "askQuestion")
            count = Tasklet("collect_counts", self.call, "collectCounts")
            finish = Tasklet("no_more_questions", self.call, "askQuestion")
            report = Tasklet("report", self.report)
            join >> collect >> Loop(loop_check_fn=self.found)(ask >> count) >> finish >> report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a statistician")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    statistician = Statistician(Config(args.config))
    statistician.compose()
    statistician.run()
