"""Smaller names that programs written for Cisco's Flame may use: each does what it says."""

from __future__ import annotations

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
from flame.errors import ConfigError
from flame.mode.composer import CloneComposer, Composer, ComposerContext
from flame.mode.horizontal.coord_syncfl.coordinator import TAG_COORDINATE_WITH_TRAINER, Coordinator
from flame.mode.tasklet import Loop, Tasklet
from flame.monitor.metric_collector import MetricCollector
from flame.monitor.runtime import time_tasklet

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
    assert composer.get_reverse_chain() == {b: {a}, c: {b}, d: {c}}
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
