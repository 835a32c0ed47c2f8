"""What `examples/medmnist/prepare.py` promises about the images."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def prepare(load) -> ModuleType:
    return load("medmnist/prepare.py")


def synthetic(path: Path, *, classes: int = 4, channels: tuple[int, ...] = (), **leave_out: bool) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in zip(SPLITS, (900, 120, 60), strict=True):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28, *channels), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    np.savez(path, **{name: array for name, array in arrays.items() if not leave_out.get(name)})
    return path


def test_no_pixel_is_in_two_splits(prepare: ModuleType) -> None:
    cuts = prepare.grid(512)
    split = prepare.split_of(cuts[:, 2], 512 // prepare.TILE)
    owner = np.full((512, 512), -1)
    for number in range(3):
        for y, x, _ in cuts[split == number]:
            patch = owner[y : y + 28, x : x + 28]
            assert ((patch == -1) | (patch == number)).all()
            patch[:] = number
    assert set(np.unique(split)) == {0, 1, 2}
    assert 4_500 < len(cuts) < 5_500


def test_the_default_file_has_the_layout_of_medmnist(medmnist: Path) -> None:
    with np.load(medmnist / "data" / "medmnist.npz") as file:
        assert sorted(file) == sorted(f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels"))
        for split in SPLITS:
            images, labels = file[f"{split}_images"], file[f"{split}_labels"]
            assert images.dtype == np.uint8 and images.shape[1:] == (28, 28, 3)
            assert labels.shape == (len(images), 1) and set(np.unique(labels)) == set(range(9))


def test_the_sites_share_out_everything_and_differ(medmnist: Path) -> None:
    with np.load(medmnist / "data" / "medmnist.npz") as whole:
        for split in ("train", "val"):
            sites = [np.load(medmnist / "data" / f"site_{site}.npz") for site in range(10)]
            labels = [site[f"{split}_labels"][:, 0] for site in sites]
            assert min(map(len, labels)) > 0
            counts = np.array([np.bincount(one, minlength=9) for one in labels])
            np.testing.assert_array_equal(counts.sum(0), np.bincount(whole[f"{split}_labels"][:, 0], minlength=9))
            pooled = np.sort(np.concatenate([site[f"{split}_images"].sum((1, 2, 3)) for site in sites]))
            np.testing.assert_array_equal(pooled, np.sort(whole[f"{split}_images"].sum((1, 2, 3))))
    most_common = (counts / counts.sum(1, keepdims=True)).max(1)
    assert most_common.mean() > 0.3  # 1/9 if they did not differ


def test_the_same_seed_gives_the_same_sites(prepare: ModuleType, tmp_path: Path) -> None:
    source = str(synthetic(tmp_path / "mine.npz", channels=(3,)))
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        prepare.prepare(tmp_path / out, source=source, seed=seed)
    one, same, other = (np.load(tmp_path / out / "site_0.npz")["train_images"] for out in "abc")
    np.testing.assert_array_equal(one, same)
    assert one.shape != other.shape or (one != other).any()


def test_a_file_of_the_users_own_is_used_as_it_is(prepare: ModuleType, tmp_path: Path) -> None:
    summary = prepare.prepare(tmp_path / "data", source=str(synthetic(tmp_path / "grey.npz")))
    assert "grey.npz" in summary and "DERIVED" not in summary
    with np.load(tmp_path / "grey.npz") as mine, np.load(tmp_path / "data" / "medmnist.npz") as kept:
        for channel in range(3):
            np.testing.assert_array_equal(kept["test_images"][..., channel], mine["test_images"])
    assert "already prepared" in prepare.prepare(tmp_path / "data", source=str(tmp_path / "grey.npz"))


def test_derived_labels_are_announced(medmnist: Path, prepare: ModuleType) -> None:
    assert "labels are DERIVED from the stain" in prepare.prepare(medmnist / "data")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"val_labels": True}, "it lacks val_labels"),
        ({"classes": 11}, "one label of 0 to 8"),
        ({"channels": (2,)}, "28x28 images"),
    ],
)
def test_another_file_is_refused(prepare: ModuleType, tmp_path: Path, wrong: dict, said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        prepare.prepare(tmp_path / "data", source=str(synthetic(tmp_path / "wrong.npz", **wrong)))
    assert not (tmp_path / "data").exists()


def test_too_uneven_a_deal_is_refused(prepare: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--alpha 0\.001"):
        prepare.prepare(tmp_path / "data", source=str(synthetic(tmp_path / "mine.npz")), alpha=0.001)
