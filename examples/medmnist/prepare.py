"""Prepare the images of ten hospitals, in the file layout that MedMNIST uses.

`prepare.py` cuts patches out of a real colon section and derives labels from its stain;
`prepare.py --npz FILE` takes a MedMNIST file, or the https:// address of one, that you have.

Written are `data/medmnist.npz` (`train_images, train_labels, val_*, test_*`; images uint8 [n, 28, 28, 3],
labels [n, 1]) and the same images dealt to the sites, unevenly and with different mixes of classes:
`data/site_0.npz` and so on (train and val), and `data/test.npz`, which no site has. The same seed gives the
same arrays.
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.request
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SPLITS = ("train", "val", "test")
KINDS = ("images", "labels")
PATCH, TILE, STRIDE = 28, 85, 5
CLASSES = 9
SMALLEST_SITE = 40  # training images; less where there are few
DRAWS = 1000
DERIVED = (
    "labels are DERIVED from the stain, not given by a pathologist:\n"
    "three levels of DAB, and within each three of hematoxylin (thresholds: terciles over the training patches)"
)


def grid(side: int) -> np.ndarray:
    """Where to cut: rows (y, x, tile) of patches that lie wholly inside one tile of TILE pixels."""
    tiles = side // TILE
    offsets = np.arange(0, TILE - PATCH + 1, STRIDE)
    starts = np.array([(tile * TILE + offset, tile) for tile in range(tiles) for offset in offsets])
    return np.array([(y, x, row * tiles + column) for y, row in starts for x, column in starts])


def split_of(tile: np.ndarray, tiles: int) -> np.ndarray:
    """0 train, 1 val, 2 test: whole tiles, on a diagonal pattern, so that no two splits share a pixel."""
    stripe = (tile % tiles + 2 * (tile // tiles)) % 9
    return np.select([stripe < 2, stripe == 2], [2, 1], default=0)


def terciles(values: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Level 0, 1 or 2 of each value, with thresholds from the training patches only."""
    return np.digitize(values, np.quantile(values[training], [1 / 3, 2 / 3]))


