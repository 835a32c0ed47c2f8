"""Smaller names that programs written for Cisco's Flame may use: each does what it says."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame
from flame import config as settings
from flame.channel_manager import custom_excepthook
from flame.end import End
from flame.errors import ConfigError
from flame.mode.composer import CloneComposer, Composer, ComposerContext
from flame.mode.enums import LoopIndicator
from flame.mode.function import receives, sends
from flame.mode.horizontal.coord_syncfl.coordinator import TAG_COORDINATE_WITH_TRAINER, Coordinator
from flame.mode.role import Role
from flame.mode.tasklet import ChainError, Loop, Tasklet
from flame.monitor.metric_collector import MetricCollector
from flame.monitor.runtime import time_tasklet
from flame.tag import read

CHANNEL = {"name": "c", "pair": ["trainer", "aggregator"], "funcTags": {"trainer": ["fetch"], "aggregator": []}}


def test_parts_of_a_config_are_read_as_the_whole_is() -> None:
    whole = {
        "taskid": "1",
        "role": "trainer",
        "realm": "",
        "backend": "mqtt",
        "brokers": [{"sort": "mqtt", "host": "localhost"}],
        "groupAssociation": {"c": "default"},
        "channels": [CHANNEL],
        "hyperparameters": {"batchSize": "5", "own": 7},
        "job": {"id": "1", "name": "n"},
        "selector": {},
    }
    read = settings.transform_config(whole)
    channels, tags = settings.transform_channels("trainer", [CHANNEL])
    assert (
        (read["task_id"], read["channels"], read["func_tag_map"])
        == ("1", channels, tags)
        == ("1", channels, {"fetch": "c"})
    )
    assert (
        settings.transform_channel(CHANNEL) == channels["c"]
        and channels["c"].group_by.groupable_value("eu") == "default"
    )
    hyper = settings.transform_hyperparameters(whole["hyperparameters"])
    assert hyper == read["hyperparameters"] and (hyper.batch_size, hyper.rounds, hyper.own) == (5, 1, 7)
    assert settings.transform_brokers(whole["brokers"]) == read["brokers"].sort_to_host == {"mqtt": "localhost"}
    with pytest.raises(ConfigError, match=r"brokers\[0\]\.host: is missing"):
        settings.transform_brokers([{"sort": "mqtt"}])
    with pytest.raises(ConfigError, match=r"channels\[0\]\.funcTags: role 'other' has no tags"):
        settings.transform_channels("other", [CHANNEL])


def test_a_chain_is_looked_at() -> None:
    done: list[str] = []
    with Composer() as composer:
        assert ComposerContext.get_composer() is composer
        a, b, c, d = (Tasklet(name, done.append, name) for name in "abcd")
        a >> Loop(lambda: len(done) > 5)(b >> c) >> d
    assert ComposerContext.get_composer() is None
    assert composer.chain == {a: {b}, b: {c}, c: {d}, d: set()}
    assert composer.reverse_chain == composer.get_reverse_chain() == {b: {a}, c: {b}, d: {c}}
    assert composer.get_tasklets_in_loop(b, c) == [b, c]
    with pytest.raises(ValueError, match="d does not lead to b"):
        composer.get_tasklets_in_loop(d, b)
    assert c.get_root() is a and b.get_ender() is d
    assert [each.is_last_in_loop() for each in (a, b, c, d)] == [False, False, True, False]
    assert not b.is_loop_done() and a.is_loop_done() and not b.is_continue()
    composer.run()
    assert b.is_loop_done() and b.set_continue_fn(lambda: True).is_continue()
    composer.unlink()
    assert list(composer.unlinked_tasklets) == ["a", "b", "c", "d"]
    with CloneComposer(composer):
        composer.tasklet("a") >> composer.tasklet("d")
    assert list(composer.unlinked_tasklets) == ["b", "c"]
    composer.clear_unlinked_tasklet_state()
    with pytest.raises(KeyError, match="no unlinked tasklet b"):
        composer.tasklet("b")


def test_a_chain_is_built_by_hand() -> None:
    """Siblings are added to a tasklet, and a stretch of a chain becomes a loop, without `>> [...]` and `Loop`."""
    done: list[str] = []
    with Composer() as composer:
        a, b, c, d, e = (Tasklet(name, done.append, name) for name in "abcde")
        a >> b >> c >> d
    b.set_siblings([e])
    assert list(composer.tasklets()) == [a, b, e, c, d]
    with pytest.raises(ChainError, match=r"where the loop begins and where it ends must be said"):
        b.update_loop_attrs(check_fn=lambda: True, ender=c)
    with pytest.raises(ChainError, match="when the loop is done must be said"):
        b.update_loop_attrs(starter=b, ender=c)
    with pytest.raises(ChainError, match="d is not between b and c"):
        d.update_loop_attrs(check_fn=lambda: True, starter=b, ender=c)
    for tasklet in composer.get_tasklets_in_loop(b, c):  # as upstream's own loops do, one after the other
        tasklet.update_loop_attrs(check_fn=lambda: len(done) > 6, starter=b, ender=c)
    b.update_loop_attrs(state=LoopIndicator.BEGIN, ender=c)
    with pytest.raises(ChainError, match="another one would be cut in two"):
        c.update_loop_attrs(check_fn=lambda: True, state=LoopIndicator.BEGIN, ender=d)
    a.update_loop_attrs(check_fn=lambda: done.count("d") == 2, starter=a, ender=d)
    assert str(composer) == "loop(a >> loop([b, e] >> c) >> d)"
    composer.run()
    assert "".join(done) == "abecbecdabed"
    with pytest.raises(ChainError, match="a is in a chain already"):
        d.set_siblings([a])


def test_a_peer_has_queues_for_a_transport() -> None:
    async def moved() -> None:
        end = End("a")
        assert await end.peek() is None and end.is_rxq_empty() and end.is_txq_empty()
        await end.put(b"1")
        await end.put(b"2")
        assert await end.peek() == b"1" == await end.peek()
        assert [await end.get(), await end.get()] == [b"1", b"2"] and end.is_rxq_empty()
        await end.get_txq().put(b"3")
        assert not end.is_txq_empty()

    asyncio.run(moved())


def test_a_role_carries_out_its_own_functions_and_its_class_has_its_collector(tmp_path: Path) -> None:
    """`put` and `get` of any role; `mc` of a class is the collector of whoever runs, also among many in a process."""
    heard: list[Any] = []
    collectors: list[bool] = []

    class Node(Role):
        def compose(self) -> None:
            with Composer() as self.composer:
                Tasklet("internal_init", self.internal_init) >> Tasklet("work", self.work)

        def work(self) -> None:
            self.put("hear")  # who receives for a tag does not send for it, and who does not know it does nothing
            self.get("tell")
            self.put("tell")
            self.get("hear")
            collectors.append(Role.mc is self.mc is Node.mc)

    class Tells(Node):
        @sends("tell", to="hear")
        def tell(self, channel: Any) -> None:
            channel.send(channel.one_end(), self.config.task_id)

    class Hears(Node):
        @receives("hear", frm="tell")
        def hear(self, channel: Any) -> None:
            heard.extend(value for value, _ in channel.recv_fifo(channel.ends()))

    tag = small_tag(
        {"name": "teller", "isDataConsumer": True}, {"name": "hearer"}, {"teller": ["tell"], "hearer": ["hear"]}
    )
    flame.run(roles={"teller": Tells, "hearer": Hears}, tag=tag, data=[0, 1], hosts=0, out=tmp_path)
    assert len(set(heard)) == 2 and collectors == [True] * 3


def small_tag(*roles: Any) -> Any:
    """Two roles and the tags of their one channel."""
    *roles, tags = roles  # type: ignore[assignment]
    seats, pair = [{"c": "default"}], [role["name"] for role in roles]
    channel = {"name": "c", "pair": pair, "groupBy": {"type": "tag", "value": ["default"]}, "funcTags": tags}
    return read({"name": "t", "roles": [{**role, "groupAssociation": seats} for role in roles], "channels": [channel]})


def test_a_method_is_timed_and_what_nobody_catches_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Role:
        mc = MetricCollector()

        @time_tasklet
        def prepare(self, seconds: float) -> float:
            time.sleep(seconds)
            return seconds

    before = time.time()
    assert Role().prepare(0.01) == 0.01
    measured: dict[str, Any] = Role.mc.get()
    assert before <= measured["prepare.starttime"] <= time.time() and measured["prepare.runtime"] >= 0.01
    with caplog.at_level(logging.CRITICAL):
        custom_excepthook(ValueError, ValueError("unexpected"), None)
    assert caplog.records[0].levelname == "CRITICAL" and "unexpected" in caplog.text


def test_a_coordinator_asks_for_its_channels_by_tag(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    class Watching(Coordinator):
        def increment_round(self) -> None:
            channel = self.get_channel(TAG_COORDINATE_WITH_TRAINER)
            seen.append((channel.other_role(), len(channel.all_ends())))
            super().increment_round()

    job = {"model": lambda: {"w": np.zeros(1)}, "train": lambda net, item: None, "data": [1.0, 2.0, 3.0], "hosts": 0}
    flame.run(tag="coordinated", roles={"coordinator": Watching}, rounds=2, out=tmp_path, **job)
    assert seen == [("trainer", 3)] * 2


LOGS = """
import logging
from flame.config import Config
from flame.mode.composer import Composer
from flame.mode.role import Role
from flame.mode.horizontal.coord_syncfl.coordinator import TAG_COORDINATE_WITH_TRAINER, Coordinator
from flame.mode.tasklet import Tasklet

class Says(Role):
    def compose(self):
        with Composer() as self.composer:
            Tasklet("info", logging.info, "Test accuracy: 0.5") >> Tasklet("worse", logging.warning, "late")

config = Config.from_dict({
    "taskid": "1", "role": "r", "backend": "mqtt", "job": {"id": "1"}, "groupAssociation": {}, "channels": []
})
OWN
role = Says(config)
role.compose()
role.run()
"""


def test_a_program_by_itself_writes_log_lines_of_six_fields_unless_it_has_set_up_its_own() -> None:
    def said(own: str = "", **env: str) -> tuple[str, str]:
        command = [sys.executable, "-c", LOGS.replace("OWN", own)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})
        return done.stdout, done.stderr

    out, err = said()
    fields = [field.strip() for field in out.split("|")]
    assert (len(fields), fields[2], fields[-1]) == (6, "INFO", "Test accuracy: 0.5") and err.strip().endswith("| late")
    assert said(LOG_LEVEL="warning")[0] == ""
    assert "LOG_LEVEL: is 'loud' (choose one of CRITICAL" in said(LOG_LEVEL="loud")[1]
    assert said("logging.basicConfig(format='own %(message)s')") == ("", "own late\n")
