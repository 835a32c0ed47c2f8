"""The role that trains, and then mixes its model with those of its neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flame.config import Config
from flame.engine import graph
from flame.engine.graph import Graph
from flame.engine.mixing import Mixing
from flame.engine.peers import in_order
from flame.errors import RecipeError
from flame.mode import training
from flame.mode.equals import await_others, check_equals, equals_gate, fit_to_send, names_of
from flame.mode.keeping import keep
from flame.mode.tasklet import Tasklet
from flame.weights.layout import Weights
from flame.wire.message import Order

__all__ = ["TAGS", "Trainer"]

DEGREE = 3
"""Neighbours of each in a random graph; one more where the number of workers is odd, as there is no such graph then."""


def _random(workers: int, config: Config) -> Graph:
    seed = config.job.job_id if config.seed is None else config.seed
    degree = config.hyperparameters.to_dict().get("degree", DEGREE + workers % 2)
    return graph.regular(workers, degree, f"{seed}/gossip")


def _listed(workers: int, config: Config) -> Graph:
    edges = config.hyperparameters.to_dict().get("edges")
    if not isinstance(edges, list | tuple) or not all(_is_edge(edge) for edge in edges):
        raise RecipeError(
            f"hyperparameters.edges is {edges!r:.80}; give pairs of workers' numbers, as [[0, 1], [1, 2]]"
        )
    return graph.of_edges(workers, ((one, other) for one, other in edges))


def _is_edge(edge: Any) -> bool:
    return isinstance(edge, list | tuple) and len(edge) == 2 and all(type(end) is int for end in edge)


TAGS: dict[str, Callable[[int, Config], Graph]] = {
    "gossipRing": lambda workers, _: graph.ring(workers),
    "gossipGrid": lambda workers, _: graph.grid(workers),
    "gossipFull": lambda workers, _: graph.full(workers),
    "gossipRandom": _random,
    "gossipEdges": _listed,
}
"""The graph that each function tag stands for."""


class Trainer(training.Trainer):
    """A worker among neighbours; subclass it and write `load_data`, `initialize`, `train` and `evaluate`.

    The function that the TAG gives to it says what the graph is. `gossipRandom` takes `hyperparameters.degree`, and
    `gossipEdges` takes `hyperparameters.edges`, pairs of numbers of the workers of a group, from 0. In each round the
    worker trains, mixes, and evaluates; the metric `disagreement` says by how much mixing moved its model (root mean
    square). Every worker keeps its own model.
    """

    @classmethod
    def get_func_tags(cls) -> list[str]:
        """One for each kind of graph, and the class's own."""
        return [*TAGS, *cls.functions()]

    @classmethod
    def waits_first(cls) -> bool:
        """Everybody begins at once."""
        return False

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Refuse what needs somebody who leads, and a graph that cannot be. Raises RecipeError."""
        super().check_config(config)
        check_equals(config)
        kind = TAGS[_tag_of(config)]
        if kind in (_random, _listed):  # the others hang on no setting
            kind(2**10, config)

    def compose(self) -> None:
        """As a trainer; what is evaluated is the mixed model."""
        super().compose()
        with self.composer:
            self.composer.get_tasklet("evaluate").remove()
            self.composer.get_tasklet("upload").insert_after(Tasklet("evaluate", self.evaluate))

    def internal_init(self) -> None:
        """Join the channel."""
        super().internal_init()
        self._tag = _tag_of(self.config)
        self._mixing: Mixing | None = None
        self._reports = False

    _keeps_model = True

    def _state(self) -> dict[str, Any]:
        left = None if self._mixing is None else self._mixing.neighbours
        return {**super()._state(), "neighbours": left}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        if state["neighbours"] is not None:
            self._mixing = self._among_others()
            self._mixing.neighbours = state["neighbours"]

    def _fetch_weights(self, tag: str) -> None:
        self.fetch_success = True
        if self._mixing is None:
            self._mixing = self._among_others()
        else:
            self._round += 1
        self._work_done = self._round > self.config.hyperparameters.rounds
        if self._work_done:
            keep(self.model, self._held, self.config, self.registry_client, self._surroundings)
        else:
            self._following.order = Order(self._round, self._snapshot())
            self._take(self._following.order)

    def _send_weights(self, tag: str) -> None:
        self.regularizer.update()
        assert self._mixing is not None  # `fetch` comes first
        asked, own = (
            len(self._mixing.neighbours),
            fit_to_send(self._snapshot(), self._following.order, self.config.name),
        )
        mixed = self._mixing.mix(self._round, own)
        self._held.adapter(self.model).load(mixed)
        self.update_metrics({"disagreement": _distance(own, mixed)})
        events = self._surroundings.events
        if events is not None and self._reports:
            sent = self._channel(self._tag).sent_bytes
            events.round_closed(self._round, asked, len(self._mixing.neighbours), sent)

    def _among_others(self) -> Mixing:
        channel, around = self._channel(self._tag), self._surroundings
        await_others(channel, self.config, around)
        me = channel.get_backend_id()
        members = in_order([*channel.ever(), me], names_of(around))
        self._reports = members[0] == me
        graph_ = TAGS[self._tag](len(members), self.config)
        weights = {members[number]: weight for number, weight in graph.weights_of(graph_, members.index(me)).items()}
        return Mixing(channel, members, weights, around.memory, equals_gate(self.config))

    def _snapshot(self) -> Weights:
        return self._held.adapter(self.model).snapshot(self._surroundings.memory.allocate)


def _tag_of(config: Config) -> str:
    """The function that says what the graph is.

    Raises:
        RecipeError: the TAG gives none to the role, or several.
    """
    found = [tag for tag in TAGS if tag in config.func_tag_map]
    if len(found) != 1:
        raise RecipeError(f"role {config.role} performs {', '.join(found) or 'none'} of {', '.join(TAGS)}: give it one")
    return found[0]


def _distance(one: Weights, other: Weights) -> float:
    """The root mean square of the differences of all floats."""
    pairs = [(a, b) for a, b in zip(one.segments, other.segments, strict=True) if a.dtype.kind == "f"]
    squares = sum(float(np.square(np.subtract(a, b, dtype=np.float64)).sum()) for a, b in pairs)
    return math.sqrt(squares / max(1, sum(a.size for a, _ in pairs)))
