"""From a TAG and its workers to configs."""

from __future__ import annotations

import json
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest
from job_folder import SCHEMA, job_folder

from flame.config import Config, DataSampler, Hyperparameters, JobSpec, ModelSpec
from flame.config.build import configs
from flame.config.job import read_job
from flame.errors import ConfigError, TagError
from flame.tag import Tag, WorkerSpec, expand, read

WORKERS = 10_000


@pytest.fixture
def tag() -> Tag:
    return read(SCHEMA)


def job(**settings: object) -> JobSpec:
    return JobSpec(id="0" * 24, name="lungs", **settings)  # type: ignore[arg-type]


def trainers(count: int, group: str = "us") -> list[WorkerSpec]:
    association = {"param": group}
    return [WorkerSpec(f"{i:040x}", "trainer", association, f"file:///data/{i}", "default") for i in range(count)]


def test_each_worker_knows_its_own_and_its_roles_settings(tmp_path: Path) -> None:
    files = read_job(job_folder(tmp_path))
    specs = expand(files.tag, files.data, job_id=files.job.id)
    made = list(configs(files.tag, files.job, specs))
    assert [config.name for config in made] == [
        *("aggregator/0", "aggregator/1"),
        *("trainer/0", "trainer/1", "trainer/2", "trainer/3"),
    ]
    for config, spec in zip(made, specs, strict=True):
        assert (config.task_id, config.role, config.dataset) == (spec.task_id, spec.role, spec.dataset)
        assert config.group_association == spec.group_association
        assert (config.job.job_id, config.job.name) == (files.job.id, "lungs")
        assert (config.backend, config.optimizer.sort, config.seed) == ("mqtt", "fedadam", 0)
    assert made[0].func_tag_map == {"distribute": "param", "aggregate": "param"}
    assert made[-1].func_tag_map == {"fetch": "param", "upload": "param"}


def test_a_config_that_was_written_is_the_config(tmp_path: Path) -> None:
    files = read_job(job_folder(tmp_path), overrides={"datasampler.sort": "fedbalancer"})
    for config in configs(files.tag, files.job, expand(files.tag, files.data)):
        assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_workers_of_a_role_share_all_but_their_own(tag: Tag) -> None:
    first, second = configs(tag, job(), trainers(2))
    own = {"task_id", "dataset", "name"}
    shared = [name for name in Config.__slots__ if name not in own]
    assert all(getattr(first, name) is getattr(second, name) for name in shared)
    assert all(getattr(first, name) != getattr(second, name) for name in own)


def test_another_worker_costs_less_than_600_bytes(tag: Tag) -> None:
    made = configs(tag, job(), trainers(WORKERS + 1))
    kept = [next(made)]
    tracemalloc.start()
    kept.extend(islice(made, WORKERS))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == WORKERS + 1
    assert size / WORKERS < 600


def test_a_sampler_is_given_the_hyperparameters(tag: Tag) -> None:
    model = ModelSpec(
        hyperparameters=Hyperparameters(epochs=3, batchSize=8),
        datasampler=DataSampler("fedbalancer", {"w": 20}),
    )
    (config,) = configs(tag, job(model=model), trainers(1))
    assert config.datasampler.kwargs == {"rounds": 1, "epochs": 3, "batchSize": 8, "w": 20}


def test_wrong_names_are_refused(tag: Tag) -> None:
    with pytest.raises(ConfigError, match="job: backend: no backend named 'pigeon'"):
        list(configs(tag, job(backend="pigeon"), trainers(1)))
    with pytest.raises(TagError, match="no role is named 'nobody'"):
        list(configs(tag, job(), [WorkerSpec("0" * 40, "nobody", {}, "", "default")]))
