"""Roles made of plain functions, and of classes with data given in Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from flame.config import Config
from flame.engine.parts import optimizer_of
from flame.errors import ConfigError, RecipeError
from flame.mode.aggregating import MiddleAggregator, TopAggregator
from flame.mode.asynchronous import MiddleAggregator as AsyncMiddleAggregator
from flame.mode.coordinating import TAG_COORDINATE
from flame.mode.coordination import (
    TAG_COORDINATE_WITH_LEAF_AGG,
    TAG_COORDINATE_WITH_TOP_AGG,
    AsyncCoordinator,
    Coordinator,
    DeepCoordinator,
)
from flame.mode.role import Role
from flame.mode.suited import flows
from flame.mode.training import TAG_FETCH, Trainer
from flame.tag import Role as TagRole
from flame.tag import Tag

Train = Callable[..., Mapping[str, Any] | None]
Evaluate = Callable[[Any], Mapping[str, Any] | None]


def programs(make: Callable[[], Any], train_once: Train, measure: Evaluate | None) -> dict[str, type[Role]]:
    """The classes of the usual roles, out of functions.

    Args:
        make: makes a model.
        train_once: trains a model on a site's item, in place; if it has a parameter `regularizer`, it gets the client
            half of the optimizer by that name.
        measure: measures a model; at the aggregator, or at the sites where nobody sends them one.
    """
    tops = ("aggregator", "top-aggregator", "server")
    asks = "regularizer" in inspect.signature(train_once).parameters

    class Site(Trainer):
        data: Any

        @classmethod
        def check_config(cls, config: Config) -> None:
            super().check_config(config)
            if not asks and optimizer_of(config).regularizer.wanted:
                raise RecipeError(
                    f"optimizer.sort: {config.optimizer.sort} adds a term to the loss, and train(model, item) does not"
                    " ask for it; write train(model, item, regularizer), and in every step add"
                    " regularizer.get_term(curr_model=model) to the loss or regularizer.get_gradient(curr_model=model)"
                    " to the gradient"
                )

        def load_data(self) -> None:
            self.dataset_size = size_of(self.data)

        def initialize(self) -> None:
            self.model = make()

        def train(self) -> None:
            more = {"regularizer": self.regularizer} if asks else {}
            self.update_metrics(train_once(self.model, self.data, **more) or {})
            personal = getattr(self.regularizer, "personal", None)
            with nullcontext() if personal is None else personal(self.model):
                measured = {} if personal is None else train_once(self.model, self.data, **more) or {}
            self.update_metrics({f"personal-{name}": value for name, value in measured.items()})

        def evaluate(self) -> None:
            if measure is not None and TAG_FETCH not in self.config.func_tag_map:
                self.update_metrics(measure(self.model) or {})

    class Server(TopAggregator):
        def initialize(self) -> None:
            self.model = make()

        def evaluate(self) -> None:
            if measure is not None:
                self.update_metrics(measure(self.model) or {})

    return {"trainer": Site, **dict.fromkeys(tops, Server)}


def ready_made(tag: Tag, given: Iterable[type[Role]] = ()) -> dict[str, type[Role]]:
    """The classes of roles that need no program of their own: those in between, and those that coordinate.

    Args:
        tag: the TAG.
        given: the classes of others; with some that do without rounds, whoever a coordinator assigns does so, too.
    """
    flowing = flows(given)
    found: dict[str, type[Role]] = {}
    for role in tag.roles:
        tags = tag.tags_of(role.name)
        if tag.needs_program(role.name):
            continue
        if TAG_COORDINATE_WITH_TOP_AGG not in tags:
            found[role.name] = AsyncMiddleAggregator if flowing and TAG_COORDINATE in tags else MiddleAggregator
        elif TAG_COORDINATE_WITH_LEAF_AGG in tags:
            found[role.name] = DeepCoordinator
        else:
            found[role.name] = AsyncCoordinator if flowing else Coordinator
    return found


def size_of(item: Any) -> int:
    """How many samples a site's item has: its length, or that of its first part if it is a tuple such as (x, y)."""
    first = item[0] if isinstance(item, tuple) and item else item
    return len(first) if hasattr(first, "__len__") else 1


def by_role(data: Any, tag: Tag) -> list[tuple[TagRole, Any]]:
    """The items of each role that holds data, in the TAG's order; where it is one, all of `data`.

    Raises:
        ConfigError: there are several such roles, and `data` is not a mapping of their names.
    """
    consumers = tag.data_consumers()
    if len(consumers) == 1:
        return [(consumers[0], data)]
    names = [role.name for role in consumers]
    if not isinstance(data, Mapping) or sorted(data) != sorted(names):
        raise ConfigError("data", f"is not by role, and {len(names)} roles hold data", f"give {{{', '.join(names)}}}")
    return [(role, data[role.name]) for role in consumers]


def items_of(data: Any, tag: Tag) -> list[Any]:
    """Every site's item, role after role and group after group."""
    parts = [part for role, given in by_role(data, tag) for part in groups_of(given, role).values()]
    return [item for part in parts for item in part]


def groups_of(data: Sequence[Any] | Mapping[str, Sequence[Any]], role: TagRole) -> dict[str, list[Any]]:
    """The items of each group of a role; a plain list is dealt out to the role's groups in turn.

    Raises:
        ConfigError: there are no items.
    """
    if isinstance(data, Mapping):
        groups = {group: list(data[group]) for group in sorted(data)}
    else:
        names = sorted({group for association in role.group_association for group in association.values()})
        names = names or ["default"]
        groups = {name: list(data[number :: len(names)]) for number, name in enumerate(names)}
    if not any(groups.values()):
        raise ConfigError("data", "is empty", "give one item per site")
    return groups


def with_items(program: type[Role], items: Sequence[Any]) -> type[Role]:
    """The class, with each worker's own item as `self.data`; a class that has a `data` of its own keeps it."""
    if "data" in vars(program):
        return program

    def data(self: Role) -> Any:
        kind, _, number = self.config.dataset.partition(":")
        return items[int(number)] if kind == "item" else None

    return type(program.__name__, (program,), {"data": property(data), "__module__": program.__module__})
