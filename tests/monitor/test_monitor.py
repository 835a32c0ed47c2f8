"""What a worker measures about itself."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from flame.monitor.metrics import Metrics
from flame.monitor.system import Sample, SystemSampler, Usage


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


def test_use_of_the_processor_and_of_memory():
    usage = Usage()
    end = time.perf_counter() + 0.05
    while time.perf_counter() < end:
        pass
    busy = usage.look()
    ballast = np.ones(32 << 20, np.uint8)
    grown = usage.look()
    assert busy.cpu_utilization > 5
    assert grown.cpu_memory_rss - busy.cpu_memory_rss > 0.9 * ballast.nbytes
    assert grown.cpu_memory_vsz >= grown.cpu_memory_rss > 1 << 20


def test_a_sampler_runs_only_between_start_and_stop():
    before = threading.active_count()
    sampler = SystemSampler(60)
    assert threading.active_count() == before and sampler.statistics() == {}
    sampler.start()
    sampler.start()
    assert threading.active_count() == before + 1
    sampler.stop()
    sampler.stop()
    assert threading.active_count() == before
    assert sampler.statistics()["mean.cpu_memory_rss"] > 1 << 20, "the last sample"
    sampler.clear()
    assert sampler.statistics() == {}


def test_statistics_of_every_series():
    with SystemSampler(0.001, keep=5) as sampler:
        threading.Event().wait(0.05)
    statistics = sampler.statistics()
    kinds = ["min", "max", "mean", "25th_prcntl", "50th_prcntl", "75th_prcntl", "std"]
    assert set(statistics) == {f"{kind}.{series}" for kind in kinds for series in Sample._fields}
    for series in Sample._fields:
        values = [
            statistics[f"{kind}.{series}"] for kind in ("min", "25th_prcntl", "50th_prcntl", "75th_prcntl", "max")
        ]
        assert values == sorted(values)
        assert statistics[f"std.{series}"] >= 0


def test_it_can_be_started_again():
    sampler = SystemSampler(60)
    for _ in range(2):
        with sampler:
            pass
    assert sampler.statistics()["min.cpu_memory_vsz"] > 0


def test_a_failing_block_stops_it_too():
    before = threading.active_count()
    with pytest.raises(KeyError), SystemSampler(60):
        raise KeyError
    assert threading.active_count() == before
