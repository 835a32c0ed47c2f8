"""A coordinator changes where means are taken, and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_async import Buffered, BufferedRegion, Made, Site, gradient_step, settings
from test_laws import ADAPTIVE, FEATURES, flat, model, run, site

import flame
from flame.errors import RecipeError
from flame.mode.horizontal.coord_asyncfl.coordinator import Coordinator as AsyncCoordinator
from flame.mode.horizontal.coord_asyncfl.middle_aggregator import MiddleAggregator as AsyncMiddle
from flame.mode.horizontal.coord_asyncfl.top_aggregator import TopAggregator as AsyncTop
from flame.mode.horizontal.coord_asyncfl.trainer import Trainer as AsyncTrainer
from flame.mode.horizontal.coord_syncfl.coordinator import Coordinator
from flame.mode.horizontal.coord_syncfl.middle_aggregator import MiddleAggregator
from flame.mode.horizontal.coord_syncfl.top_aggregator import TopAggregator
from flame.mode.horizontal.coord_syncfl.trainer import Trainer
from flame.mode.horizontal.lifl_coord_syncfl.coordinator import Coordinator as DeepCoordinator
from flame.mode.horizontal.lifl_coord_syncfl.leaf_aggregator import LeafAggregator
from flame.mode.horizontal.lifl_coord_syncfl.middle_aggregator import MiddleAggregator as DeepMiddle
from flame.mode.horizontal.lifl_coord_syncfl.top_aggregator import TopAggregator as DeepTop
from flame.mode.horizontal.lifl_coord_syncfl.trainer import Trainer as DeepTrainer
from flame.tag import template

SITES = 6


class Server(Made, TopAggregator):
    pass


class DeepServer(Made, DeepTop):
    pass


class AsyncServer(Made, AsyncTop):
    pass


class Client(Site, Trainer):
    pass


class DeepClient(Site, DeepTrainer):
    pass


class AsyncClient(Site, AsyncTrainer):
    pass


SYNC = {"trainer": Client, "middle-aggregator": MiddleAggregator, "top-aggregator": Server, "coordinator": Coordinator}
DEEP = {
    "trainer": DeepClient,
    "leaf-aggregator": LeafAggregator,
    "middle-aggregator": DeepMiddle,
    "top-aggregator": DeepServer,
    "coordinator": DeepCoordinator,
}
ASYNC = {
    "trainer": AsyncClient,
    "middle-aggregator": AsyncMiddle,
    "top-aggregator": AsyncServer,
    "coordinator": AsyncCoordinator,
}


def coordinated(out: Path, roles: Any, *, hosts: int = 0, sites: int = SITES, **more: Any) -> Any:
    tag = "lifl-coordinated" if "leaf-aggregator" in roles else "coordinated"
    data = [site(number) for number in range(sites)]
    return flame.run(roles=roles, **{"tag": tag, "data": data, "hosts": hosts, "seed": 3, "out": out, **more})


@pytest.mark.parametrize("tag", ["coordinated", "lifl-coordinated"])
@pytest.mark.parametrize(("sort", "kwargs"), [("fedavg", {}), ("fedadam", ADAPTIVE)])
def test_a_coordinated_tree_learns_what_a_star_learns(tmp_path: Path, tag: str, sort: str, kwargs: Any) -> None:
    def full(net: dict[str, np.ndarray], data: tuple[np.ndarray, np.ndarray]) -> None:
        net["w"] += gradient_step(net["w"], data).astype(np.float32)

    common = {"model": model, "train": full, "data": [site(number) for number in range(SITES)], "hosts": 0, "rounds": 5}
    common["set"] = {"optimizer.sort": sort, "optimizer.kwargs": kwargs}
    alone = flame.run(out=tmp_path / "star", **common)
    tree = flame.run(out=tmp_path / "tree", tag=tag, **common)
    assert np.abs(flat(alone)).max() > 0.01
    np.testing.assert_allclose(flat(tree), flat(alone), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("roles", "more"),
    [
        (SYNC, {"rounds": 4}),
        (DEEP, {"rounds": 4}),
        (SYNC, {"rounds": 4, "settings": {"selector": {"sort": "random", "kwargs": {"k": 3}}}}),
        (ASYNC, {"settings": settings(2, 2)}),
        (ASYNC, {"settings": {**settings(2, 1), "selector": {"sort": "default", "kwargs": {}}}}),
    ],
)
def test_any_number_of_hosts_gives_the_same_bits(tmp_path: Path, roles: Any, more: Any) -> None:
    results = [flat(coordinated(tmp_path / str(hosts), roles, hosts=hosts, **more)) for hosts in (0, 1, 2, 4)]
    assert all(result.tobytes() == results[0].tobytes() for result in results)
    assert np.abs(results[0]).sum() > 0


def test_functions_draw_the_same_random_numbers_in_any_host(tmp_path: Path) -> None:
    results = [flat(run(tmp_path / str(hosts), tag="coordinated", hosts=hosts)) for hosts in (0, 2)]
    assert results[0].tobytes() == results[1].tobytes()


def test_without_staleness_asynchronous_is_synchronous(tmp_path: Path) -> None:
    """One peer in each tier, whose answer makes a step before it is asked again."""
    one = {"tag": template("coordinated", aggregators=1), "sites": 1}
    buffered = coordinated(tmp_path / "async", ASYNC, settings=settings(1, 1), **one)
    waiting = coordinated(tmp_path / "sync", SYNC, settings={"hyperparameters": {"rounds": 6}}, **one)
    assert flat(buffered).tobytes() == flat(waiting).tobytes()


@pytest.mark.parametrize("goal", [1, 2, 3])
def test_an_asynchronous_tree_that_is_coordinated_is_one(tmp_path: Path, goal: int) -> None:
    """Nobody comes or goes: everybody stays with whom it was given to, as if a TAG had said so."""
    chosen = settings(SITES, goal)
    buffered = flat(coordinated(tmp_path / "coordinated", ASYNC, settings=chosen))
    data = {group: [site(number) for number in range(at, SITES, 2)] for at, group in enumerate(("eu", "na"))}
    roles = {"trainer": Site, "top-aggregator": Buffered, "middle-aggregator": BufferedRegion}
    tree = flat(coordinated(tmp_path / "tree", roles, tag="hierarchical", data=data, settings=chosen))
    np.testing.assert_allclose(buffered, tree, rtol=1e-12)


@pytest.mark.parametrize("concurrency", [1, 2, 5])
def test_the_coordinator_says_how_many_are_busy(tmp_path: Path, concurrency: int) -> None:
    chosen = settings(9, 1)
    chosen["hyperparameters"]["concurrency"] = concurrency
    w = flat(coordinated(tmp_path, ASYNC, settings=chosen))
    losses = [((x @ weights - y) ** 2).mean() for weights in (np.zeros(FEATURES), w) for x, y in [site(2)]]
    assert losses[1] < losses[0]


def test_more_aggregators_than_trainers(tmp_path: Path) -> None:
    """Those without anybody have nothing to do."""
    tag = template("coordinated", aggregators=5)
    few = flat(coordinated(tmp_path / "few", SYNC, tag=tag, sites=2, rounds=6))
    one = flat(coordinated(tmp_path / "one", SYNC, tag=template("coordinated", aggregators=1), sites=2, rounds=6))
    np.testing.assert_allclose(few, one, rtol=1e-12)


def test_the_coordinators_selector_says_how_many_take_part(tmp_path: Path) -> None:
    """And nobody else's: those who were assigned are all asked."""

    class Counted(Client):
        def evaluate(self) -> None:
            self.update_metrics({"asked": 1})

    chosen = {"selector": {"sort": "random", "kwargs": {"k": 3}}}
    result = coordinated(tmp_path, {**SYNC, "trainer": Counted}, rounds=5, settings=chosen)
    curves = result.series("asked").values()
    assert Counter(number for curve in curves for number, _ in curve) == dict.fromkeys(range(1, 6), 3)
    assert len(curves) > 3


