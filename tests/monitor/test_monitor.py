"""What a worker measures about itself."""

from __future__ import annotations

import threading

from flame.monitor.metrics import Metrics


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
