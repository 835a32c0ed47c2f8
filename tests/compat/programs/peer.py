"""One end of a channel, as a process of its own: it says that it is there, and then does what it was started for."""

import signal
import sys

import numpy as np

from flame.channel_manager import ChannelManager
from flame.config import Config
from flame.mode.message import MessageType

config = Config(sys.argv[1])
manager = ChannelManager(config)
manager.join_all()
channel = manager.get("param-channel")
assert not channel.await_join()
above = channel.one_end()
channel.send(above, "here")
if config.hyperparameters.does == "hang":
    channel.dispatch()
    signal.pause()
elif config.hyperparameters.does == "answer":
    channel.send(above, channel.recv(above)[0])
    channel.recv(above)
else:  # it says goodbye, and nobody cleans up for it
    channel.broadcast(np.arange(400_000))
    channel.broadcast({MessageType.EOT: True})