def stain_labels(stains: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Classes 0 to 8 from the mean (hematoxylin, DAB) of each patch, an nx2 array."""
    brown = terciles(stains[:, 1], training)
    blue = np.zeros_like(brown)
    for level in range(3):
        here = brown == level
        blue[here] = terciles(stains[here, 0], training[here])
    return 3 * brown + blue


def histology() -> dict[str, np.ndarray]:
    """Patches of scikit-image's colon section (immunohistochemistry: FHL2 in brown, nuclei in blue)."""
    import skimage
    from skimage.color import rgb2hed
    from skimage.io import imread

    image = imread(Path(skimage.__file__).parent / "data" / "ihc.png")
    stain = rgb2hed(image)[..., [0, 2]]
    cuts = grid(image.shape[0])
    split = split_of(cuts[:, 2], image.shape[0] // TILE)
    images = np.stack([image[y : y + PATCH, x : x + PATCH] for y, x, _ in cuts])
    means = np.array([stain[y : y + PATCH, x : x + PATCH].mean(axis=(0, 1)) for y, x, _ in cuts])
    labels = stain_labels(means, split == 0).astype(np.uint8)[:, None]
    arrays = {}
    for number, name in enumerate(SPLITS):
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = images[split == number], labels[split == number]
    return arrays


def medmnist(source: str, into: Path) -> dict[str, np.ndarray]:
    """The six arrays of a MedMNIST file; grey images are repeated in three channels."""
    if source.startswith("https://"):
        into.mkdir(parents=True, exist_ok=True)
        source, _ = urllib.request.urlretrieve(source, into / "downloaded.npz")
    with np.load(source, allow_pickle=False) as file:
        names = [f"{split}_{kind}" for split in SPLITS for kind in KINDS]
        if missing := [name for name in names if name not in file]:
            raise SystemExit(f"{source}: not a MedMNIST file: it lacks {', '.join(missing)}")
        arrays = {name: file[name] for name in names}
    for split in SPLITS:
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if images.ndim == 3:
            images = np.repeat(images[..., None], 3, axis=3)
        if images.shape[1:] != (PATCH, PATCH, 3) or labels.shape != (len(images), 1) or labels.max() >= CLASSES:
            raise SystemExit(f"{source}: this example takes 28x28 images with one label of 0 to {CLASSES - 1} each")
        arrays[f"{split}_images"] = images
    return arrays


def deal(arrays: dict[str, np.ndarray], sites: int, alpha: float, seed: int) -> list[dict[str, np.ndarray]]:
    """Deal train and val to the sites: for each class, shares drawn from a Dirichlet distribution.

    A site has the same shares of both splits. Draws again until every site has something to train on and to
    validate with. See Hsu, Qi, Brown, *Measuring the Effects of Non-Identical Data Distribution*, 2019.
    """
    rng = np.random.default_rng(seed)
    least = min(SMALLEST_SITE, len(arrays["train_labels"]) // (4 * sites))
    for _ in range(DRAWS):
        shares = rng.dirichlet([alpha] * sites, size=CLASSES)
        hands = {split: deal_split(arrays[f"{split}_labels"][:, 0], shares, rng) for split in ("train", "val")}
        if min(map(len, hands["train"])) >= least and min(map(len, hands["val"])) > 0:
            break
    else:
        raise SystemExit(f"--alpha {alpha} leaves a site with fewer than {least} training images: raise it")
    return [
        {f"{split}_{kind}": arrays[f"{split}_{kind}"][hands[split][site]] for split in hands for kind in KINDS}
        for site in range(sites)
    ]


def deal_split(labels: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """The sorted indices that each site gets."""
    owner = np.empty(len(labels), dtype=np.int64)
    for label in range(CLASSES):
        members = rng.permutation(np.flatnonzero(labels == label))
        ends = np.round(np.cumsum(shares[label]) * len(members))
        owner[members] = np.searchsorted(ends, np.arange(len(members)), side="right")
    return [np.flatnonzero(owner == site) for site in range(shares.shape[1])]


def prepare(out: Path, *, source: str = "", sites: int = 10, alpha: float = 0.3, seed: int = 0) -> str:
    """Write the files unless they are there; returns what was (or had been) done, in words."""
    settings = {"source": source or "ihc.png", "sites": sites, "alpha": alpha, "seed": seed}
    stamp = out / "prepared.json"
    if stamp.exists() and (done := json.loads(stamp.read_text()))["settings"] == settings:
        return f"{done['summary']} (already prepared)"
    arrays = medmnist(source, out) if source else histology()
    hands = deal(arrays, sites, alpha, seed)
    out.mkdir(parents=True, exist_ok=True)
    save(out / "medmnist.npz", arrays)
    save(out / "test.npz", {f"test_{kind}": arrays[f"test_{kind}"] for kind in KINDS})
    for site, hand in enumerate(hands):
        save(out / f"site_{site}.npz", hand)
    summary = describe(arrays, hands, source)
    stamp.write_text(json.dumps({"settings": settings, "summary": summary}, indent=2))
    return summary


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a file that is there either as a whole or not at all."""
    part = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    np.savez(part, **arrays)
    part.replace(path)


def describe(arrays: dict[str, np.ndarray], hands: list[dict[str, np.ndarray]], source: str) -> str:
    """What the user should know about the data, on a few lines."""
    counts = ", ".join(f"{len(arrays[f'{split}_labels']):,} {split}" for split in SPLITS)
    sizes = " ".join(str(len(hand["train_labels"])) for hand in hands)
    mixes = " ".join(str(len(np.unique(hand["train_labels"]))) for hand in hands)
    origin = f"MedMNIST file {source}" if source else f"colon histology, real pixels (skimage ihc.png)\n{DERIVED}"
    return f"{origin}\nimages: {counts}\nper site: {sizes} training images of {mixes} classes"


def main() -> None:
    """Read the command line and prepare."""
    parser = argparse.ArgumentParser(description="Prepare the images of the hospitals.")
    parser.add_argument(
        "--npz", default=os.environ.get("FLAME_MEDMNIST", ""), help="a MedMNIST file or https:// address"
    )
    parser.add_argument("--out", type=Path, default=HERE / "data")
    parser.add_argument("--alpha", type=float, default=0.3, help="smaller: the sites differ more")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(prepare(args.out, source=args.npz, alpha=args.alpha, seed=args.seed))


if __name__ == "__main__":
    main()
