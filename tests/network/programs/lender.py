"""Sends one large update to whoever sits opposite, then lives until its input ends. Prints how much memory it took."""

import json
import sys

import numpy as np

from flame.backend.directory import Seat
from flame.backend.network import Network
from flame.backend.p2p import PeerToPeer
from flame.backend.peer import Me
from flame.backend.pool import Pool
from flame.channel.coding import CODING
from flame.weights.layout import Weights
from flame.wire.message import Update


class Deaf:
    def deliver(self, channel: str, source: str, message: object) -> None:
        pass


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    address, silence_s, elements = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    pool = Pool()
    me = Me("job", "B", silence_s=silence_s)
    network = Network(me, CODING, pool, lambda node, courier: PeerToPeer(node, courier, address))
    network.attach("B", Deaf())
    network.sit([Seat("c", "g", "y", "B")], [("c", "g", "x")])
    weights = Weights.pack({"w": np.arange(elements, dtype=np.float32)}, allocate=pool.allocate)
    opposite = network.directory.members("c", "g", "x")
    while not opposite.ends():
        network.poll(1.0)
    before = resident()
    network.send("c", "B", opposite.ends(), Update(weights, 1, 1))
    network.flush()
    print(json.dumps((resident() - before) >> 20), flush=True)
    sys.stdin.read()
    network.close()
