"""What is fuzzed: one function for each reader of bytes or files that nobody vouches for.

A target takes any bytes and returns; it raises only where the reader broke a promise: another error than its own, or a
law that does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from targets import files, node, settings, stream, wire

TARGETS: Mapping[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]] = {
    "codec": (wire.run_codec, wire.codec_seeds),
    "message": (wire.run_message, wire.message_seeds),
    "speech": (wire.run_speech, wire.speech_seeds),
    "tcp": (stream.run_tcp, stream.tcp_seeds),
    "session": (stream.run_session, stream.session_seeds),
    "node": (node.run_node, node.node_seeds),
    "node-broker": (node.run_broker_node, node.node_seeds),
    "safetensors": (files.run_safetensors, files.safetensors_seeds),
    "archive": (files.run_archive, files.archive_seeds),
    "tag-json": (settings.run_tag_json, settings.tag_seeds),
    "tag-yaml": (settings.run_tag_yaml, settings.yaml_seeds),
    "config": (settings.run_config, settings.config_seeds),
    "job": (settings.run_job, settings.job_seeds),
}
"""Each target, and what it is started with: what is valid, mostly."""
