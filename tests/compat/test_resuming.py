"""An aggregator that is started by itself goes on from its own checkpoint; its trainers are started again and join."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from upstream import Machine, aggregator, finished, ok, trainer, until

KEEP = {"dir": "kept", "every": 2}


def hyper(**more: Any) -> dict[str, Any]:
    return {"rounds": 6, "minPeers": 2, **more}


def start(machine: Machine, work: float = 0.0) -> list[Any]:
    sites = [machine.start("trainer", trainer(hyper=hyper(learningRate=n, work=work)), f"site-{n}") for n in (1.0, 3.0)]
    return [machine.start("aggregator", aggregator(hyper=hyper(), checkpoint=KEEP), "top"), *sites]


def test_it_goes_on_after_its_last_checkpoint(machine: Machine) -> None:
    alone = ok(start(machine)[0])
    assert sorted(path.name for path in (machine.folder / "kept" / "checkpoints").iterdir()) == ["4", "6", "record"]
    for path in sorted((machine.folder / "kept").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    machine.sign("top", "round-5").unlink()
    top, *sites = start(machine, work=0.4)
    until(machine.sign("top", "round-5").exists, "the fifth round")
    top.send_signal(signal.SIGKILL)
    for process in (top, *sites):
        process.communicate(timeout=20)
    top, *sites = start(machine)
    status, diary, said = finished(top)
    assert (status, diary) == (0, alone[4:]), said
    assert "goes on after round 4" in said
    assert [[number for number, *_ in ok(site)] for site in sites] == [[5, 6], [5, 6]]
    again = machine.start("aggregator", aggregator(hyper=hyper(), checkpoint=KEEP), "top")
    for number in (1.0, 3.0):
        machine.start("trainer", trainer(hyper=hyper()), f"site-{number}")
    status, _, said = finished(again)
    assert status != 0 and "all 6 rounds are over" in said


def test_another_job_is_refused(machine: Machine) -> None:
    ok(start(machine)[0])
    other = aggregator(hyper=hyper(), checkpoint=KEEP, optimizer={"sort": "fedadam", "kwargs": {}})
    top = machine.start("aggregator", other, "top")
    status, _, said = finished(top)
    assert status != 0 and 'optimizer.sort was "fedavg" and is "fedadam"' in said


def test_a_trainer_has_none(machine: Machine, tmp_path: Path) -> None:
    site = machine.start("trainer", json.loads(json.dumps({**trainer(), "checkpoint": KEEP})), "site")
    status, _, said = finished(site)
    assert status != 0 and "give it to the worker at the top alone" in said
