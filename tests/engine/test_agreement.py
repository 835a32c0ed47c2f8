"""Who is in a ring: nobody waits for ever, and all who are left have one model, in thousands of made-up histories."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import pytest

from flame.engine.agreement import Local, Member, Sent
from flame.engine.convening import in_rounds, merging
from flame.engine.speaking import Ballot, Close, Plan, Report, from_plain, to_plain
from flame.errors import DecodeError, WeightsError
from flame.weights.layout import Weights

HERE, GONE = "here", "gone"


def weights(value: float) -> Weights:
    return Weights.pack({"w": np.full(3, value)})


class World:
    """Members, and first-in-first-out links between them: who comes, speaks and goes is seen in that order."""

    def __init__(self, seed: int, rounds: int, *, merges: bool = True) -> None:
        self.random = random.Random(seed)
        self.rounds, self.shares = rounds, merging if merges else in_rounds
        self.members: dict[str, Member] = {}
        self.round: dict[str, int] = {}
        self.models: dict[str, float] = {}
        self.training: dict[str, None] = {}
        self.links: dict[tuple[str, str], deque[Any]] = {}
        self.views: dict[str, dict[str, int]] = {}
        self.lives: dict[str, int] = {}
        self.history: dict[str, list[tuple[int, tuple[str, ...], float]]] = {}
        self.messages, self.early = 0, 0.2
        self.led = False
        self.open: dict[str, None] = {}
        self.number = 0

    def join(self, name: str, *, fresh: bool = True, round_number: int = 0, value: float = 0.0) -> None:
        token = self.random.getrandbits(30) << 20
        self.members[name] = Member(name, self.shares, rests=self.shares is in_rounds, token=token)
        self.views[name], self.round[name], self.models[name] = {}, round_number, value
        self.history[name] = []
        for other in [other for other in self.members if other != name]:
            for one, two in ((name, other), (other, name)):
                self.links[one, two] = deque([HERE])
        if not fresh:
            self.round[name] += 1
        self.training[name] = None

    def meet_at_once(self) -> None:
        """Everybody sees everybody before anything is said."""
        for (one, two), link in self.links.items():
            assert link.popleft() == HERE
            self.views[two][one] = self.lives.get(one, 0)
        for name, member in self.members.items():
            member.see(dict(self.views[name]))

    def look(self, name: str) -> None:
        """See who is there by now; what they have said is heard later."""
        for (source, target), link in self.links.items():
            if target == name:
                for thing in [thing for thing in link if isinstance(thing, str)]:
                    link.remove(thing)
                    self.notice(name, source, thing)
        self.members[name].see(dict(self.views[name]))

    def notice(self, name: str, source: str, thing: str) -> None:
        if thing == HERE:
            self.views[name][source] = self.lives.get(source, 0)
        else:
            self.views[name].pop(source, None)

    def bring(self, name: str) -> None:
        number = self.round[name]
        size = 1 + int(name[1:])
        value = self.models[name] + number * size
        self.members[name].bring(Local(weights(value), number, size, fresh=number == 0))
        self.flush(name)

    def leave(self, name: str, *, losing: int = 0) -> None:
        """Go; the last messages to each of the others may be lost."""
        del self.members[name]
        self.training.pop(name, None)
        self.open.pop(name, None)
        self.lives[name] = self.lives.get(name, 0) + 1
        for one, two in list(self.links):
            if two == name:
                del self.links[one, two]
            elif one == name:
                link = self.links[one, two]
                for _ in range(self.random.randint(0, losing)):
                    if link and link[-1] != HERE:
                        link.pop()
                link.append(GONE)
        if self.led:
            self.order()

    def flush(self, name: str) -> None:
        for sent in self.members[name].mail():
            assert isinstance(sent, Sent)
            for end in sent.ends:
                if end in self.views[name] and (name, end) in self.links:
                    self.messages += 1
                    self.links[name, end].append((sent.talk, sent.weights))
        self.settle(name)

    def settle(self, name: str) -> None:
        outcome = self.members[name].outcome
        if outcome is None:
            return
        self.members[name].outcome = None
        value = float(outcome.model.arrays()["w"][0])
        self.history[name].append((outcome.round, outcome.members, value))
        self.models[name], self.round[name] = value, outcome.round + 1
        if self.led:
            self.members[name].rest()
            self.flush(name)
            self.open.pop(name, None)
            self.order()
        elif self.round[name] > self.rounds:
            self.leave(name)
        else:
            self.training[name] = None

    def order(self) -> None:
        """Somebody above opens the next round once nobody's answer is open: some are asked, some are not."""
        if self.open or not self.members:
            return
        if self.number == self.rounds:
            self.led = False  # it is over
            for name in list(self.members):
                self.leave(name)
            return
        self.number += 1
        asked = [name for name in self.members if self.random.random() < 0.7] or [min(self.members)]
        self.open = dict.fromkeys(asked)
        for name in asked:
            self.round[name] = self.number
            self.training[name] = None

    def step(self) -> bool:
        """Let one thing happen; whether there was any."""
        at_table = [name for name in self.members if name not in self.training]
        deliveries = [key for key, link in self.links.items() if link and key[1] in at_table]
        choices: list[Any] = [*deliveries, *self.training]
        if not choices:
            return False
        choice = self.random.choice(choices)
        if isinstance(choice, str):
            del self.training[choice]
            self.look(choice)
            self.bring(choice)
            return True
        source, target = choice
        link = self.links[choice]
        marks = [thing for thing in link if isinstance(thing, str)]
        if (
            marks and self.random.random() < self.early
        ):  # that somebody has gone may be seen before its last words are heard
            thing = marks[0]
            link.remove(thing)
        else:
            thing = link.popleft()
        member = self.members[target]
        if isinstance(thing, str):
            self.notice(target, source, thing)
            member.see(dict(self.views[target]))
        else:
            talk, values = thing
            member.hear(source, from_plain(to_plain(talk)), values)
        self.flush(target)
        return True

    def run(self) -> None:
        while self.step():
            pass
        assert not self.members, {
            name: (self.round[name], member.awaits(), member.leader) for name, member in self.members.items()
        }


