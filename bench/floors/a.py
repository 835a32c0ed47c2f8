"""Floor of A: ten clients' training on both cores in plain PyTorch, averaged through shared memory.

Two processes forked from one that has imported torch; each trains five of the ten clients in turn with one
torch thread. A client's state lands in a shared block; after a barrier the parent averages and the next round
begins.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier

import torch

from bench.floors.report import say
from bench.models import Cnn, fit, images

CLIENTS, ROUNDS, PROCESSES = 10, 10, 2


def flat(model: torch.nn.Module) -> torch.Tensor:
    """All of a model's state as one float32 vector."""
    return torch.cat([tensor.detach().reshape(-1).float() for tensor in model.state_dict().values()])


def load(model: torch.nn.Module, vector: torch.Tensor) -> None:
    """Write a vector made by `flat` back into a model."""
    state, at = model.state_dict(), 0
    for tensor in state.values():
        tensor.copy_(vector[at : at + tensor.numel()].reshape(tensor.shape))
        at += tensor.numel()


def work(mine: range, shared: torch.Tensor, answers: torch.Tensor, begin: Barrier, end: Barrier) -> None:
    """Train the clients `mine`, once each a round, from the shared model into their row of `answers`."""
    torch.set_num_threads(1)
    data = {client: images(client) for client in mine}
    models = {client: Cnn() for client in mine}
    for _ in range(ROUNDS):
        begin.wait()
        for client in mine:
            model = models[client]
            load(model, shared)
            fit(model, *data[client], 32, torch.optim.Adam(model.parameters(), lr=1e-3))
            answers[client] = flat(model)
        end.wait()


def main() -> None:
    """Run the rounds and say how long they took."""
    torch.set_num_threads(1)
    shared = flat(Cnn()).share_memory_()
    answers = torch.zeros(CLIENTS, len(shared)).share_memory_()
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports what an optimizer needs, once, before the fork
    context = multiprocessing.get_context("fork")
    begin, end = context.Barrier(PROCESSES + 1), context.Barrier(PROCESSES + 1)
    workers = [
        context.Process(target=work, args=(range(at, CLIENTS, PROCESSES), shared, answers, begin, end))
        for at in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    marks = [time.time()]
    for _ in range(ROUNDS):
        begin.wait()
        end.wait()
        shared.copy_(answers.mean(dim=0))
        marks.append(time.time())
    for worker in workers:
        worker.join()
    say(marks)


if __name__ == "__main__":
    main()
