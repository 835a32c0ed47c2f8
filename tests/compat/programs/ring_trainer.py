"""A trainer of upstream's distributed and hybrid examples: they differ in the class that they subclass."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

import numpy as np

from flame.config import Config

if json.loads(Path(sys.argv[1]).read_text())["hyperparameters"].get("hybrid"):
    from flame.mode.hybrid.trainer import Trainer
else:
    from flame.mode.distributed.trainer import Trainer


class StepTrainer(Trainer):
    """Adds its learning rate to every weight."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.dataset_size = 0
        self.model = None
        self.hyper = config.hyperparameters.to_dict()
        self.learning_rate = self.config.hyperparameters.learning_rate or 1.0
        self.diary = []

    def load_data(self) -> None:
        self.told("loading")
        self.wait_for(self.hyper.get("loadWhen"))
        self.dataset_size = self.hyper["samples"]

    def initialize(self) -> None:
        large = np.zeros(self.hyper.get("large", 3), np.float32)
        self.model = [np.zeros((2, 2), np.float32), large]

    def train(self) -> None:
        self.told(f"round-{self._round}")
        self.hang("hangIn")
        self.wait_for(self.hyper.get("waitFor"))
        time.sleep(self.hyper.get("work", 0))
        for array in self.model:
            array += self.learning_rate
        self.update_metrics({"train-loss": 1.0 / self._round})

    def evaluate(self) -> None:
        values = {float(value) for array in self.model for value in array.flat}
        assert len(values) == 1
        self.diary.append([self._round, values.pop()])
        self.told(f"evaluated-{self._round}")
        self.hang("hangAfter")

    def meet(self) -> None:
        if self._round == 1 and self.hyper.get("blindUntil"):
            channel = self.cm.get_by_tag("ring_allreduce")
            sees = channel.lives
            channel.lives = lambda: sees() if self._round >= self.hyper["blindUntil"] else {}
        super().meet()

    def member_check(self) -> None:
        if self.hyper.get("dieTurning") == self._round:
            dies_in_the_ring(self, self.hyper.get("pieces", 1))
        super().member_check()

    def hang(self, when: str) -> None:
        if self.hyper.get(when) == self._round:
            signal.pause()

    def told(self, what: str) -> None:
        """Leave a sign for whoever watches."""
        Path(f"{self.config.task_id}.{what}").touch()

    def wait_for(self, sign: str | None) -> None:
        deadline = time.monotonic() + 90
        while sign and not Path(sign).exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)


def dies_in_the_ring(trainer: StepTrainer, pieces: int) -> None:
    """Be killed when so many messages of the ring have been received."""
    import os

    channel = trainer.cm.get_by_tag("ring_allreduce")
    take, seen = channel.take, []

    def counting(*args: object) -> object:
        message = take(*args)
        seen.append(message)
        if len(seen) == pieces:
            trainer.told("dies")
            os.kill(os.getpid(), signal.SIGKILL)
        return message

    channel.take = counting


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    trainer = StepTrainer(config)
    trainer.compose()
    trainer.run()
    print(json.dumps(trainer.diary))