def world_of(seed: int, members: int, rounds: int = 3, **more: Any) -> World:
    world = World(seed, rounds, **more)
    for number in range(members):
        world.join(f"m{number}")
    world.meet_at_once()
    return world


@pytest.mark.parametrize("members", [1, 2, 3, 5, 8])
def test_all_are_in_every_ring_and_end_with_one_model(members: int) -> None:
    for seed in range(30):
        world = world_of(seed, members)
        world.run()
        first, *others = world.history.values()
        assert all(other == first for other in others)
        assert [number for number, _, _ in first] == [0, 1, 2, 3]
        assert all(len(ring) == members for _, ring, _ in first)
        sizes = np.arange(1, members + 1)
        steps = [sum(sizes * (number * sizes)) / sum(sizes) for number in (1, 2, 3)]
        np.testing.assert_allclose([value for _, _, value in first[1:]], np.cumsum(steps))


def test_agreement_takes_four_messages_a_member_and_the_ring_two() -> None:
    for members in (2, 10, 40):
        world = world_of(1, members, rounds=10)
        world.early = 0.0
        before = world.messages
        world.run()
        # A tiny model is one piece; in the first ring everybody is asked and reports again.
        assert world.messages - before <= (members - 1) * (11 * 6 + 2)


@pytest.mark.parametrize("members", [2, 3, 4, 6])
def test_whoever_dies_is_done_without_and_the_others_have_one_model(members: int) -> None:
    """At every moment, the leader or another, with the last messages lost or not."""
    for seed in range(150):
        world = world_of(seed, members)
        deaths = world.random.randint(1, members - 1)
        while deaths and world.step():
            if world.members and world.random.random() < 0.03:
                world.leave(world.random.choice(list(world.members)), losing=world.random.choice([0, 2, 9]))
                deaths -= 1
        world.run()
        ended = [history for history in world.history.values() if history and history[-1][0] == world.rounds]
        by_round: dict[int, set[float]] = {}
        for history in ended:
            for number, _, value in history:
                by_round.setdefault(number, set()).add(value)
        assert all(len(values) == 1 for values in by_round.values()), (seed, world.history)


def test_whoever_comes_late_gets_the_model_and_does_not_spoil_it() -> None:
    for seed in range(120):
        world = world_of(seed, 3, rounds=6)
        for _ in range(world.random.randint(5, 150)):
            world.step()
        late = f"m{world.random.choice([0, 7]) or 9}"
        there = bool(world.members)
        world.join(late)
        world.run()
        early = world.history["m0"]
        if there and world.history[late][0][1] != (late,):
            shared = [entry for entry in world.history[late] if entry in early]
            assert shared and shared[-1][0] == 6
            # It has no samples of its own in the first ring: what comes out is what the others would have.
            number, ring, value = shared[0]
            assert late in ring
            previous = {entry[0]: entry[2] for entry in early}
            if number:
                np.testing.assert_allclose(value, previous[number - 1] + number * (1 + 4 + 9) / 6)


