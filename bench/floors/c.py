"""Floor of C: a hundred of a thousand clients a round, one after the other in one process, plain PyTorch."""

from __future__ import annotations

import random
import time

import torch

from bench.floors.report import say
from bench.models import Mlp, digits, fit

CLIENTS, SAMPLED, ROUNDS = 1_000, 100, 10


def main() -> None:
    """Run the rounds and say how long they took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    shared = {name: tensor.clone() for name, tensor in Mlp().state_dict().items()}
    data = {}
    digits(0)  # reads the file, once
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    marks = [time.time()]
    for _ in range(ROUNDS):
        total = {name: torch.zeros_like(tensor) for name, tensor in shared.items()}
        for client in random.sample(range(CLIENTS), SAMPLED):
            if client not in data:
                data[client] = Mlp(), digits(client)
            model, samples = data[client]
            model.load_state_dict(shared)
            fit(model, *samples, 10, torch.optim.SGD(model.parameters(), lr=0.1))
            for name, tensor in model.state_dict().items():
                total[name].add_(tensor - shared[name], alpha=1 / SAMPLED)
        for name, tensor in shared.items():
            tensor.add_(total[name])
        marks.append(time.time())
    say(marks)


if __name__ == "__main__":
    main()
