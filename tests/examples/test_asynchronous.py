"""Who waits for whom, in stars and in trees: every row of the example learns; whoever does not wait is done sooner."""

from __future__ import annotations

from pathlib import Path


def test_whoever_does_not_wait_for_all_is_done_sooner(load, tmp_path: Path) -> None:
    example = load("asynchronous/main.py")
    seconds, accuracy, rounds = {}, {}, {}
    for number, row in enumerate(example.ROWS):
        seconds[row], accuracy[row], rounds[row] = example.run(row, tmp_path / str(number))
    slowest = seconds["star, waits for all"]
    same = {row for row in seconds if seconds[row] == slowest}
    assert same == {"star, waits for all", "star, eager", "sync over sync"}
    assert all(seconds[row] < slowest / 3 for row in set(seconds) - same)
    assert min(seconds, key=seconds.__getitem__) == "star, FedBuff"
    assert rounds["star, FedBuff"] > rounds["star, waits for all"]
    assert min(accuracy.values()) > 0.85
