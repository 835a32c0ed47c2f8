"""Workload N: workload B as separate programs over a network, each started by itself with a config.json.

Four clients return a model, over p2p (connections on loopback) or MQTT (mosquitto on loopback). Nothing is trained.
The floor is a loop over plain TCP sockets that moves the same bytes and does the same sum (`bench.floors.b tcp`).
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.workloads import floor_side

HERE = Path(__file__).resolve().parent
CHANNEL = {
    "name": "param-channel",
    "pair": ["trainer", "aggregator"],
    "groupBy": {"type": "tag", "value": ["default"]},
    "funcTags": {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]},
}


CLIENTS, ROUNDS = 4, 6
LARGE, MIDDLE, SMALL = 25_000_000, 1_000_000, 1_000


def measure() -> dict[str, Any]:
    """Workload N as an object of results.json."""
    with tempfile.TemporaryDirectory(prefix="flame-bench-") as folder:
        scratch = Path(folder)
        measured = {
            f"{transport} {numbers:,}": run(
                transport, scratch, numbers=numbers, arrays=20, clients=CLIENTS, rounds=ROUNDS
            )
            for transport in ("p2p", "mqtt")
            for numbers in (LARGE, MIDDLE, SMALL)
        }
        floor = asdict(floor_side(("b", "tcp"), scratch))
    large, effective = measured[f"p2p {LARGE:,}"], 2 * CLIENTS * 4 * LARGE / 300e6
    rows = [
        ("a round of 100 MB models over p2p / plain TCP", large["round_s"] / floor["round_s"], 1.5, " x"),
        ("the aggregator's memory / its model, p2p", large["peak"] / (4 * LARGE), 2.5, " x"),
        ("a round of 4 MB models over p2p", measured[f"p2p {MIDDLE:,}"]["round_s"], 0.05, " s"),
        ("a client-round of small models, p2p", measured[f"p2p {SMALL:,}"]["round_s"] / CLIENTS * 1e3, 1, " ms"),
        ("a client-round of small models, mqtt", measured[f"mqtt {SMALL:,}"]["round_s"] / CLIENTS * 1e3, 1, " ms"),
        ("a round of 100 MB models over mqtt at 300 MB/s", measured[f"mqtt {LARGE:,}"]["round_s"], effective, " s"),
    ]
    return {
        "workload": "N",
        "what": "workload B as separate programs over p2p and mqtt",
        "measured": measured,
        "other_floors": {"plain TCP": floor},
        "targets": [
            {"what": what, "measured": value, "limit": limit, "unit": unit, "met": value <= limit}
            for what, value, limit, unit in rows
        ],
    }


def run(transport: str, scratch: Path, *, numbers: int, arrays: int, clients: int, rounds: int) -> dict[str, Any]:
    """Run the programs; seconds per round (median), and the aggregator's peak memory in bytes."""
    with broker(transport, scratch) as address:
        size = {"rounds": rounds, "numbers": numbers, "arrays": arrays, "minPeers": clients}
        programs = [start("aggregator", 0, transport, address, scratch, size)]
        programs += [start("trainer", number, transport, address, scratch, size) for number in range(clients)]
        try:
            out, _ = programs[0].communicate(timeout=60)
            for program in programs[1:]:
                program.wait(60)
        finally:
            for program in programs:
                program.kill()
        said = json.loads(out.splitlines()[-1])
    return {"round_s": statistics.median(said["rounds_s"]), "peak": said["peak"], "rounds_s": said["rounds_s"]}


def start(
    role: str, number: int, transport: str, address: str, scratch: Path, hyperparameters: dict[str, int]
) -> subprocess.Popen[str]:
    """Start one program."""
    config = {
        "taskid": f"{role}-{number}",
        "role": role,
        "realm": "",
        "backend": transport,
        "brokers": [{"sort": transport, "host": address}],
        "groupAssociation": {"param-channel": "default"},
        "channels": [CHANNEL],
        "hyperparameters": hyperparameters,
        "job": {"id": "bench", "name": "bench"},
        "selector": {"sort": "default", "kwargs": {}},
        "registry": {"sort": "dummy", "uri": ""},
    }
    path = scratch / f"{role}-{number}.json"
    path.write_text(json.dumps(config))
    return subprocess.Popen(
        [sys.executable, str(HERE / "b_transfer" / role / "main.py"), str(path)], stdout=subprocess.PIPE, text=True
    )


@contextmanager
def broker(transport: str, scratch: Path) -> Iterator[str]:
    """What the programs meet at; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flame = str(Path(sys.executable).with_name("flame"))
    commands = {"p2p": [flame, "rendezvous", "--listen", address], "mqtt": mosquitto(address, scratch)}
    process = subprocess.Popen(commands[transport], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not answers(address):
            time.sleep(0.02)
        yield address
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    """Whether somebody listens."""
    host, port = address.split(":")
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) == 0


def mosquitto(address: str, scratch: Path) -> list[str]:
    """The command of a broker without limits."""
    host, port = address.split(":")
    lines = [f"listener {port} {host}", "allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0"]
    (scratch / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    return [shutil.which("mosquitto", path="/usr/sbin:/usr/bin") or "mosquitto", "-c", str(scratch / "mosquitto.conf")]
