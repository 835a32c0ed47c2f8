"""The proof that nobody waits for ever, checked against a search through every interleaving."""

from __future__ import annotations

import pytest
from good_tags import GOOD
from hypothesis import given
from hypothesis import strategies as st

from flame.tag import Action, Channel, Role, Tag, check, read
from flame.tag.protocol import BUILT_IN, blocked, program


def test_partners_are_mutual_and_opposite() -> None:
    for tag, action in BUILT_IN.items():
        assert action.tag == tag and action.partners
        for other in action.partners:
            assert tag in BUILT_IN[other].partners
            assert tag == other or BUILT_IN[other].sends != action.sends


PROGRAMS = {
    ("hier_mnist", "middle-aggregator"): "fetch distribute aggregate upload",
    ("hier_mnist", "trainer"): "fetch upload",
    ("hybrid", "trainer"): "fetch ring_allreduce upload",
    ("sizes", "trainer"): "uploadDatasetSize fetch upload",
    ("sizes", "aggregator"): "getDatasetSize distribute aggregate",
    ("bias", "trainer"): "fetch uploadBias fetchBias upload",
    ("bias", "aggregator"): "distribute aggregateBias distributeBias aggregate",
    ("syncfl_hier_coord_mnist", "trainer"): "coordinate fetch upload",
    ("syncfl_hier_coord_mnist", "middle-aggregator"): "coordinate fetch distribute aggregate upload",
    ("syncfl_hier_coord_mnist", "coordinator"): "coordinateWithTopAgg coordinateWithMidAgg coordinateWithTrainer",
    ("four_tiers", "leaf-aggregator"): "coordinate fetch distribute aggregate upload",
}


@pytest.mark.parametrize(("name", "role"), PROGRAMS)
def test_programs_are_those_of_the_built_in_roles(name: str, role: str) -> None:
    tags = [step.tag for step in program(read(GOOD[name]), role)]
    assert tags == PROGRAMS[name, role].split()


def pair(functions: dict[str, list[str]], *more: dict[str, list[str]]) -> Tag:
    names = list(dict.fromkeys(name for row in (functions, *more) for name in row))
    channels = [
        Channel(
            f"c{i}",
            (min(row, key=list(row).index), max(row, key=list(row).index)),
            func_tags={name: tuple(tags) for name, tags in row.items()},
        )
        for i, row in enumerate((functions, *more))
    ]
    roles = [Role(name, is_data_consumer=i == 0, group_association=({},)) for i, name in enumerate(names)]
    return Tag("x", tuple(roles), tuple(channels))


ASK = {
    "ask": Action("ask", True, frozenset({"hear"})),
    "hear": Action("hear", False, frozenset({"ask"})),
    "tell": Action("tell", True, frozenset({"learn"})),
    "learn": Action("learn", False, frozenset({"tell"})),
}


def test_own_functions_are_proved_when_they_are_declared() -> None:
    good = pair({"site": ["hear", "tell"], "centre": ["ask", "learn"]})
    assert check(good, protocols=ASK) == []
    wrong = pair({"site": ["hear", "tell"], "centre": ["learn", "ask"]})
    assert check(wrong) == []
    [finding] = check(wrong, protocols=ASK)
    assert (finding.invariant, finding.path) == ("deadlock", "channels[0].funcTags.site[0]")
    assert "'site' in 'hear' for 'ask'; 'centre' in 'learn' for 'tell'" in finding.reason
    [finding] = check(pair({"site": ["hear", "tell"], "centre": ["learn"]}), protocols=ASK)
    assert (finding.invariant, finding.path) == ("no-partner", "channels[0].funcTags.site[0]")


def test_nothing_is_said_of_a_function_that_an_unknown_one_may_serve() -> None:
    tag = pair({"trainer": ["fetch", "report"], "aggregator": ["distribute", "collect"]})
    assert check(tag) == []
    assert check(pair({"trainer": ["fetch"], "aggregator": ["my_way_of_sending"]})) == []
    assert check(pair({"trainer": ["fetch"], "aggregator": ["distributes"]})) != []
    classes = {"aggregator": {"distributes"}}
    assert check(pair({"trainer": ["fetch"], "aggregator": ["distributes"]}), tags_of=classes) == []


