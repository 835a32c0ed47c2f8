"""Files that people write: TAGs, workers' configs, the folders of jobs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from flame.config import Config
from flame.config.build import configs
from flame.config.job import read_job
from flame.errors import ConfigError, TagError
from flame.tag import build, dumps, expand
from flame.tag import read as read_tag
from targets.inputs import A_FEW_EDITS, EDITED, cut, edited, joined, scratch


def run_tag_json(data: bytes) -> None:
    """A TagError that can be printed, or a TAG that is the same when it is written and read again."""
    _read_tag(data, "tag.json")


def run_tag_yaml(data: bytes) -> None:
    """As JSON."""
    _read_tag(data, "tag.yaml")


def _read_tag(data: bytes, name: str) -> None:
    path = scratch() / name
    if data[:1] in EDITED:
        try:
            data = json.dumps(edited(json.loads(tags()[data[0] % 2]), data[1:])).encode()
        except RecursionError:
            return  # deeper than JSON can be written from here
    path.write_bytes(data)
    try:
        tag = read_tag(path)
    except TagError as error:
        str(error).encode()
        return
    path = scratch() / "written.json"
    path.write_text(dumps(tag), encoding="utf-8")
    assert read_tag(path) == tag


@cache
def tags() -> tuple[str, str]:
    """Two TAGs that are valid."""
    return (
        dumps(
            build("star")
            .role("trainer", data_consumer=True)
            .role("aggregator")
            .channel("param-channel", {"trainer": "fetch upload", "aggregator": "distribute aggregate"})
            .done()
        ),
        dumps(
            build("tree", "two levels")
            .role("trainer", {"p": "eu"}, {"p": "us"}, data_consumer=True)
            .role("middle", {"p": "eu", "g": "default"}, {"p": "us", "g": "default"}, replica=1)
            .role("top")
            .channel("p", {"trainer": "fetch upload", "middle": "distribute aggregate"}, groups=("eu", "us"))
            .channel("g", {"middle": "fetch upload", "top": "distribute aggregate"}, backend="mqtt")
            .done()
        ),
    )


def tag_seeds() -> Iterator[bytes]:
    yield from (text.encode() for text in tags())
    yield from A_FEW_EDITS


def yaml_seeds() -> Iterator[bytes]:
    yield from tag_seeds()
    yield STAR.encode()


STAR = """
name: star
"//": [a comment, 1, 2.5e3, 0x1F, 1:30, ~, true, 2001-12-14, !!binary aGk=, !!set {a}, !!omap [a: 1]]
roles:
- &t {name: trainer, isDataConsumer: true, groupAssociation: [{c: default}]}
- <<: *t
  name: aggregator
  isDataConsumer: false
channels:
- name: c
  pair: [trainer, aggregator]
  funcTags: {trainer: [fetch, upload], aggregator: [distribute, aggregate]}
"""


def run_config(data: bytes) -> None:
    """A ConfigError, or a config that is the same when it is written and read again."""
    try:
        if data[:1] in EDITED:
            content = edited(json.loads(json.dumps(WORKERS[data[0] % 2])), data[1:])
        else:
            content = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        config = Config.from_dict(content)
    except ConfigError:
        return
    plain = config.to_dict()
    again = Config.from_dict(json.loads(json.dumps(plain)))
    assert json.dumps(again.to_dict(), sort_keys=True) == json.dumps(plain, sort_keys=True)


TAGS = {"trainer": ["fetch", "upload"], "aggregator": ["distribute", "aggregate"]}
MODEL: dict[str, Any] = {
    "dependencies": ["numpy"],
    "hyperparameters": {"batchSize": "32", "learningRate": 0.01, "rounds": 5, "aggGoal": 2, "mine": [1, {"//": 2}]},
    "baseModel": {"name": "m", "version": 1},
    "registry": {"sort": "local", "uri": "runs"},
    "selector": {"sort": "random", "kwargs": {"k": 2}},
    "optimizer": {"sort": "fedadam", "kwargs": {"beta_1": 0.9}},
    "datasampler": {"sort": "fedbalancer"},
    "privacy": {"sort": "dp", "kwargs": {}},
}
WORKER: dict[str, Any] = {
    "taskid": "49d06b75",
    "role": "trainer",
    "backend": "p2p",
    "job": {"id": "62", "name": "j"},
    "groupAssociation": {"c": "eu"},
    "channels": [
        {"name": "c", "pair": ["trainer", "aggregator"], "funcTags": TAGS, "groupBy": {"value": ["eu"]}},
    ],
}
MORE = {
    "brokers": [{"host": "localhost", "sort": "mqtt"}],
    "seed": 3,
    "network": {"listen": "h:1", "ca": "a", "cert": "b", "key": "c", "tokenFile": "t", "silence": 3},
    "//": "a comment",
}
WORKERS = (WORKER, WORKER | MODEL | MORE)


def config_seeds() -> Iterator[bytes]:
    yield from (json.dumps(one).encode() for one in WORKERS)
    yield from A_FEW_EDITS


FILES = ("job.json", "modelSpec.json", "dataSpec.json", "dataset1.json", "schema.json")
"""The files of a job's folder, in the order in which they are in an input."""


def run_job(data: bytes) -> None:
    """A ConfigError or TagError that can be printed, or a job from which every worker's config can be made."""
    try:
        if data[:1] in EDITED:
            content = edited(job(data[0] % 2), data[1:])
            files = [json.dumps(item).encode() for item in content] if isinstance(content, list) else []
        else:
            files = list(cut(data))
    except RecursionError:
        return
    top = scratch() / "job"
    shutil.rmtree(top, ignore_errors=True)
    _write(top, files)
    try:
        found = read_job(top, needs_code=False)
    except (ConfigError, TagError) as error:
        str(error).encode()
        return
    for worker in configs(found.tag, found.job, expand(found.tag, found.data, job_id=found.job.id)):
        plain = worker.to_dict()
        again = Config.from_dict(json.loads(json.dumps(plain)))
        assert json.dumps(again.to_dict(), sort_keys=True) == json.dumps(plain, sort_keys=True)


def _write(top: Path, files: list[bytes]) -> None:
    top.mkdir()
    for name, content in zip(FILES, files, strict=False):
        if content not in (b"", b"null"):
            (top / name).write_bytes(content)


def job(which: int) -> list[Any]:
    """What is in the files of a valid job."""
    about = {"name": "j", "backend": "p2p", "maxRunTime": 30, "seed": 1, "//": "a comment"}
    groups = ({"eu": ["one"], "us": ["dataset1"]}, {"default": ["one"]})[which]
    data = [{"role": "trainer", "datasetGroups": groups}]
    dataset = {"name": "one", "url": "sites/1.npz", "dataFormat": "npz", "realm": "us", "computeId": "eu-1"}
    return [about, json.loads(json.dumps(MODEL)), data, dataset, json.loads(tags()[1 - which])]


def job_seeds() -> Iterator[bytes]:
    for which in (0, 1):
        yield joined(*(json.dumps(content).encode() for content in job(which)))
    yield from A_FEW_EDITS
