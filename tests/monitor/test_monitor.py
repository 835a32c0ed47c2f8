"""What a worker measures about itself."""

from __future__ import annotations

import threading

from flame.monitor.metrics import Metrics
from flame.monitor.system import Usage


def test_numbers_are_named_by_alias_and_kind():
    metrics = Metrics()
    metrics.save("runtime", "train", 0.5)
    metrics.save("runtime", "train", 0.75)
    metrics.save("starttime", "train", 10.0)
    metrics.accumulate("bytes", "send", 3)
    metrics.accumulate("bytes", "send", 4)
    assert metrics.get() == {"train.runtime": 0.75, "train.starttime": 10.0, "send.bytes": 7}


def test_what_was_got_stays_as_it_was():
    metrics = Metrics()
    metrics.save("a", "b", 1)
    got = metrics.get()
    metrics.clear()
    metrics.save("a", "b", 2)
    assert got == {"b.a": 1} and metrics.get() == {"b.a": 2}


def test_collectors_share_nothing_and_start_no_threads():
    before = threading.active_count()
    one, other = Metrics(), Metrics()
    one.save("a", "b", 1)
    assert other.get() == {} and threading.active_count() == before


def test_what_the_process_uses_is_sampled_when_tasklets_end():
    metrics = Metrics()
    metrics.usage = Usage(every_s=0.0)
    metrics.time("train", 0.0, 0.1)
    sum(range(2_000_000))
    metrics.time("train", 0.0, 0.1)
    got = metrics.get()
    kinds = ("min", "max", "mean", "25th_prcntl", "50th_prcntl", "75th_prcntl", "std")
    assert {f"{kind}.cpu_utilization" for kind in kinds} <= set(got)
    assert got["max.cpu_utilization"] > got["min.cpu_utilization"] >= 0
    assert 2**20 < got["mean.cpu_memory_rss"] < got["mean.cpu_memory_vsz"]
    metrics.clear()
    assert metrics.get() == {}
