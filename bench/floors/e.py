"""Floor of E: ten thousand updates of a thousand numbers a round, summed in a loop; nothing is sent."""

from __future__ import annotations

import time

import numpy as np

from bench.floors.report import say

WORKERS, ROUNDS, LENGTH = 10_000, 10, 1_000


def main() -> None:
    """Run the rounds and say how long they took."""
    model = np.zeros(LENGTH, np.float32)
    marks = [time.time()]
    for _ in range(ROUNDS):
        total, samples = np.zeros(LENGTH, np.float64), 0
        for _ in range(WORKERS):
            mine = model.copy()
            total += mine - model
            samples += 1
        model += (total / samples).astype(np.float32)
        marks.append(time.time())
    say(marks)


if __name__ == "__main__":
    main()
