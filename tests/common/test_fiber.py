"""Fibers: a fixed order, no lost wake-ups, deadlines on a clock of the test's own."""

from __future__ import annotations

from collections import deque

import pytest

from flame.common.fiber import Hub


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def poll(self, timeout_s: float | None) -> None:
        self.now += timeout_s or 0.0


def test_fibers_run_in_the_order_in_which_they_were_woken() -> None:
    hub, box, seen = Hub(), deque[int](), []
    fibers = []

    def work(number: int) -> None:
        hub.wait(lambda: box and box[0] == number, lambda: "its turn")
        seen.append(box.popleft())
        for fiber in fibers:
            hub.wake(fiber)

    for number in range(5):
        fibers.append(hub.spawn(lambda n=number: work(n), str(number)))
    box.extend([3, 1, 4, 0, 2])
    hub.run()
    assert seen == [3, 1, 4, 0, 2]


def test_urgent_fibers_go_first() -> None:
    hub, seen = Hub(), []
    hub.spawn(lambda: seen.append("later"), "a")
    hub.spawn(lambda: seen.append("sooner"), "b", urgent=True)
    hub.run()
    assert seen == ["sooner", "later"]


def test_a_deadline_ends_a_wait() -> None:
    clock = Clock()
    hub = Hub(clock, clock)
    got = []
    hub.spawn(lambda: got.append(hub.wait(lambda: False, lambda: "nothing", 5.0)), "a")
    hub.run()
    assert got == [False] and clock.now == pytest.approx(5.0, abs=0.6)


def test_a_deadline_ends_a_wait_while_others_are_busy() -> None:
    clock = Clock()
    hub = Hub(clock, clock)
    got: list[object] = []
    hub.spawn(lambda: got.append(hub.wait(lambda: False, lambda: "nothing", 5.0)), "waits")

    def busy() -> None:
        while not got and clock.now < 100:
            clock.now += 1
            passed = deque([False])
            hub.wait(lambda turns=passed: not turns or turns.popleft(), lambda: "the next turn")

    mine = hub.spawn(busy, "busy")

    def nudge() -> None:
        if not got:
            hub.wake(mine)

    hub.on_poll = nudge
    hub.run()
    assert got == [False] and clock.now < 10


def test_a_deadline_ends_a_wait_outside_of_a_host_too() -> None:
    clock = Clock()
    assert Hub(clock, clock).wait(lambda: False, lambda: "nothing", 3.0) is False
    assert clock.now == pytest.approx(3.0)


def test_everybody_waiting_for_ever_is_an_error_that_says_for_what() -> None:
    hub = Hub()
    hub.spawn(lambda: hub.wait(lambda: False, lambda: "a message of nobody"), "trainer/0")
    with pytest.raises(RuntimeError, match="trainer/0 waits for a message of nobody"):
        hub.run()


def test_an_exception_comes_out_of_the_hub() -> None:
    hub = Hub()

    def bad() -> None:
        raise KeyError("bad")

    hub.spawn(bad, "a")
    with pytest.raises(KeyError):
        hub.run()
