"""Channels that compress: what goes out on each, how often it is packed, and what happens to nonsense."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from flame.backend.directory import Directory, Seat
from flame.backend.inproc import InProc
from flame.backend.pool import Pool
from flame.channel.channel import Channel, Wiring
from flame.channel.coding import CODING
from flame.channel.packing import packing_of
from flame.common.fiber import Hub
from flame.compression.packed import Packed, packed
from flame.engine.gate import Everyone
from flame.engine.leading import Leading
from flame.errors import ConfigError
from flame.optimizer.fedavg import FedAvg
from flame.optimizer.fedopt import FedAdam
from flame.selector.default import Default
from flame.tag import Channel as Spec
from flame.tag import Compression
from flame.weights import adapters
from flame.weights.layout import Weights
from flame.wire.message import Order, Update


class Desk:
    """Where a channel's messages land."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def deliver(self, channel: str, source: str, message: Any) -> None:
        self.channel.put(source, message)


class Place:
    """A server and some sites, in one host; a compression for each way."""

    def __init__(self, down: Compression | None, up: Compression | None, sites: int = 2) -> None:
        self.directory = Directory()
        self.backend = InProc(self.directory, CODING.size_of)
        self.server = self._seat("server", "server", "site", down)
        self.sites = [self._seat(f"site{number}", "site", "server", up) for number in range(sites)]

    def _seat(self, end: str, role: str, other: str, choice: Compression | None) -> Channel:
        seat = Seat("c", "g", role, end)
        self.directory.seat([seat], 0)
        packing = packing_of(Spec("c", ("server", "site"), compression=choice))
        wiring = Wiring(self.backend, Hub(), str)
        channel = Channel(seat, other, wiring, Default(generator=Random(0)), "job", packing)
        self.backend.attach(end, Desk(channel))
        return channel


def model(seed: int = 0, size: int = 200) -> Weights:
    return Weights.pack({"w": np.random.default_rng(seed).standard_normal((size, size)).astype(np.float32)})


def taken(channel: Channel, end: str) -> Any:
    message = channel.take(end)
    assert message is not None
    return message


INT8, TOPK = Compression("int8"), Compression("topk", {"keep": 0.1})


def test_one_order_to_many_is_packed_once_and_counts_as_it_is() -> None:
    place, order = Place(INT8, None, sites=3), Order(1, model())
    place.server.post(place.server.all_ends(), order)
    got = [taken(site, "server") for site in place.sites]
    assert packed(got[0].weights) is not None and all(each is got[0] for each in got)
    assert place.server.sent_bytes == 3 * packed(got[0].weights).packed_nbytes < 3 * order.weights.nbytes / 3
    assert got[0].round == 1 and order.weights.source is None


def test_a_channel_without_compression_sends_plain_whatever_it_is_given() -> None:
    place = Place(INT8, None)
    place.server.post(["site0"], Order(1, model()))
    came = taken(place.sites[0], "server")
    place.sites[0].post(["server"], Update(came.weights, 1, 1))
    back = taken(place.server, "site0")
    assert back.weights.source is None and back.weights.data.tobytes() == came.weights.data.tobytes()
    assert place.sites[0].sent_bytes == came.weights.nbytes


def test_an_order_that_came_packed_goes_on_as_it_is() -> None:
    place = Place(INT8, INT8)
    place.server.post(["site0"], Order(1, model()))
    came = taken(place.sites[0], "server")
    place.sites[0].post(["server"], came)
    assert taken(place.server, "site0").weights is came.weights


def test_topk_lets_orders_and_values_be() -> None:
    place, order = Place(TOPK, TOPK), Order(1, model())
    place.server.post(["site0"], order)
    assert taken(place.sites[0], "server") is order
    place.server.send("site0", {"w": 1})
    assert place.sites[0].recv("server")[0] == {"w": 1}
    place.server.post(["site0"], Order(2, None, True))
    assert taken(place.sites[0], "server").weights is None
    place.sites[0].post(["server"], Update(None, 0, 1))
    assert taken(place.server, "site0").weights is None


def test_nothing_is_forgotten_when_nobody_is_there() -> None:
    """An update that nobody gets is not taken for sent."""
    place, update = Place(None, TOPK), Update(model(), 1, 1)
    place.sites[0].post(["nobody"], update)
    place.sites[0].post(["server"], update)
    first = taken(place.server, "site0").weights.data
    fresh = Place(None, TOPK)
    fresh.sites[0].post(["server"], update)
    assert first.tobytes() == taken(fresh.server, "site0").weights.data.tobytes()


def test_zstandard_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match=r"channel c: compression.*pip install 'flame-fl\[compression\]'"):
        packing_of(Spec("c", ("a", "b"), compression=INT8))


def round_of(place: Place, updates: dict[str, Update], step: Any = None, size: int = 200) -> Any:
    """One round at the server, with these answers; the model and the round."""
    holder = {"w": np.zeros((size, size), np.float32)}
    adapter, leading = adapters.of(holder), Leading(step or FedAvg(), Pool(), Everyone(), 1.0)
    order = Order(1, adapter.snapshot())
    leading.ask(place.server, lambda: order)
    for end, update in updates.items():
        place.server.put(end, update)
    leading.gather(place.server)
    leading.close(adapter)
    return holder["w"], leading.round


def broken(update: Update) -> Update:
    """The same, with a last chunk that is a byte too short, as if it had come from outside."""
    small = packed(update.weights)
    assert small is not None
    assert isinstance(small.body, np.ndarray)
    table = small.table.copy()
    table[-1, 1] -= 1
    source = Packed(small.layout, small.name, table, small.body[:-1])
    return msgspec.structs.replace(update, weights=Weights(small.layout, None, source))


@pytest.mark.parametrize("step", [FedAvg, FedAdam])
@pytest.mark.parametrize("size", [10, 200, 700])
def test_a_site_that_sends_nonsense_is_left_out_and_the_round_goes_on(step: Any, size: int) -> None:
    """However large the model is: what is small is unpacked at once, what is large while it is folded."""
    place = Place(None, INT8)
    for number, site in enumerate(place.sites):
        site.post(["server"], Update(model(number, size), 1, 1))
    good, bad = taken(place.server, "site0"), broken(taken(place.server, "site1"))
    weights, round_ = round_of(place, {"site0": good, "site1": bad}, step(), size)
    alone, _ = round_of(
        Place(None, None, sites=1),
        {"site0": Update(Weights(good.weights.layout, good.weights.data), 1, 1)},
        step(),
        size,
    )
    assert (round_.asked, round_.folded) == (2, 1)
    assert (weights == alone).all() and weights.any()


def test_many_packed_updates_do_not_pile_up() -> None:
    """They are summed on the way, to the same bits, once they are larger than the sum."""
    place, plain = Place(None, INT8, sites=12), Place(None, None, sites=12)
    answers, same = {}, {}
    for number, site in enumerate(place.sites):
        site.post(["server"], Update(model(number), number + 1, 1))
        end = f"site{number}"
        answers[end] = taken(place.server, end)
        same[end] = Update(Weights(answers[end].weights.layout, answers[end].weights.data), number + 1, 1)
    assert (round_of(place, answers)[0] == round_of(plain, same)[0]).all()
