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
import test_cyclic
import test_gossip
import test_guided
import test_resume
import test_rings
import test_simulated_time
import test_vertical
import torch
from test_laws import ADAPTIVE
from test_resume import BUFFER, PLAIN, SITES, TORCH, TREE, same, settings

import flame
from flame.mode.horizontal.feddyn import top_aggregator as feddyn_top
from flame.mode.horizontal.feddyn import trainer as feddyn_trainer

Run = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("ignore:Secure RNG turned off:UserWarning")

DP = {"privacy.sort": "dp", "privacy.kwargs": {"clip_threshold": 1.0, "noise_factor": 0.1}}
CENTRAL = {"privacy.sort": "dp", "privacy.kwargs": {"clip_threshold": 1.0, "noise_multiplier": 1.0, "at": "server"}}
POISSON = {"selector.sort": "poisson", "selector.kwargs": {"rate": 0.5}}
FIRST = {"gate.sort": "first", "gate.kwargs": {"k": 3}}
WITHIN = {"gate.sort": "within", "gate.kwargs": {"seconds": 6.0}}
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


def gossip(tag: str) -> Run:
    return lambda out, **more: test_gossip.run(out, tag, **more)


def guided(sort: str, **chosen: Any) -> Run:
    return lambda out, **more: test_guided.run(out, sort, **{**chosen, **more})


class SizedSite(feddyn_trainer.Trainer):
    def load_data(self) -> None:
        self.dataset_size = len(self.data)

    def initialize(self) -> None:
        self.model = test_algorithms.model()

    def train(self) -> None:
        self.update_metrics(test_algorithms.train(self.model, self.data, self.regularizer))


class SizedServer(feddyn_top.TopAggregator):
    def initialize(self) -> None:
        self.model = test_algorithms.model()


def sized(out: Path, **more: Any) -> Any:
    """Everybody sends a size before it is asked, and three of five are asked in a round."""
    plain_tag = flame.tag.template("two-tier").to_dict()
    tags = plain_tag["channels"][0]["funcTags"]
    tags["trainer"], tags["aggregator"] = (
        ["uploadDatasetSize", *tags["trainer"]],
        ["getDatasetSize", *tags["aggregator"]],
    )
    chosen = {
        "optimizer": {"sort": "feddyn", "kwargs": {"alpha": 0.3}},
        "selector": {"sort": "random", "kwargs": {"k": 3}},
    }
    roles = {"trainer": SizedSite, "aggregator": SizedServer}
    tag = flame.tag.read(plain_tag)
    return flame.run(roles=roles, data=test_algorithms.SITES, tag=tag, settings=chosen, out=out, seed=7, **more)


def clustered(out: Path, *, rounds: int, **more: Any) -> Any:
    roles = {"trainer": test_clustered.Site, "aggregator": test_clustered.Server}
    data = [test_clustered.site(number) for number in range(6)]
    return flame.run(
        roles=roles, data=data, tag=flame.tag.template("clustered", clusters=2), rounds=rounds, out=out, **more
    )


def ringing(tag: str) -> Run:
    """Sites that draw their minibatches, in a ring or in two."""
    data: Any = {"eu": SITES[:2], "us": SITES[2:]} if tag == "hybrid" else SITES
    return lambda out, **more: flame.run(
        model=test_rings.random_model, train=test_rings.train, data=data, tag=tag, seed=7, out=out, **more
    )


class Private(flame.Trainer):
    """Trains with noise on every gradient, on batches that opacus draws."""

    data: Any

    def load_data(self) -> None:
        x, y = (torch.tensor(part, dtype=torch.float32) for part in self.data)
        self.loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=5, shuffle=True)
        self.dataset_size = len(y)

    def initialize(self) -> None:
        self.model = torch.nn.Linear(test_resume.FEATURES, 1)

    def train(self) -> None:
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        model, optimizer, loader = self.privacy.private(self.model, optimizer, self.loader)
        for x, y in loader:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x).squeeze(1), y).backward()
            optimizer.step()


class PrivateTop(flame.TopAggregator):
    def initialize(self) -> None:
        self.model = torch.nn.Linear(test_resume.FEATURES, 1)


DPSGD = {"privacy.sort": "dpsgd", "privacy.kwargs": {"noise_multiplier": 1.0, "max_grad_norm": 1.0}}

RUNS: dict[str, Run] = {
    **{which: algorithm(which) for which in test_algorithms.PAPERS if which not in ("fedavg", "fedper")},
    "fedper": personal,
    "fedadagrad": plain(PLAIN, **{"optimizer.sort": "fedadagrad", "optimizer.kwargs": ADAPTIVE}),
    "fedbn": plain(TORCH, **{"optimizer.sort": "fedbn"}),
    "dpsgd": plain({"trainer": Private, "aggregator": PrivateTop, "data": SITES}, **DPSGD),
    "local privacy": plain(PLAIN, **DP),
    "privacy at the server": plain(PLAIN, **CENTRAL, **POISSON),
    "poisson": plain(PLAIN, **POISSON),
    "simulated time": plain(PLAIN, **SLOW),
    "simulated time, async": plain(BUFFER, **SLOW),
    "simulated time in a tree": plain(TREE, **SLOW),
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
    "cyclic": lambda out, **more: test_cyclic.run(out, **more),
    "cyclic, shuffled": lambda out, **more: test_cyclic.run(
        out, settings={"hyperparameters": {"shuffle": True}}, **more
    ),
    **{tag: gossip(tag) for tag in ("gossip-ring", "gossip-random")},
    **{sort: guided(sort) for sort in test_guided.SORTS},
    "oort without time": guided("oort", time=None),
    "first": plain(PLAIN, **FIRST),
    "first, in simulated time": plain(PLAIN, **FIRST, **SLOW),
    "within": plain(PLAIN, **WITHIN, **SLOW),
    "guided and first": guided("oort", set=FIRST),
    "sizes first": sized,
    "vertical": vertical,
    "distributed": ringing("distributed"),
    "hybrid": ringing("hybrid"),
    "a star's trainer in a ring": lambda out, **more: flame.run(
        roles={"trainer": test_async.Site}, tag="distributed", data=SITES, seed=7, out=out, **more
    ),
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
