"""Sites that hold their images turned find each other."""

from __future__ import annotations

from pathlib import Path

import flame
from flame.tag import read, template

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "clustered"


def test_sites_that_are_alike_share_a_model(tmp_path: Path) -> None:
    result = flame.run(EXAMPLE, seed=1, hosts=0, out=tmp_path / "two")
    chosen = [result.series("cluster")[f"trainer/{n}"][-1][1] for n in range(6)]
    assert chosen[0] != chosen[1] and chosen == chosen[:2] * 3
    one = flame.run(EXAMPLE, schema=star(tmp_path), seed=1, hosts=0, out=tmp_path / "one")
    assert result.final("accuracy") > one.final("accuracy") + 0.05


def test_the_tag_is_the_template() -> None:
    assert read(EXAMPLE / "schema.json") == template("clustered")


def star(folder: Path) -> Path:
    path = folder / "star.json"
    path.write_text((EXAMPLE / "schema.json").read_text().replace('"replica": 2', '"replica": 1'))
    return path