def test_all_come_and_go_at_random_and_nobody_waits_for_ever() -> None:
    for seed in range(150):
        world = world_of(seed, 2 + seed % 6, rounds=6)
        changes = 8
        while world.step():
            chance = world.random.random()
            if changes and chance < 0.02 and world.members:
                world.leave(world.random.choice(list(world.members)), losing=world.random.choice([0, 2, 9]))
                changes -= 1
            elif changes and 0.02 < chance < 0.04:
                name = f"m{world.random.randint(0, 8)}"  # one that has died may come again
                if name not in world.members:
                    world.join(name)
                    changes -= 1
        world.run()


def test_whoever_leads_for_a_moment_leaves_nobody_waiting() -> None:
    """A plan of one that does not lead, as its reader sees it, is not followed; what is said next is no echo."""
    member = Member("c", merging)
    member.see({"b": 0})
    member.bring(Local(weights(1.0), 1, 1))
    (first,) = member.mail()  # to b
    assert isinstance(first.talk, Report)
    member.see({"a": 0, "b": 0})
    planned = Plan(Ballot(1, "b"), 1, first.talk.digest, ("b", "c"), (1.0, 1.0), (0, first.talk.serial), 2)
    member.hear("b", planned)
    member.see({"b": 0})
    last = member.mail()[-1]
    assert member.plan is None
    assert list(last.ends) == ["b"] and isinstance(last.talk, Report) and last.talk.serial != first.talk.serial


def test_rings_that_began_alone_become_one() -> None:
    for seed in range(40):
        world = World(seed, 12)
        for number in range(4):
            world.join(f"m{number}")
            # The others are not seen yet: it begins by itself.
        for name in list(world.members):
            del world.training[name]
            world.bring(name)
        assert all(history[0][1] == (name,) for name, history in world.history.items())
        world.run()
        last = {tuple(history[-1]) for history in world.history.values()}
        assert len(last) == 1 and len(last.pop()[1]) == 4, seed


def test_with_someone_above_rounds_do_not_mix() -> None:
    """Whoever is behind turns a ring of its own round, so that what it answers is for one round."""
    for seed in range(60):
        world = World(seed, 4, merges=False)
        for number in range(4):
            world.join(f"m{number}", fresh=False, round_number=number // 2)
        world.meet_at_once()
        world.run()
        for name, history in world.history.items():
            assert [number for number, _, _ in history] == list(range(1 + int(name[1:]) // 2, 5))


def test_below_somebody_who_asks_only_some_nobody_waits_for_the_others() -> None:
    for seed in range(200):
        world = World(seed, 6, merges=False)
        world.led = True
        for number in range(world.random.randint(1, 5)):
            world.join(f"m{number}", fresh=False)
        world.training.clear()
        world.meet_at_once()
        for name, member in world.members.items():
            member.rest()
            world.flush(name)
        world.order()
        deaths = world.random.choice([0, 0, len(world.members) - 1])
        while deaths and world.step():
            if world.members and world.random.random() < 0.03:
                world.leave(world.random.choice(list(world.members)), losing=world.random.choice([0, 2, 9]))
                deaths -= 1
        world.run()
        assert world.number == 6 or not world.members


def test_a_member_that_is_away_is_not_waited_for() -> None:
    one, two = (Member(name, in_rounds, rests=True) for name in ("a", "b"))
    one.see({"b": 0})
    one.rest()
    two.see({"a": 0})
    two.bring(Local(weights(5.0), 1, 10))
    talks: deque[tuple[str, Sent]] = deque()
    for _ in range(10):
        talks += [("a", sent) for sent in one.mail()] + [("b", sent) for sent in two.mail()]
        if talks:
            source, sent = talks.popleft()
            (two if source == "a" else one).hear(source, sent.talk, sent.weights)
    assert two.outcome is not None and two.outcome.members == ("b",)


def test_another_model_is_refused_by_whoever_has_it() -> None:
    one, two = (Member(name, merging) for name in ("a", "b"))
    one.see({"b": 0})
    two.see({"a": 0})
    one.bring(Local(weights(1.0), 1, 1))
    two.bring(Local(Weights.pack({"other": np.zeros(2)}), 1, 1))
    for sent in two.mail():
        one.hear("b", sent.talk, sent.weights)
    with pytest.raises(WeightsError, match="other tensors"):
        for sent in one.mail():
            two.hear("a", sent.talk, sent.weights)


@pytest.mark.parametrize("wrong", [None, {}, {"type": "plan"}, {"type": "report", "serial": "x"}, [1], "close"])
def test_what_is_no_talk_is_refused(wrong: object) -> None:
    with pytest.raises(DecodeError):
        from_plain(wrong)


def test_a_close_of_something_else_closes_nothing() -> None:
    member = Member("b", merging)
    member.see({"a": 0})
    member.bring(Local(weights(1.0), 1, 1))
    member.hear("a", Close(Ballot(3, "a")))
    assert member.outcome is None
