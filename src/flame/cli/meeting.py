"""Where the workers of a server's jobs meet: at brokers that it is told of, or at its own, on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec

from flame.backend.broker import serve
from flame.backend.courier import Courier
from flame.backend.reception import Reception
from flame.backend.tcp import join, listen
from flame.control.store import Store
from flame.errors import ChannelError, FlameError

LOCAL = "127.0.0.1"

log = logging.getLogger(__name__)


@contextmanager
def meeting_points(given: Mapping[str, str], store: Store) -> Iterator[dict[str, str]]:
    """For each sort of backend an address; the server's own ones are where they were before, if they can be.

    Without amqtt there is no broker for mqtt but the one that is given.
    """
    brokers = dict(given)
    with ExitStack() as stack:
        for sort, begin in (("p2p", _rendezvous), ("mqtt", _broker)):
            if sort in given or (sort == "mqtt" and find_spec("amqtt") is None):
                continue
            before = store.setting(f"meeting point: {sort}", join(LOCAL, 0))
            try:
                brokers[sort] = stack.enter_context(begin(before))
            except ChannelError:
                log.warning("somebody else is at %s by now: workers of jobs under way do not find %s", before, sort)
                brokers[sort] = stack.enter_context(begin(join(LOCAL, 0)))
            store.remember(f"meeting point: {sort}", brokers[sort])
        yield brokers


@contextmanager
def _rendezvous(address: str) -> Iterator[str]:
    with listen(address) as door:
        courier = Courier("flame-rendezvous", _end_everything)
        reception = Reception(courier, door)
        courier.start()
        try:
            host, port = door.getsockname()[:2]
            yield join(host, port)
        finally:
            courier.call(reception.close)
            courier.stop()


@contextmanager
def _broker(address: str) -> Iterator[str]:
    with listen(address) as free:  # it is not told where it got, so that it is told where to go
        address = join(*free.getsockname()[:2])
    broker = _Broker(address)
    broker.start()
    try:
        yield address
    finally:
        broker.stop()


class _Broker:
    """A broker in a thread of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._settled = threading.Event()
        self._failure: FlameError | None = None
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="flame-broker", daemon=True)

    def start(self) -> None:
        """Begin; it listens when this returns, or ChannelError."""
        self._thread.start()
        self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End it."""
        self._stop()
        self._thread.join()

    async def _serve(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = partial(loop.call_soon_threadsafe, stopped.set)
        try:
            await serve(self._address, None, self._settled.set, stopped)
        except FlameError as error:
            self._failure = error
        finally:
            self._settled.set()


def _end_everything(error: BaseException) -> None:
    """A rendezvous that fails is a defect of ours; jobs would wait without knowing why."""
    log.critical("the rendezvous failed", exc_info=error)
    os.kill(os.getpid(), signal.SIGTERM)
