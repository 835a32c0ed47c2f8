"""Deal scikit-learn's handwritten digits to six sites in two regions, which mostly see different digits.

Written are `data/eu-1.npz` to `data/na-3.npz` (`images` [n, 64] from 0 to 1, `labels` [n]) and
`data/test.npz`, which no site has.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
REGIONS = {"eu": range(0, 5), "na": range(5, 10)}
AT_HOME = 0.9  # how much of a region's own digits stays there
SHARES = (0.5, 0.8)  # where a region's images are cut into its three sites


def prepare(out: Path, seed: int = 0) -> str:
    """Write the files unless they are there; returns what they hold, in words."""
    if (out / "test.npz").exists():
        return f"{out}: already prepared"
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(labels))
    images, labels = images[order] / 16.0, labels[order]
    test, train = np.arange(len(labels)) < 400, np.arange(len(labels)) >= 400
    stays = rng.random(len(labels)) < AT_HOME
    out.mkdir(parents=True, exist_ok=True)
    said = []
    for region, own in REGIONS.items():
        members = np.flatnonzero(train & (np.isin(labels, list(own)) == stays))
        cuts = [int(share * len(members)) for share in SHARES]
        for number, part in enumerate(np.split(members, cuts), start=1):
            save(out / f"{region}-{number}.npz", images[part], labels[part])
            said.append(f"{region}-{number}: {len(part)} images")
    save(out / "test.npz", images[test], labels[test])
    return ", ".join([*said, f"test: {test.sum()}"])


def save(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write a file that is there either as a whole or not at all."""
    part = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    np.savez(part, images=images, labels=labels)
    part.replace(path)


if __name__ == "__main__":
    print(prepare(HERE / "data"))
