"""Classes written for a star or a tree, as a TAG with more in it wants them.

What a role does beside the usual is in the TAG: a function tag. A program whose class has no such function is given it,
so that going from one topology to another is a change of the TAG alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from flame.errors import RecipeError
from flame.mode import aggregating, asynchronous, coordinating, coordination, training
from flame.mode.clustered import trainer as clustered
from flame.mode.coordinating import TAG_COORDINATE
from flame.mode.cyclic import trainer as cyclic
from flame.mode.distributed import trainer as distributed
from flame.mode.gossip import trainer as gossip
from flame.mode.hybrid import trainer as hybrid
from flame.mode.ringing import TAG_RING_ALLREDUCE
from flame.mode.role import Role
from flame.mode.training import TAG_CHOOSE, TAG_FETCH

# The first that a class is a kind of is what it becomes.
COORDINATED: Mapping[type[Role], type[Role]] = {
    training.Trainer: coordinating.Trainer,
    asynchronous.TopAggregator: coordinating.AsyncTopAggregator,
    asynchronous.MiddleAggregator: coordinating.AsyncMiddleAggregator,
    aggregating.TopAggregator: coordinating.TopAggregator,
    aggregating.MiddleAggregator: coordinating.MiddleAggregator,
}
# Among aggregators that do not wait, a trainer is not told anew in every round with whom it works.
FLOWING: Mapping[type[Role], type[Role]] = {**COORDINATED, training.Trainer: coordinating.AsyncTrainer}
WAYS: Mapping[str, Mapping[type[Role], type[Role]]] = {
    TAG_COORDINATE: COORDINATED,
    TAG_CHOOSE: {training.Trainer: clustered.FromStar},
    cyclic.TAG_HAND_OVER: {training.Trainer: cyclic.Trainer},
    **{tag: {training.Trainer: gossip.Trainer} for tag in gossip.TAGS},
}


# A ring whose trainers fetch orders has an aggregator above it.
IN_GROUPS: Mapping[str, Mapping[type[Role], type[Role]]] = {TAG_RING_ALLREDUCE: {training.Trainer: hybrid.Trainer}}
AMONG_EQUALS: Mapping[str, Mapping[type[Role], type[Role]]] = {
    TAG_RING_ALLREDUCE: {training.Trainer: distributed.Trainer}
}


def flows(programs: Iterable[type[Role]]) -> bool:
    """Whether somebody among them aggregates, or coordinates, without rounds."""
    kinds = (asynchronous.TopAggregator, asynchronous.MiddleAggregator, coordination.AsyncCoordinator)
    return any(issubclass(program, kinds) for program in programs)


def check_coordinated(programs: Mapping[str, type[Role]]) -> None:
    """Refuse roles of which some wait for the coordinator's word in every round and others do without.

    Raises:
        RecipeError: there are both; it names them.
    """
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for role, program in programs.items():
        if issubclass(program, coordinating.Coordinated | coordination.Coordinating):
            kinds[program.in_rounds].append(role)
    if kinds[True] and kinds[False]:
        raise RecipeError(
            f"{', '.join(kinds[True])}: would wait for a coordinator's word in every round, and"
            f" {', '.join(kinds[False])}: would not; take all of them from coord_asyncfl, or none"
        )


def suited(program: type[Role], tags: Collection[str], *, flowing: bool = False) -> type[Role]:
    """The class, with what the TAG's function tags ask for and it lacks; itself if it lacks nothing.

    Args:
        program: a role's class.
        tags: what the TAG binds for the role.
        flowing: whether others of the federation do without rounds, see `flows`.

    Raises:
        RecipeError: the class composes its workflow itself, so that nothing can be put into it.
    """
    coordinated = {TAG_COORDINATE: FLOWING} if flowing else {}
    for tag, ways in {**WAYS, **coordinated, **(IN_GROUPS if TAG_FETCH in tags else AMONG_EQUALS)}.items():
        if tag not in tags or tag in program.get_func_tags():
            continue
        base, way = next(((base, way) for base, way in ways.items() if issubclass(program, base)), (None, None))
        if base is None or way is None:
            continue
        if program.compose is not base.compose:
            raise RecipeError(
                f"{program.__name__} composes its own workflow, in which {tag!r} has no place; subclass"
                f" {way.__module__}.{way.__name__}, or leave {tag!r} out of the TAG"
            )
        own = {"__module__": program.__module__}
        program = way if program is base else type(program.__name__, (program, way), own)
    return program
