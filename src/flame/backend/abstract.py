"""Transports of a program's own, as they are written for Cisco's Flame.

```python
class Mine(AbstractBackend): ...

backend_provider.register("mine", Mine)
```

Such a backend has an asyncio loop in a thread of its own. It finds the peers of a channel and tells the channel of
them (`await channel.add(end)`, `await channel.remove(end)`), puts what has come into `channel.get_rxq(end)`, and sends
what it takes out of `channel.get_txq(end)`: one payload is one message, of any size. An empty payload, `EMPTY_PAYLOAD`,
is no message: whoever sends stops there. What a channel has besides is in `flame.channel.foreign.ForeignChannel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop
from typing import Any

from flame.common.constants import CommType


class AbstractBackend(ABC):
    """A transport between programs that are started one by one; made without arguments, once for each address."""

    @abstractmethod
    def configure(self, broker: str, job_id: str, task_id: str) -> None:
        """Begin.

        Args:
            broker: the address that the config has for this backend, or the channel's `brokerHost`; "" if it has none.
            job_id: the job.
            task_id: this worker's id, by which its peers know it.
        """

    @abstractmethod
    def loop(self) -> AbstractEventLoop:
        """The loop in which `attach_channel`, `create_tx_task` and all coroutines run; it runs already."""

    @abstractmethod
    def uid(self) -> str:
        """This worker's id."""

    @abstractmethod
    def attach_channel(self, channel: Any) -> None:
        """A channel is there; it is joined next."""

    @abstractmethod
    def join(self, channel: Any) -> None:
        """Let the peers of a channel know of this worker, and tell the channel of them."""

    @abstractmethod
    def leave(self, channel: Any) -> None:
        """Let the peers know that this worker goes; everything that it has sent has been taken out of the queues."""

    @abstractmethod
    def create_tx_task(self, channel_name: str, end_id: str, comm_type: CommType = CommType.UNICAST) -> Any:
        """Begin to send what is in the queue for an end, or, with BROADCAST, what is in the queue for everybody."""

    def set_cleanup_ready(self, end_id: str) -> None:  # noqa: B027 - not every transport has something to let go of
        """An end that the channel was told to remove is not needed any more."""

    async def set_cleanup_ready_async(self, end_id: str) -> None:
        """The same, in the loop."""
        self.set_cleanup_ready(end_id)
