"""A job's folder: what is read, what is guessed, and what is said about a broken one."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from job_folder import DATA, DATASETS, JOB, MODEL, SCHEMA, archive, job_folder, write

from flame.config.job import read_job
from flame.config.unpack import unpack
from flame.errors import ConfigError, TagError


def uses(top: Path, role: str = "trainer", **options: Any) -> dict[str, list[str]]:
    groups = read_job(top, **options).data[role]
    return {group: [url for url, _ in rows] for group, rows in groups.items()}


def test_a_whole_folder_is_read(tmp_path: Path) -> None:
    files = read_job(job_folder(tmp_path))
    assert (files.tag.name, files.tag_path) == ("two tiers", tmp_path / "schema.json")
    assert (files.job.name, files.job.design_id, files.job.backend) == ("lungs", "two-tier", "mqtt")
    assert (files.job.max_run_time, files.job.seed) == (1800, 0)
    assert (files.model.hyperparameters.batch_size, files.model.hyperparameters.temperature) == (32, 0.5)
    assert (files.model.optimizer.sort, files.model.optimizer.kwargs) == ("fedadam", {"eta": 0.1})
    assert (files.model.selector.kwargs, files.model.registry.sort) == ({"k": 1}, "dummy")
    assert (files.model.base_model.version, files.model.dependencies) == (1, ("numpy >= 1.2.0",))
    assert files.code == {role: tmp_path / role for role in ("trainer", "aggregator")}
    assert (files.notes, files.unpacked) == ((), None)
    assert len(files.job.id) == 24
    assert read_job(tmp_path).job.id == files.job.id


def test_datasets_go_by_id_name_or_file_and_may_be_repeated(tmp_path: Path) -> None:
    files = read_job(job_folder(tmp_path))
    one, two = "https://data.example.org/1.npz", f"file://{tmp_path}/sites/2.npz"
    assert files.data == {
        "trainer": {
            "us": [(one, "default"), (two, "default"), (one, "default")],
            "eu": [(f"file://{tmp_path}/10.npz", "eu-1")],
        }
    }
    assert [info.url for info in files.datasets] == [one, "sites/2.npz", "file://./10.npz"]


def test_ids_that_nobody_knows_are_dealt_out_in_order_and_it_is_said(tmp_path: Path) -> None:
    groups = {"us": ["62439c3725fe0585396a0d38", "62439c3725fe0585396a0d39"], "eu": ["x", "y"]}
    job_folder(tmp_path, dataSpec=[{"role": "trainer", "datasetGroups": groups}])
    found = uses(tmp_path)
    assert [url.rpartition("/")[2] for url in found["us"] + found["eu"]] == [
        "1.npz",
        "2.npz",
        "10.npz",
        "1.npz",
    ]
    assert read_job(tmp_path).notes == ("dataSpec.json names no dataset of this folder; its 4 are dealt out in order",)


def test_without_job_and_specs_there_are_defaults(tmp_path: Path) -> None:
    files = read_job(job_folder(tmp_path, job=None, modelSpec=None, dataSpec=None))
    assert (files.job.name, files.job.backend) == (tmp_path.name, "inproc")
    assert (files.model.hyperparameters.rounds, files.model.optimizer.sort) == (1, "fedavg")
    assert files.notes == ("no dataSpec.json: 3 datasets are dealt out to each group in turn",)
    assert {group: len(urls) for group, urls in uses(tmp_path).items()} == {"us": 2, "eu": 1}


def test_a_key_that_is_nearly_one_that_is_read_is_told(tmp_path: Path) -> None:
    numbers = {"rounds": 2, "learningRat": 0.1, "batch_sise": 8, "momentum": 0.9, "epoch": 1, "epochs": 2}
    spec = {"hyperparameters": numbers, "optimiser": {"sort": "fedadam"}, "userId": "me"}
    notes = read_job(job_folder(tmp_path, modelSpec=spec)).notes
    meant = {note.partition(": ")[2].partition(" is ")[0]: note.partition("mean ")[2] for note in notes}
    assert meant == {
        "hyperparameters.learningRat": "hyperparameters.learningRate?",
        "hyperparameters.batch_sise": "hyperparameters.batch_size?",
        "optimiser": "optimizer?",
    }


def test_without_datasets_each_group_has_a_worker(tmp_path: Path) -> None:
    write(tmp_path, {"schema.json": SCHEMA})
    assert uses(tmp_path) == {"us": [""], "eu": [""]}


def test_a_file_may_hold_many_datasets(tmp_path: Path) -> None:
    many = [{"url": f"{i}.npz"} for i in range(3)] + [{"id": "last", "url": "https://h/3"}]
    spec = [{"role": "trainer", "datasetGroups": {"us": ["datasets/2", "last"], "eu": ["datasets/0"]}}]
    write(tmp_path, {"schema.json": SCHEMA, "datasets.json": many, "dataSpec.json": spec})
    assert uses(tmp_path) == {
        "us": [f"file://{tmp_path}/2.npz", "https://h/3"],
        "eu": [f"file://{tmp_path}/0.npz"],
    }


@pytest.mark.parametrize("url", ["https://h/a", "file:///data/a.npz", "s3://bucket/a", ""])
def test_an_address_that_is_no_relative_path_is_kept(tmp_path: Path, url: str) -> None:
    write(tmp_path, {"schema.json": SCHEMA, "dataset.json": {"url": url}, "dataset2.json": {"url": url}})
    assert uses(tmp_path) == {"us": [url], "eu": [url]}


def test_the_tag_may_be_yaml_and_the_specs_may_have_other_names(tmp_path: Path) -> None:
    job = {**JOB, "dataSpecPath": "specs/data.json", "modelSpecPath": "./specs/model.json"}
    (tmp_path / "specs").mkdir()
    files = {"schema.yaml": yaml.safe_dump(SCHEMA), "job.json": job, **DATASETS}
    write(tmp_path, {**files, "specs/data.json": DATA, "specs/model.json": {"hyperParameters": {"rounds": "7"}}})
    found = read_job(tmp_path)
    assert (found.tag_path.name, found.model.hyperparameters.rounds) == ("schema.yaml", 7)
    assert len(found.data["trainer"]["us"]) == 3


def test_overrides_change_what_the_files_say(tmp_path: Path) -> None:
    overrides = {
        "hyperparameters.rounds": "5",
        "hyperparameters.batch_size": "8",
        "hyperparameters.temperature": "0.25",
        "optimizer.sort": "fedyogi",
        "optimizer.kwargs.eta": "0.01",
        "optimizer.kwargs.beta_1": "0",
        "privacy.sort": "dp",
        "selector": '{"sort": "default"}',
        "backend": "shm",
        "name": "12 lungs",
        "seed": "7",
    }
    job = read_job(job_folder(tmp_path), overrides=overrides).job
    assert (job.name, job.backend, job.seed) == ("12 lungs", "shm", 7)
    numbers = job.model.hyperparameters
    assert (numbers.rounds, numbers.batch_size, numbers.temperature) == (5, 8, 0.25)
    assert (job.model.optimizer.sort, job.model.optimizer.kwargs) == ("fedyogi", {"eta": 0.01, "beta_1": 0})
    assert (job.model.privacy.sort, job.model.selector.sort, job.model.selector.kwargs) == (
        "dp",
        "default",
        {},
    )


def test_the_name_that_is_set_last_counts(tmp_path: Path) -> None:
    job_folder(tmp_path, modelSpec={"hyperparameters": {"batch_size": 4}})
    model = read_job(tmp_path, overrides={"hyperparameters.batchSize": "64"}).model
    assert model.hyperparameters.batch_size == 64


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("optimiser.sort", "name, backend, maxRunTime, priority, seed, hyperparameters, selector, optimizer"),
        (
            "hyperparameters.ronds",
            "hyperparameters.rounds, hyperparameters.epochs, hyperparameters.batchSize",
        ),
        ("hyperparameters.ronds", "hyperparameters.temperature"),
        ("optimizer.eta", "there are: optimizer.sort, optimizer.kwargs)"),
        ("optimizer.sort.x", "there are: optimizer.sort)"),
        ("dependencies.0", "there are: dependencies)"),
        ("backend.sort", "name, backend"),
        ("", "name, backend"),
    ],
)
def test_an_override_of_nothing_lists_what_there_is(tmp_path: Path, path: str, known: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_job(job_folder(tmp_path), overrides={path: "1"})
    assert caught.value.path == f"--set {path}"
    assert "no such setting" in str(caught.value)
    assert known in str(caught.value)


@pytest.mark.parametrize(
    ("change", "where", "reason"),
    [
        ({"schema": None}, "", "has no schema.json (write one"),
        ({"job": '{"name": "x",\n name: 2}'}, "job.json:2:2", "is not JSON"),
        ({"job": "[]"}, "job.json", "is not a JSON object"),
        ({"job": {**JOB, "backend": "pigeon"}}, "job.json: backend", "no backend named 'pigeon'"),
        ({"job": {**JOB, "maxRunTime": []}}, "job.json: maxRunTime", "expected `int`"),
        ({"job": {**JOB, "modelSpecPath": "m.json"}}, "job.json: modelSpecPath", "there is no file 'm.json'"),
        (
            {"job": {**JOB, "dataSpecPath": "../d.json"}},
            "job.json: dataSpecPath",
            "leads out of the job's folder",
        ),
        (
            {"job": {**JOB, "dataSpecPath": "/etc/d.json"}},
            "job.json: dataSpecPath",
            "leads out of the job's folder",
        ),
        ({"job": {**JOB, "dataSpecPath": 3}}, "job.json: dataSpecPath", "is 3, not a file's name"),
        ({"modelSpec": "{"}, "modelSpec.json:1:2", "is not JSON"),
        (
            {"modelSpec": {"optimizer": {"sort": "sgd"}}},
            "modelSpec.json: optimizer",
            "no optimizer named 'sgd'",
        ),
        (
            {"modelSpec": {"hyperparameters": {"rounds": "x"}}},
            "modelSpec.json: hyperparameters.rounds",
            "expected",
        ),
        ({"modelSpec": {"hyperParameters": 3}}, "modelSpec.json: hyperparameters", "expected `object`"),
        ({"dataSpec": {"fromSystem": {"0": []}}}, "dataSpec.json", "expected `array`, got `object`"),
        ({"dataSpec": '[{"role": trainer}]'}, "dataSpec.json:1:11", "is not JSON"),
        ({"dataSpec": [{"role": "trainer"}]}, "dataSpec.json: [0].datasetGroups", "is missing"),
        (
            {"dataSpec": [{"role": "trainr", "datasetGroups": {}}]},
            "dataSpec.json: [0].role",
            "no role named 'trainr' (there are: trainer, aggregator)",
        ),
        (
            {"dataSpec": [{"role": "trainer", "datasetGroups": {"us": ["one", "two"]}}]},
            "dataSpec.json: [0].datasetGroups.us[1]",
            "no dataset 'two' (there are: 6355f7dc, dataset1, dataset10, dataset2, one)",
        ),
        ({"dataset2": {"name": "two"}}, "dataset2.json: url", "is missing"),
        ({"dataset2": "no"}, "dataset2.json:1:1", "is not JSON"),
    ],
)
def test_a_broken_file_is_named_with_its_place(tmp_path: Path, change: dict[str, Any], where: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_job(job_folder(tmp_path, **change))
    assert caught.value.path == str(tmp_path / where if where else tmp_path)
    assert reason in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        read_job(tmp_path / "nothing")


def test_a_group_without_workers_on_the_other_side_is_a_finding(tmp_path: Path) -> None:
    job_folder(tmp_path, dataSpec=[{"role": "trainer", "datasetGroups": {"mars": ["one"]}}])
    with pytest.raises(TagError, match="mars"):
        read_job(tmp_path)


def test_a_role_without_code_is_a_finding(tmp_path: Path) -> None:
    job_folder(tmp_path)
    (tmp_path / "trainer" / "main.py").unlink()
    with pytest.raises(TagError, match="trainer"):
        read_job(tmp_path)
    assert read_job(tmp_path, needs_code=False).code == {"aggregator": tmp_path / "aggregator"}


# -- an archive of code


def test_code_may_come_as_an_archive(tmp_path: Path) -> None:
    top, into = tmp_path / "job", tmp_path / "code"
    top.mkdir()
    write(top, {"schema.json": SCHEMA}, roles=())
    archive(top / "code.zip", {"trainer/main.py": "t = 1", "aggregator/main.py": "", "trainer/data/x.txt": "x"})
    files = read_job(top, unpack_to=into)
    assert files.unpacked == into
    assert files.code == {"trainer": into / "trainer", "aggregator": into / "aggregator"}
    assert (into / "trainer" / "main.py").read_text(encoding="utf-8") == "t = 1"
    assert (into / "trainer" / "data" / "x.txt").is_file()


def test_two_archives_are_one_too_many(tmp_path: Path) -> None:
    write(tmp_path, {"schema.json": SCHEMA}, roles=())
    for name in ("a.zip", "b.zip"):
        archive(tmp_path / name, {"trainer/main.py": ""})
    with pytest.raises(ConfigError, match=r"has 2 archives of code: a\.zip, b\.zip"):
        read_job(tmp_path)


def link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("trainer/main.py")
    member.external_attr = 0o120777 << 16
    return member


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("../main.py", "leads out of the archive"),
        ("trainer/../../main.py", "leads out of the archive"),
        ("/etc/main.py", "leads out of the archive"),
        ("trainer\\..\\main.py", "leads out of the archive"),
        ("C:/main.py", "leads out of the archive"),
        ("main.py", "failed to find a top level directory"),
        (link(), "is a link"),
    ],
)
def test_an_archive_writes_nothing_elsewhere(tmp_path: Path, member: str | zipfile.ZipInfo, reason: str) -> None:
    path = archive(tmp_path / "code.zip", {"aggregator/main.py": "", member: ""})
    with pytest.raises(ConfigError, match=reason):
        unpack(path, tmp_path / "code" / "deep")
    assert [entry.name for entry in tmp_path.iterdir()] == ["code.zip"]


def test_an_archive_that_swells_is_stopped(tmp_path: Path) -> None:
    path = archive(tmp_path / "code.zip", {"trainer/main.py": "0" * 5_000_000, "trainer/more.py": "0" * 5_000_000})
    with pytest.raises(ConfigError, match="unpacks to more than 1000000 bytes"):
        unpack(path, tmp_path / "code", max_bytes=1_000_000)
    assert sum(file.stat().st_size for file in (tmp_path / "code").rglob("*.py")) < 3_000_000
    unpack(path, tmp_path / "code", max_bytes=10_000_000)


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "code.zip"
    path.write_bytes(b"PK nothing")
    with pytest.raises(ConfigError, match=r"code\.zip: cannot be unpacked"):
        unpack(path, tmp_path / "code")


def test_the_models_file_says_what_it_says(tmp_path: Path) -> None:
    more = {
        "privacy": {"sort": "dp", "kwargs": {"noise_factor": 1}},
        "registry": {"sort": "local", "uri": ""},
    }
    sampler = {"datasampler": {"sort": "fedbalancer", "kwargs": {"w": 20}}}
    model = read_job(job_folder(tmp_path, modelSpec={**MODEL, **more, **sampler})).model
    assert (model.privacy.sort, model.registry.sort, model.datasampler.kwargs) == ("dp", "local", {"w": 20})
