"""What the halves of a data sampler tell each other, through any number of tiers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame.channel.channel import Channel
from flame.datasampler import NAME, AggregatorDataSampler
from flame.errors import RunError
from flame.wire.message import Order, Update

Row = tuple[str, float | None, dict[str, Any]]
"""A trainer, how long it took, and what it tells; the trainer's name is "" on its own channel."""


class Sampling:
    """The part of whoever leads in it.

    Args:
        sampler: the aggregator's half; None in between, where what was told is passed on.
    """

    def __init__(self, sampler: AggregatorDataSampler | None) -> None:
        self._sampler = sampler
        self._rows: list[Row] = []

    def tells(self, number: int, channel: Channel) -> dict[str, Any]:
        """The extra of the orders of a round."""
        assert self._sampler is not None  # those in between pass orders on
        metadata = dict(self._sampler.get_metadata(number, channel.all_ends()))
        return {NAME: metadata} if metadata else {}

    def heard(self, channel: Channel, end: str, update: Update, seconds: float | None) -> None:
        """Take what was told with an answer.

        Raises:
            RunError: it is not what trainers tell.
        """
        for source, took, metadata in _rows(end, update.extras.get(NAME, [])):
            row = (source or end, took if source else seconds, metadata)
            if self._sampler is None:
                self._rows.append(row)
                continue
            channel.set_end_property(row[0], "round_duration", row[1])
            self._sampler.handle_metadata_from_trainer(metadata, row[0], channel)

    def relays(self) -> dict[str, Any]:
        """The extra of an answer on behalf of all that were heard since the last one."""
        rows, self._rows = self._rows, []
        return {NAME: rows} if rows else {}


def of_trainer(metadata: Any) -> dict[str, Any]:
    """The extra of a trainer's answer."""
    return {NAME: [("", None, dict(metadata))]} if metadata else {}


def told(order: Order) -> dict[str, Any]:
    """What an order tells a trainer's half; {} if it tells nothing."""
    metadata = order.extras.get(NAME, {})
    if not isinstance(metadata, dict):
        raise RunError(f"an order's extra {NAME!r} is a {type(metadata).__name__}")
    return metadata


def state_of(half: object) -> Mapping[str, Any]:
    """What must be kept of a half to go on later; {} where it keeps nothing."""
    state = getattr(half, "state", None)
    return {} if state is None else dict(state())


def put_back(half: object, state: Mapping[str, Any]) -> None:
    """Let a half go on from what `state_of` returned."""
    restore = getattr(half, "restore", None)
    if restore is not None:
        restore(state)


def _rows(end: str, rows: Any) -> list[Row]:
    for row in rows if isinstance(rows, list | tuple) else [None]:
        if not isinstance(row, list | tuple) or [type(part) for part in row] not in _SHAPES:
            raise RunError(f"{end} tells, as {NAME}, what no trainer does")
    return list(rows)


_SHAPES = ([str, float, dict], [str, type(None), dict])
