"""Whole runs with compressed channels: the same bits anywhere, fewer bytes, errors that say where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_jobs import job_folder, weights

import flame
from flame.errors import ConfigError, TagError
from flame.tag import build, template

SIZE = 300


class Site(flame.Trainer):
    """Adds noise that follows from the round."""

    def initialize(self) -> None:
        self.model = {"w": np.zeros((SIZE, SIZE), np.float32), "b": np.zeros(3, np.float64)}
        self.dataset_size = 1

    def train(self) -> None:
        generator = np.random.default_rng(self._round)
        self.model["w"] += generator.standard_normal((SIZE, SIZE)).astype(np.float32)
        self.model["b"] += 1


class Server(flame.TopAggregator):
    """Starts from zero."""

    def initialize(self) -> None:
        self.model = {"w": np.zeros((SIZE, SIZE), np.float32), "b": np.zeros(3, np.float64)}


CHOICES = ["fp16", "int8", "topk", {"sort": "topk", "kwargs": {"keep": 0.2, "whole": 0}}]
PATH = "channels.param-channel.compression"


def run(out: Path, choice: Any, hosts: int = 0, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The final model, and what the run directory says of itself."""
    change = {} if choice is None else {PATH: choice}
    given = {"trainer": Site, "aggregator": Server, "data": [0, 1, 2], "rounds": 3, "set": change, **more}
    result = flame.run(hosts=hosts, out=out, **given)
    return {name: array.copy() for name, array in weights(result).items()}, json.loads((out / "run.json").read_text())


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_any_number_of_hosts_gives_the_same_bits_and_bytes(tmp_path: Path, choice: Any) -> None:
    plain, all_of_them = run(tmp_path / "plain", None)
    first, facts = run(tmp_path / "0", choice)
    for hosts in (1, 2):
        other, there = run(tmp_path / str(hosts), choice, hosts)
        assert all((first[name] == other[name]).all() for name in first)
        assert there["bytes_sent"] == facts["bytes_sent"]
    part = 0.6 if choice not in ("fp16", "int8") else 0.45
    assert facts["bytes_sent"] < part * all_of_them["bytes_sent"]
    assert not np.array_equal(first["w"], plain["w"])


@pytest.mark.parametrize(("choice", "tolerance"), [("fp16", 2e-3), ("int8", 3e-2)])
def test_the_model_is_nearly_what_it_would_have_been(tmp_path: Path, choice: str, tolerance: float) -> None:
    plain, _ = run(tmp_path / "plain", None)
    packed, _ = run(tmp_path / "packed", choice)
    for name in plain:
        assert np.abs(plain[name] - packed[name]).max() < tolerance * np.abs(plain[name]).max()


def test_a_hierarchy_may_compress_the_upper_channel_alone(tmp_path: Path) -> None:
    tag = template("hierarchical", regions=["eu", "na"])
    upper = next(channel.name for channel in tag.channels if "top-aggregator" in channel.pair)
    got = []
    for hosts in (0, 2):
        result = flame.run(
            roles={"trainer": Site, "top-aggregator": Server},
            data={"eu": [0, 1], "na": [2]},
            tag=tag,
            rounds=2,
            hosts=hosts,
            out=tmp_path / str(hosts),
            set={f"channels.{upper}.compression": "int8"},
        )
        got.append({name: array.copy() for name, array in weights(result).items()})
        written = json.loads((tmp_path / str(hosts) / "tag.json").read_text())
        assert [channel.get("compression") for channel in written["channels"]].count("int8") == 1
    assert all((got[0][name] == got[1][name]).all() for name in got[0]) and got[0]["w"].any()


def test_a_tag_may_say_it(tmp_path: Path) -> None:
    tag = (
        build("two")
        .role("trainer", data_consumer=True)
        .role("aggregator")
        .channel("c", {"trainer": "fetch upload", "aggregator": "distribute aggregate"}, compression="fp16")
        .done()
    )
    model, _ = run(tmp_path, None, tag=tag)
    assert model["b"].tolist() == [3, 3, 3]


def folder(tmp_path: Path, compression: Any) -> Path:
    """A small job whose channel compresses."""
    top = job_folder(tmp_path / "job")
    schema = json.loads((top / "schema.json").read_text())
    schema["channels"][0]["compression"] = compression
    (top / "schema.json").write_text(json.dumps(schema))
    return top


def test_a_job_folder_with_compression_runs(tmp_path: Path) -> None:
    for choice in ("int8", {"sort": "topk", "kwargs": {"keep": 1}, "//": "all of it"}):
        result = flame.run(folder(tmp_path, choice), hosts=1, out=tmp_path / "out")
        assert weights(result)["array"].tolist() == [2, 2, 2]
    result = flame.run(
        folder(tmp_path, "topk"), hosts=1, out=tmp_path / "out", set={"channels.param.compression": "null"}
    )
    assert "compression" not in json.loads((tmp_path / "out" / "tag.json").read_text())["channels"][0]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("int4", "channels[0].compression: no compression is named 'int4' (did you mean 'int8'?)"),
        ("zip", "channels[0].compression: no compression is named 'zip' (known: fp16, int8, topk)"),
        (
            {"sort": "topk", "kwargs": {"keep": 7}},
            "channels[0].compression.kwargs.keep: a number above 0 and at most 1 is needed, not 7",
        ),
        (
            {"sort": "topk", "kwarg": {}},
            "channels[0].compression.kwarg: is not a key of a TAG (did you mean 'kwargs'?)",
        ),
    ],
)
def test_a_wrong_choice_is_one_error_at_its_place(tmp_path: Path, choice: Any, said: str) -> None:
    with pytest.raises(TagError) as caught:
        flame.run(folder(tmp_path, choice), out=tmp_path / "out")
    assert len(caught.value.findings) == 1 and said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channels.param.compression": "int4"}, "no compression is named 'int4' (did you mean 'int8'?)"),
        ({"channels.parm.compression": "int8"}, "no channel is named 'parm' (did you mean 'param'?)"),
        ({"channels.param.backend": "p2p"}, "no such setting (there is channels.NAME.compression)"),
        ({"channels.param.compression.keep": "1"}, "no such setting (there is channels.NAME.compression)"),
        ({"channels.param.compression.sort": "topk", "channels.param.compression.kwargs.keep": "2"}, ".kwargs.keep: a"),
        ({"channels.param.compression": '{"sort": 8}'}, "sort: expected `str`, got `int`"),
    ],
)
def test_a_wrong_setting_on_the_command_line_is_named(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        flame.run(job_folder(tmp_path / "job"), out=tmp_path / "out", set=changes)
    assert said in str(caught.value) and str(caught.value).startswith("--set channels.")


def test_without_zstandard_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match=r"channel param: compression.*pip install"):
        flame.run(folder(tmp_path, "int8"), hosts=0, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
