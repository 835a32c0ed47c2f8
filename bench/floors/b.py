"""Floors of B: the bytes alone. Four processes take 100 MB and give them back, five times; nothing is trained.

Twice: through shared memory (`python -m bench.floors.b`: one copy out of the broadcast model, one copy back,
one weighted sum), and over loopback TCP (`… tcp`: the same bytes through sockets, the same sum).
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import time
from multiprocessing import shared_memory
from multiprocessing.synchronize import Barrier

import numpy as np

from bench.floors.report import say

CLIENTS, ROUNDS, LENGTH = 4, 5, 25_000_000


def view(block: shared_memory.SharedMemory) -> np.ndarray:
    """The block as a vector of shape (25,000,000,) float32, no copy."""
    return np.ndarray(LENGTH, np.float32, block.buf)


def answer_in_memory(name: str, mine: str, begin: Barrier, end: Barrier) -> None:
    """A client: copy the model in, copy it out, five times."""
    model, out = shared_memory.SharedMemory(name), shared_memory.SharedMemory(mine)
    local = np.zeros(LENGTH, np.float32)
    for _ in range(ROUNDS):
        begin.wait()
        np.copyto(local, view(model))
        np.copyto(view(out), local)
        end.wait()
    model.close()
    out.close()


def through_memory() -> None:
    """Rounds through shared memory."""
    context = multiprocessing.get_context("fork")
    begin, end = context.Barrier(CLIENTS + 1), context.Barrier(CLIENTS + 1)
    blocks = [shared_memory.SharedMemory(create=True, size=4 * LENGTH) for _ in range(CLIENTS + 1)]
    clients = [
        context.Process(target=answer_in_memory, args=(blocks[0].name, block.name, begin, end)) for block in blocks[1:]
    ]
    for client in clients:
        client.start()
    total = np.zeros(LENGTH, np.float32)
    scratch = np.empty(1_000_000, np.float32)
    marks = [time.time()]
    for _ in range(ROUNDS):
        begin.wait()
        end.wait()
        total[:] = 0
        for block in blocks[1:]:
            add(view(block), total, scratch)
        np.copyto(view(blocks[0]), total)
        marks.append(time.time())
    for client in clients:
        client.join()
    for block in blocks:
        block.close()
        block.unlink()
    say(marks)


def add(answer: np.ndarray, total: np.ndarray, scratch: np.ndarray) -> None:
    """Add a client's share of the mean to the total."""
    for at in range(0, LENGTH, len(scratch)):
        np.multiply(answer[at : at + len(scratch)], 1 / CLIENTS, out=scratch)
        total[at : at + len(scratch)] += scratch


def answer_by_tcp(port: int) -> None:
    """A client: receive 100 MB, send them back, five times."""
    buffer = memoryview(bytearray(4 * LENGTH))
    with socket.create_connection(("127.0.0.1", port)) as link:
        for _ in range(ROUNDS):
            fill(link, buffer)
            link.sendall(buffer)


def fill(link: socket.socket, buffer: memoryview) -> None:
    """Receive until the buffer is full.

    Raises:
        EOFError: the other side went away.
    """
    at = 0
    while at < len(buffer):
        count = link.recv_into(buffer[at:])
        if not count:
            raise EOFError(f"{at} of {len(buffer)} bytes")
        at += count


def by_tcp() -> None:
    """Rounds over loopback TCP: the model to each client, then each one's answer."""
    context = multiprocessing.get_context("fork")
    model, answer = memoryview(bytearray(4 * LENGTH)), memoryview(bytearray(4 * LENGTH))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        clients = [context.Process(target=answer_by_tcp, args=(port,)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        links = [server.accept()[0] for _ in clients]
    total = np.zeros(LENGTH, np.float32)
    scratch = np.empty(1_000_000, np.float32)
    marks = [time.time()]
    for _ in range(ROUNDS):
        for link in links:
            link.sendall(model)
        total[:] = 0
        for link in links:
            fill(link, answer)
            add(np.frombuffer(answer, np.float32), total, scratch)
        np.copyto(np.frombuffer(model, np.float32), total)
        marks.append(time.time())
    for client, link in zip(clients, links, strict=True):
        client.join()
        link.close()
    say(marks)


if __name__ == "__main__":
    by_tcp() if sys.argv[1:] == ["tcp"] else through_memory()
