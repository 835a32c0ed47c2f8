"""Stopped and resumed is uninterrupted, whatever the mode, the algorithm and the privacy; hosts may change between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_algorithms
import test_async
import test_clustered
import test_coordinated
import test_simulated_time
import test_vertical
from test_resume import BUFFER, PLAIN, SITES, TREE, same, settings

import flame

Run = Callable[..., Any]

DP = {"privacy.sort": "dp", "privacy.kwargs": {"clip_threshold": 1.0, "noise_factor": 0.1}}
CENTRAL = {"privacy.sort": "dp", "privacy.kwargs": {"clip_threshold": 1.0, "noise_multiplier": 1.0, "at": "server"}}
POISSON = {"selector.sort": "poisson", "selector.kwargs": {"rate": 0.5}}
FIRST = {"gate.sort": "first", "gate.kwargs": {"k": 1}}
SLOW = {"hyperparameters.simulatedTime": test_simulated_time.HEAVY}


def plain(job: dict[str, Any], **changes: Any) -> Run:
    return lambda out, **more: flame.run(**{"out": out, "seed": 7, **settings(job, **changes), **more})


def algorithm(which: str) -> Run:
    return lambda out, **more: test_algorithms.run(out, which, **more)


def personal(out: Path, **more: Any) -> Any:
    """Layers that stay with their trainer."""
    chosen = {"optimizer": {"sort": "fedper", "kwargs": {"personal": "own.*"}}}
    roles = {"trainer": test_algorithms.Own, "aggregator": test_algorithms.Top}
    return flame.run(roles=roles, data=test_algorithms.SITES, settings=chosen, out=out, **more)


def coordinated(roles: Any, **chosen: Any) -> Run:
    return lambda out, **more: test_coordinated.coordinated(out, roles, **{**chosen, **more})


def vertical(out: Path, *, rounds: int, hosts: int, **more: Any) -> Any:
    numbers = {"rounds": rounds, "batchSize": test_vertical.BATCH}
    return test_vertical.run(out, hosts=hosts, settings={"hyperparameters": numbers}, **more)


def clustered(out: Path, *, rounds: int, **more: Any) -> Any:
    roles = {"trainer": test_clustered.Site, "aggregator": test_clustered.Server}
    data = [test_clustered.site(number) for number in range(6)]
    return flame.run(
        roles=roles, data=data, tag=flame.tag.template("clustered", clusters=2), rounds=rounds, out=out, **more
    )


RUNS: dict[str, Run] = {
    **{which: algorithm(which) for which in test_algorithms.PAPERS if which not in ("fedavg", "fedper")},
    "fedper": personal,
    "local privacy": plain(PLAIN, **DP),
    "privacy at the server": plain(PLAIN, **CENTRAL, **POISSON),
    "poisson": plain(PLAIN, **POISSON),
    "simulated time": plain(PLAIN, **SLOW),
    "simulated time, async": plain(BUFFER, **SLOW),
    "simulated time in a tree": plain(TREE, **SLOW),
    "racing": plain(PLAIN, **SLOW, **FIRST),
    "racing in a tree": plain(TREE, **SLOW, **FIRST),
    "racing, equally long": plain(PLAIN, **FIRST),
    "oort": plain(PLAIN, **SLOW, **{"selector.sort": "oort", "selector.kwargs": {"aggr_num": 2, "over_commit": 2}}),
    "power of choice": plain(PLAIN, **{"selector.sort": "power-of-choice", "selector.kwargs": {"k": 2, "d": 4}}),
    "async in a tree": lambda out, **more: flame.run(
        trainer=test_async.Site,
        roles={"top-aggregator": test_async.Buffered, "middle-aggregator": test_async.BufferedRegion},
        tag="hierarchical",
        data={"eu": SITES[:3], "na": SITES[3:]},
        settings=test_async.settings(2, 2),
        out=out,
        **more,
    ),
    "coordinated": coordinated(test_coordinated.SYNC),
    "coordinated in four tiers": coordinated(test_coordinated.DEEP),
    "coordinated cohorts": coordinated(
        test_coordinated.SYNC, settings={"selector": {"sort": "random", "kwargs": {"k": 3}}}
    ),
    "coordinated, async": coordinated(test_coordinated.ASYNC, settings=test_async.settings(2, 2)),
    "clustered": clustered,
    "vertical": vertical,
    "parallel": plain({**PLAIN, "tag": "parallel"}),
}


@pytest.mark.parametrize("begin", RUNS.values(), ids=RUNS)
def test_stopped_and_resumed_is_uninterrupted(tmp_path: Path, begin: Run) -> None:
    whole, part = begin(tmp_path / "whole", rounds=6, hosts=0), tmp_path / "part"
    begin(part, rounds=2, hosts=0, checkpoint=1)
    begin(part, rounds=3, hosts=2, resume=part)
    resumed = begin(part, rounds=6, hosts=0, resume=part)
    same(resumed, whole)
    others = sorted(path.name for path in (tmp_path / "whole" / "models").glob("*"))
    assert sorted(path.name for path in (part / "models").glob("*")) == others
    for name in others:
        assert (part / "models" / name).read_bytes() == (tmp_path / "whole" / "models" / name).read_bytes()
