"""Ten hospitals learn what no hospital learns alone, under every optimizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def rows(load, medmnist: Path, tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("medmnist")
    return {row.name: row for row in load("medmnist/compare.py").main([f"--out={out}", "--rounds=6"])}


def test_the_federation_learns(rows: dict) -> None:
    assert rows["FedAvg"].final[0] > 0.65


def test_no_site_alone_comes_near(rows: dict) -> None:
    alone = rows["each alone"].final
    assert len(alone) == 10
    assert max(alone) < rows["FedAvg"].final[0]
    assert sum(alone) / 10 < rows["FedAvg"].final[0] - 0.2


@pytest.mark.parametrize("name", ["FedAdam", "FedAdaGrad", "FedYogi"])
def test_adaptive_optimizers_learn_too(rows: dict, name: str) -> None:
    assert rows[name].final[0] > 0.6


def test_pooled_data_is_the_ceiling(rows: dict) -> None:
    (pooled,) = rows["pooled"].final
    assert pooled > rows["FedAvg"].final[0] - 0.03


def test_the_comparison_is_a_page_with_curves(rows: dict) -> None:
    page = rows["FedAvg"].run_dir.parent / "compare.html"
    assert "test-accuracy" in page.read_text()


def test_both_programs_have_the_same_network(load) -> None:
    nets = [load(f"medmnist/{role}/main.py").CNN() for role in ("trainer", "aggregator")]
    shapes = [{name: tuple(t.shape) for name, t in net.state_dict().items()} for net in nets]
    assert shapes[0] == shapes[1]
    assert nets[0](torch.zeros(2, 3, 28, 28)).shape == (2, 9)


def test_the_plan_compares_the_four_optimizers(medmnist: Path) -> None:
    runs = json.loads((medmnist / "compare.json").read_text())["runs"]
    sorts = {row.get("set", {}).get("optimizer.sort", "fedavg") for row in runs.values()}
    assert sorts == {"fedavg", "fedadam", "fedadagrad", "fedyogi"}
