"""Boosted trees as bytes: XGBoost's own JSON model, put together from the trees of several.

Only the JSON is read here, so that an aggregator needs no XGBoost. As it comes from a network, every tree is checked
before it is taken: XGBoost itself follows the child of a node wherever its number leads.

As weights a forest is two tensors: `rounds`, int64 of shape (1,), how many boosting rounds there are; and `booster`,
the JSON as int8 of shape (bytes,), of length 0 where there are no trees.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from flame.errors import WeightsError
from flame.weights.layout import Allocate, Layout, Weights, plain_memory

ROUNDS, BOOSTER = "rounds", "booster"
PER_NODE = ("left_children", "right_children", "split_indices", "split_conditions", "default_left")
ROOT = 0


def packed(rounds: int, document: bytes | bytearray, allocate: Allocate = plain_memory) -> Weights:
    """A forest as weights."""
    layout = Layout.plan([(ROUNDS, np.dtype(np.int64), (1,)), (BOOSTER, np.dtype(np.int8), (len(document),))])
    weights = Weights(layout, allocate(layout.nbytes))
    count, text = weights.segments
    count[0] = rounds
    text[...] = np.frombuffer(document, np.int8)
    return weights


def unpacked(weights: Weights) -> tuple[int, bytes]:
    """Rounds and JSON of a forest.

    Raises:
        WeightsError: the weights are no forest.
    """
    names = [entry.name for entry in weights.layout.entries]
    kinds = [(entry.dtype.name, len(entry.shape)) for entry in weights.layout.entries]
    if names != [ROUNDS, BOOSTER] or kinds != [("int64", 1), ("int8", 1)] or weights.layout.entries[0].shape != (1,):
        raise WeightsError(f"boosted trees were expected, as {ROUNDS} and {BOOSTER}; there is {', '.join(names)}")
    count, text = weights.segments
    return int(count[0]), text.tobytes()


def checked(weights: Weights) -> tuple[int, bytes]:
    """Rounds and JSON of a forest whose every tree has been looked at.

    Raises:
        WeightsError: there is something in it that XGBoost could not safely load.
    """
    rounds, document = unpacked(weights)
    if (_Forest(document).rounds if document else 0) != rounds:
        raise WeightsError(f"the boosted trees are not those of {rounds} rounds")
    return rounds, document


def union(forests: Iterable[Weights], allocate: Allocate = plain_memory) -> Weights:
    """All trees of some forests, in their order: the prediction is the sum of what each adds to the base score.

    Raises:
        WeightsError: a forest is malformed, or differs from the first in more than its trees.
    """
    whole: _Forest | None = None
    for weights in forests:
        _, document = unpacked(weights)
        if document:
            forest = _Forest(document)
            if whole is None:
                whole = forest
            else:
                whole.extend(forest)
    return packed(0, b"", allocate) if whole is None else packed(whole.rounds, whole.document(), allocate)


class _Forest:
    """A parsed model, of the kind that grows tree by tree."""

    def __init__(self, document: bytes) -> None:
        try:
            self._whole = json.loads(document)
            learner = self._whole["learner"]
            booster = learner["gradient_booster"]
            self._model = booster["model"]
            self._same = {
                "booster": booster["name"],
                "objective": learner["objective"]["name"],
                **{str(key): str(value) for key, value in learner["learner_model_param"].items()},
                "num_parallel_tree": self._model["gbtree_model_param"]["num_parallel_tree"],
            }
            self._check(int(self._same["num_feature"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(f"these are no boosted trees in XGBoost's JSON: {error!r:.200}") from error

    @property
    def rounds(self) -> int:
        return len(self._model["iteration_indptr"]) - 1

    def extend(self, other: _Forest) -> None:
        for key, value in self._same.items():
            if other._same.get(key) != value:
                raise WeightsError(
                    f"boosted trees with {key} {value} and {other._same.get(key)} do not add up: give every worker the"
                    " same objective, and base_score among the parameters"
                )
        ours, theirs = self._model, other._model
        had = len(ours["trees"])
        ours["trees"] += [{**tree, "id": had + number} for number, tree in enumerate(theirs["trees"])]
        ours["tree_info"] += theirs["tree_info"]
        ours["iteration_indptr"] += [had + start for start in theirs["iteration_indptr"][1:]]
        ours["gbtree_model_param"]["num_trees"] = str(len(ours["trees"]))

    def document(self) -> bytes:
        return json.dumps(self._whole, separators=(",", ":")).encode()

    def _check(self, features: int) -> None:
        """Refuse whatever could lead XGBoost out of its arrays."""
        if self._same["booster"] != "gbtree":
            raise ValueError(f"the booster is {self._same['booster']}; only gbtree's trees can be collected")
        starts, trees, info = (self._model[key] for key in ("iteration_indptr", "trees", "tree_info"))
        groups = max(1, int(self._same["num_class"])) * max(1, int(self._same.get("num_target", "1")))
        if starts[0] != 0 or starts[-1] != len(trees) or len(info) != len(trees) or sorted(starts) != starts:
            raise ValueError("the rounds do not divide the trees")
        if int(self._model["gbtree_model_param"]["num_trees"]) != len(trees):
            raise ValueError("the number of trees is wrong")
        if any(type(group) is not int or not 0 <= group < groups for group in info):
            raise ValueError("a tree is of no class")
        for number, tree in enumerate(trees):
            if tree["id"] != number:
                raise ValueError(f"tree {number} is numbered {tree['id']}")
            _check_tree(tree, features)


def _check_tree(tree: dict[str, Any], features: int) -> None:
    """A tree: its root is nobody's child, every other node at most one's, and each splits by a feature there is."""
    nodes = int(tree["tree_param"]["num_nodes"])
    lengths = {key: len(value) for key, value in tree.items() if isinstance(value, list) and "categories" not in key}
    if nodes < 1 or set(lengths.values()) != {nodes} or not lengths.keys() >= set(PER_NODE):
        raise ValueError(f"tree {tree['id']} has {nodes} nodes, and arrays of {sorted(set(lengths.values()))}")
    if any(tree.get(key) for key in ("categories", "categories_nodes", "categories_segments", "categories_sizes")):
        raise ValueError(f"tree {tree['id']} splits by categories; only numbers can be split by")
    children = [child for key in PER_NODE[:2] for child in tree[key] if child != -1]
    if len(set(children)) != len(children) or any(type(c) is not int or not ROOT < c < nodes for c in children):
        raise ValueError(f"the nodes of tree {tree['id']} are no tree")
    if any((left == -1) != (right == -1) for left, right in zip(tree[PER_NODE[0]], tree[PER_NODE[1]], strict=True)):
        raise ValueError(f"a node of tree {tree['id']} has one child")
    if any(type(index) is not int or not 0 <= index < max(1, features) for index in tree["split_indices"]):
        raise ValueError(f"tree {tree['id']} splits by a feature that there is not")
