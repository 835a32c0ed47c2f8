"""A transport as somebody writes one for Cisco's Flame, and a program of the neighbouring files that is run over it.

Every worker listens on this machine and notes its port in a folder, the "broker"; who finds a note connects to it.
"""

import asyncio
import json
import struct
import sys
import threading
from datetime import datetime
from importlib import import_module
from pathlib import Path

from flame.backend.abstract import AbstractBackend
from flame.backends import backend_provider
from flame.common.constants import EMPTY_PAYLOAD, CommType
from flame.common.util import run_async
from flame.config import Config


class Loopback(AbstractBackend):
    def configure(self, broker, job_id, task_id):
        self._folder, self._job_id, self._id = Path(broker), job_id, task_id
        self._channels, self._writers, self._tasks, self.cleaned = {}, {}, set(), []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server, _ = run_async(asyncio.start_server(self._hear, "127.0.0.1", 0), self._loop, 10)

    def loop(self):
        return self._loop

    def uid(self):
        return self._id

    def attach_channel(self, channel):
        self._channels[channel.name()] = channel

    def join(self, channel):
        port = self._server.sockets[0].getsockname()[1]
        note = self._note(channel, channel.my_role(), self._id)
        note.with_suffix(".new").write_text(str(port))
        note.with_suffix(".new").rename(note)
        self._begin(self._look_around(channel))

    def leave(self, channel):
        self._note(channel, channel.my_role(), self._id).unlink()
        for key in [key for key in self._writers if key[0] == channel.name()]:
            run_async(self._hang_up(self._writers.pop(key)), self._loop, 10)

    def create_tx_task(self, channel_name, end_id, comm_type=CommType.UNICAST):
        self._begin(self._tell(self._channels[channel_name], end_id, comm_type))

    async def set_cleanup_ready_async(self, end_id):
        self.cleaned.append(end_id)

    def _begin(self, work):
        def begin():
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(begin)

    def _note(self, channel, role, end):
        return self._folder / f"{self._job_id}-{channel.name()}-{channel.groupby()}-{role}-{end}.port"

    async def _look_around(self, channel):
        while True:
            for note in self._folder.glob(self._note(channel, channel.other_role(), "*").name):
                await channel.add(note.stem.rpartition("-")[2])
            await asyncio.sleep(0.02)

    async def _tell(self, channel, end, comm_type):
        if comm_type == CommType.BROADCAST:
            while (payload := await channel.broadcast_q().get()) != EMPTY_PAYLOAD:
                for writer in self._writers.values():
                    writer.write(struct.pack("<I", len(payload)) + payload)
            return
        queue, note = channel.get_txq(end), self._note(channel, channel.other_role(), end)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(note.read_text()))
        except OSError:
            return await self._lose(channel, end)
        self._writers[channel.name(), end] = writer
        hello = json.dumps([channel.name(), self._id]).encode()
        writer.write(struct.pack("<I", len(hello)) + hello)
        while (payload := await queue.get()) != EMPTY_PAYLOAD:
            writer.write(struct.pack("<I", len(payload)) + payload)
            await writer.drain()

    async def _hear(self, reader, writer):
        try:
            name, end = json.loads(await self._frame(reader))
            channel = self._channels[name]
            await channel.add(end)
            while True:
                await channel.get_rxq(end).put((await self._frame(reader), datetime.now()))
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._lose(channel, end)

    async def _frame(self, reader):
        (size,) = struct.unpack("<I", await reader.readexactly(4))
        return await reader.readexactly(size)

    async def _lose(self, channel, end):
        self._note(channel, channel.other_role(), end).unlink(missing_ok=True)
        await channel.remove(end)

    async def _hang_up(self, writer):
        writer.close()
        await writer.wait_closed()


backend_provider.register("loopback", Loopback)

if __name__ == "__main__":
    kind = sys.argv[2]
    role = getattr(import_module(kind), f"Step{kind.title()}")(Config(sys.argv[1]))
    role.compose()
    role.run()
    print(json.dumps(role.diary))