def test_own_functions_run_after_the_built_in_one_before_them() -> None:
    tag = pair({"trainer": ["fetch", "mine", "upload", "late"], "aggregator": ["distribute", "aggregate"]})
    assert [step.tag for step in program(tag, "trainer")] == ["fetch", "mine", "upload", "late"]
    tag = pair({"trainer": ["early", "upload", "late", "fetch", "mine"], "aggregator": ["distribute", "aggregate"]})
    assert [step.tag for step in program(tag, "trainer")] == ["early", "fetch", "mine", "upload", "late"]


def test_one_stuck_role_is_found_while_others_go_on() -> None:
    busy = {"site": ["fetch", "upload"], "centre": ["distribute", "aggregate"]}
    waiting = {"a": ["hear", "tell"], "b": ["learn", "ask"]}
    found = blocked(pair(busy, waiting, {"site": [], "a": []}), {**BUILT_IN, **ASK})
    assert [one.step.role for one in found] == ["a", "b"]


# --- against a search through every interleaving ---------------------------------------------------------------

NAMES = ("r0", "r1", "r2")


@st.composite
def protocols(draw: st.DrawFn) -> tuple[Tag, dict[str, Action]]:
    """Two or three roles and up to three wires, each from one role to another, in any program order."""
    wires = draw(st.lists(st.permutations(NAMES).map(lambda names: (names[0], names[1])), min_size=1, max_size=3))
    actions: dict[str, Action] = {}
    lists: dict[tuple[str, str], dict[str, list[str]]] = {}
    for i, (sender, reader) in enumerate(wires):
        send, take = f"s{i}", f"t{i}"
        actions[send] = Action(send, True, frozenset({take}))
        actions[take] = Action(take, False, frozenset({send}))
        row = lists.setdefault((min(sender, reader), max(sender, reader)), {})
        row.setdefault(min(sender, reader), [])
        row.setdefault(max(sender, reader), [])
        row[sender].append(send)
        row[reader].append(take)
    shuffled = [{name: draw(st.permutations(tags)) for name, tags in row.items()} for row in lists.values()]
    return pair(*draw(st.permutations(shuffled))), actions


def stuck_in_some_interleaving(tag: Tag, actions: dict[str, Action]) -> set[str]:
    """The roles that some reachable state leaves without any further move, by searching all of them."""
    programs = {role.name: [step.tag for step in program(tag, role.name)] for role in tag.roles}
    programs = {name: tags for name, tags in programs.items() if tags}
    limit = 1 + sum(map(len, programs.values()))
    State = tuple[tuple[int, ...], tuple[int, ...]]
    start: State = ((0,) * len(programs), (0,) * 3)
    edges: dict[State, list[tuple[str, State]]] = {}
    todo = [start]
    while todo:
        state = todo.pop()
        if state in edges:
            continue
        edges[state] = []
        for i, (name, tags) in enumerate(programs.items()):
            at, queues = state
            here = tags[at[i]]
            wire = int(here[1:])
            if not actions[here].sends and not queues[wire]:
                continue
            count = min(limit, queues[wire] + 1) if actions[here].sends else queues[wire] - 1
            moved = (*at[:i], (at[i] + 1) % len(tags), *at[i + 1 :])
            after = (moved, (*queues[:wire], count, *queues[wire + 1 :]))
            edges[state].append((name, after))
            todo.append(after)
    stuck: set[str] = set()
    for name in programs:
        may = {state for state, out in edges.items() if any(who == name for who, _ in out)}
        grown = True
        while grown:
            more = {state for state, out in edges.items() if state not in may and any(to in may for _, to in out)}
            may |= more
            grown = bool(more)
        if len(may) < len(edges):
            stuck.add(name)
    return stuck


@given(protocols())
def test_one_fair_run_says_the_same_as_all_interleavings(made: tuple[Tag, dict[str, Action]]) -> None:
    tag, actions = made
    assert {one.step.role for one in blocked(tag, actions)} == stuck_in_some_interleaving(tag, actions)
