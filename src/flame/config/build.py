"""From a TAG and its workers to each worker's config: pure, and cheap for a role's ten-thousandth worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from flame.config.read import backend_sort, func_tag_map
from flame.config.records import Broker, Checkpointing, Job, JobSpec, ModelSpec, Network
from flame.config.worker import Config
from flame.tag import Role, Tag, WorkerSpec
from flame.tag.parts import parts, places


def configs(tag: Tag, job: JobSpec, specs: Iterable[WorkerSpec]) -> Iterator[Config]:
    """The config of each worker, in order; workers of a role, and of an experiment, share what they have in common.

    A worker's readable name is its role and its number among the role's workers, from 0: `trainer/3`.

    Raises:
        TagError: a worker's role is not in the TAG.
        ConfigError: the job names a backend that nobody knows.
    """
    chosen = _models(tag, job)
    kinds: dict[tuple[str, int], Config] = {}
    counts: dict[str, int] = {}
    for spec in specs:
        role = spec.role
        model = chosen(tag.role(role), spec) if job.experiments else job.model
        kind = role, id(model)
        if kind not in kinds:
            kinds[kind] = _of_role(tag, job, role, model)
        number = counts.get(role, 0)
        counts[role] = number + 1
        yield kinds[kind].for_worker(spec.task_id, spec.group_association, spec.dataset, f"{role}/{number}")


def _models(tag: Tag, job: JobSpec) -> Callable[[Role, WorkerSpec], ModelSpec]:
    """Which settings a worker gets: those of the experiment that its federation is, or the job's."""
    numbers = parts(tag)
    by_number = {number: job.experiments[group] for (_, group), number in numbers.items() if group in job.experiments}

    def model(role: Role, spec: WorkerSpec) -> ModelSpec:
        mine = places(tag, role, spec.group_association)
        return by_number.get(numbers[mine[0]], job.model) if mine else job.model

    return model


def _of_role(tag: Tag, job: JobSpec, role: str, model: ModelSpec) -> Config:
    """What all workers of a role know; the attributes of the single worker are left empty."""
    tag.role(role)
    channels = {
        channel.name: channel
        if role in channel.func_tags
        else replace(channel, func_tags={**channel.func_tags, role: ()})
        for channel in tag.channels
        if role in channel.pair
    }
    return Config.of(
        task_id="",
        group_association={},
        dataset="",
        name="",
        role=role,
        seed=job.seed,
        task="local",
        realm="",
        job=Job(job.id, job.name),
        backend=backend_sort(job.backend, "job: backend"),
        brokers=Broker(job.brokers),
        channels=channels,
        func_tag_map=func_tag_map(channels, role),
        hyperparameters=model.hyperparameters,
        selector=model.selector,
        optimizer=model.optimizer,
        gate=model.gate,
        datasampler=model.datasampler.fed(model.hyperparameters),
        privacy=model.privacy,
        registry=model.registry,
        base_model=model.base_model,
        max_run_time=job.max_run_time,
        dependencies=model.dependencies,
        network=Network(),
        checkpoint=Checkpointing(),
    )
