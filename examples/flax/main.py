"""Five sites train one Flax network on handwritten digits; each site lacks half of the digits."""

import argparse

import numpy as np

import flame
from flame.common import extra

with extra.needed():
    import jax
    import optax
    from flax import nnx
    from jax import numpy as jnp
    from sklearn.datasets import load_digits


class Net(nnx.Module):
    """64 pixels to 10 digits; the batch normalisation's running statistics are averaged like everything else."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.hidden = nnx.Linear(64, 32, rngs=rngs)
        self.norm = nnx.BatchNorm(32, rngs=rngs)
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, pixels):
        return self.out(nnx.relu(self.norm(self.hidden(pixels))))


def digits():
    """1,797 images as [n, 64] in 0..1, and the digits [n]; in a fixed random order."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return (pixels[order] / 16).astype(np.float32), labels[order]


def sites():
    pixels, labels = (part[:1400] for part in digits())
    known = [(labels - 2 * site) % 10 < 5 for site in range(5)]
    return [(pixels[mask], labels[mask]) for mask in known]


def loss(net, pixels, labels):
    return optax.softmax_cross_entropy_with_integer_labels(net(pixels), labels).mean()


@nnx.jit
def step(net, pixels, labels):
    value, slope = nnx.value_and_grad(loss)(net, pixels, labels)
    nnx.update(net, jax.tree.map(lambda now, down: now - 0.3 * down, nnx.state(net, nnx.Param), slope))
    return value


def train(net, site):
    """One epoch over the site's images, in place; the rest that fills no batch is left out."""
    net.train()
    pixels, labels = site
    order = np.random.permutation(len(labels))
    for batch in np.split(order[: len(order) // 32 * 32], len(order) // 32):
        last = step(net, pixels[batch], labels[batch])
    return {"train-loss": last}


def evaluate(net):
    net.eval()
    pixels, labels = (part[1400:] for part in digits())
    return {"test-accuracy": (net(pixels).argmax(-1) == jnp.asarray(labels)).mean()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits, five sites, Flax")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", default="runs/flax")
    args = parser.parse_args()
    result = flame.run(model=Net, train=train, evaluate=evaluate, data=sites(), rounds=args.rounds, out=args.out)
    print(f"test accuracy {result.final('test-accuracy'):.3f}; a site alone knows half of the digits")