def test_everybody_has_to_be_in_one_group(tmp_path: Path) -> None:
    """Whom the coordinator assigns to each other would not meet otherwise."""
    tag = template("coordinated")
    groups = replace(tag.channels[0].group_by, value=("eu", "na"))
    both = ({"param-channel": "eu"}, {"param-channel": "na"})
    named = ("trainer", "middle-aggregator")
    roles = [replace(role, group_association=both) if role.name in named else role for role in tag.roles]
    wide = replace(tag, roles=tuple(roles), channels=(replace(tag.channels[0], group_by=groups), *tag.channels[1:]))
    with pytest.raises(RecipeError, match="everybody is in one"):
        coordinated(tmp_path, SYNC, tag=wide, data={"eu": [site(0)], "na": [site(1)]})


def test_a_plain_trainer_listens_to_a_coordinator_where_the_tag_says_so(tmp_path: Path) -> None:
    plain = coordinated(tmp_path / "plain", {**SYNC, "trainer": Site})
    written = coordinated(tmp_path / "written", SYNC)
    assert plain.weights().data.tobytes() == written.weights().data.tobytes()


def test_where_the_top_does_without_rounds_all_do(tmp_path: Path) -> None:
    written = coordinated(tmp_path / "written", ASYNC, settings=settings(2, 2))
    plain = coordinated(tmp_path / "plain", {"trainer": Site, "top-aggregator": Buffered}, settings=settings(2, 2))
    assert plain.weights().data.tobytes() == written.weights().data.tobytes()


def test_rounds_and_none_are_refused_by_name(tmp_path: Path) -> None:
    """They would wait for each other."""
    mixed = {**SYNC, "coordinator": AsyncCoordinator}
    with pytest.raises(RecipeError, match="coordinator: would not; take all of them from coord_asyncfl"):
        coordinated(tmp_path, mixed)


def test_a_workflow_of_its_own_has_no_place_for_a_coordinator(tmp_path: Path) -> None:
    class Own(Site):
        def compose(self) -> None:
            super().compose()

    with pytest.raises(RecipeError, match="Own composes its own workflow"):
        coordinated(tmp_path, {**SYNC, "trainer": Own})


def test_a_choice_for_a_round_is_refused_where_there_are_none(tmp_path: Path) -> None:
    wrong = {**settings(2, 2), "selector": {"sort": "random", "kwargs": {"k": 2}}}
    with pytest.raises(RecipeError, match="random chooses for a round"):
        coordinated(tmp_path, ASYNC, settings=wrong)
