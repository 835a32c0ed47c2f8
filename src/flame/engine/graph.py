"""Who speaks to whom where nobody leads: graphs of so many workers, and how much a neighbour's model weighs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from random import Random

from flame.errors import RecipeError

Graph = Sequence[frozenset[int]]
"""For each worker, by its number, its neighbours."""


def ring(workers: int) -> Graph:
    """Each has the one before it and the one after it."""
    return of_edges(workers, ((one, (one + 1) % workers) for one in range(workers) if workers > 1))


def grid(workers: int) -> Graph:
    """Rows as long as the columns, or a bit longer; each has those beside, above and below it."""
    width = math.isqrt(max(0, workers - 1)) + 1
    beside = ((one, one + 1) for one in range(workers - 1) if (one + 1) % width)
    below = ((one, one + width) for one in range(workers - width))
    return of_edges(workers, [*beside, *below])


def full(workers: int) -> Graph:
    """Each has all others."""
    return of_edges(workers, combinations(range(workers), 2))


def regular(workers: int, degree: int, seed: str) -> Graph:
    """A connected graph in which each has `degree` others, chosen at random; everybody where there are no more.

    Raises:
        RecipeError: there is no such graph.
    """
    if degree >= workers - 1:
        return full(workers)
    if degree < 2 or workers * degree % 2:
        reason = "is at least 2" if degree < 2 else f"cannot be odd for {workers} workers, an odd number"
        raise RecipeError(f"hyperparameters.degree is {degree}; it {reason}")
    generator = Random(seed)
    while True:
        edges = _paired(workers, degree, generator)
        if edges is not None and _is_connected(of_edges(workers, edges)):
            return of_edges(workers, edges)


def of_edges(workers: int, edges: Iterable[tuple[int, int]]) -> Graph:
    """The graph of some edges between workers, which are numbered from 0.

    Raises:
        RecipeError: an edge leads nowhere, or from a worker to itself.
    """
    near: list[set[int]] = [set() for _ in range(workers)]
    for one, other in edges:
        if one == other or not 0 <= min(one, other) <= max(one, other) < workers:
            raise RecipeError(f"hyperparameters.edges: [{one}, {other}] joins no two of {workers} workers, from 0")
        near[one].add(other)
        near[other].add(one)
    return [frozenset(some) for some in near]


def weights_of(graph: Graph, worker: int) -> dict[int, float]:
    """How much each neighbour's model weighs; what is left of 1 is the worker's own (Metropolis-Hastings).

    1 / (1 + the larger of both degrees): the same from both sides, so that the mean of all models stays what it is.
    """
    mine = len(graph[worker])
    return {other: 1.0 / (1 + max(mine, len(graph[other]))) for other in sorted(graph[worker])}


def _paired(workers: int, degree: int, generator: Random) -> set[tuple[int, int]] | None:
    """Pairs of open places, one after the other (Steger, Wormald 1999); None if that came to a dead end."""
    places = [worker for worker in range(workers) for _ in range(degree)]
    edges: set[tuple[int, int]] = set()
    while places:
        generator.shuffle(places)
        left: list[int] = []
        for one, other in zip(places[::2], places[1::2], strict=True):
            edge = (min(one, other), max(one, other))
            if one == other or edge in edges:
                left += [one, other]
            else:
                edges.add(edge)
        if len(left) == len(places):
            return None
        places = left
    return edges


def _is_connected(graph: Graph) -> bool:
    reached, queue = {0}, [0]
    for worker in queue:
        queue += graph[worker] - reached
        reached |= graph[worker]
    return len(reached) == len(graph)
