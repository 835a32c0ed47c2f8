"""Five sites train one network in plain JAX on handwritten digits; each site lacks half of the digits."""

import argparse

import numpy as np

import flame
from flame.common import extra

with extra.needed():
    import jax
    from jax import numpy as jnp
    from sklearn.datasets import load_digits


def digits():
    """1,797 images as [n, 64] in 0..1, and the digits [n]; in a fixed random order."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return (pixels[order] / 16).astype(np.float32), labels[order]


def sites():
    pixels, labels = (part[:1400] for part in digits())
    known = [(labels - 2 * site) % 10 < 5 for site in range(5)]
    return [(pixels[mask], labels[mask]) for mask in known]


def model():
    """64 pixels to 32 to 10: a dict of arrays, the same at every worker."""
    first, second = jax.random.split(jax.random.key(0))
    return {
        "hidden": {"w": jax.random.normal(first, (64, 32)) / 8, "b": jnp.zeros(32)},
        "out": {"w": jax.random.normal(second, (32, 10)) / 6, "b": jnp.zeros(10)},
    }


def scores(net, pixels):
    hidden = jax.nn.relu(pixels @ net["hidden"]["w"] + net["hidden"]["b"])
    return hidden @ net["out"]["w"] + net["out"]["b"]


def loss(net, pixels, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(scores(net, pixels)), labels[:, None], axis=1).mean()


@jax.jit
def step(net, pixels, labels):
    value, slope = jax.value_and_grad(loss)(net, pixels, labels)
    return value, jax.tree.map(lambda now, down: now - 0.3 * down, net, slope)


def train(net, site):
    """One epoch over the site's images; JAX's arrays cannot be written, so that the dict gets new ones."""
    pixels, labels = site
    order = np.random.permutation(len(labels))
    for batch in np.split(order[: len(order) // 32 * 32], len(order) // 32):
        last, new = step(net, pixels[batch], labels[batch])
        net.update(new)
    return {"train-loss": last}


def evaluate(net):
    pixels, labels = (part[1400:] for part in digits())
    return {"test-accuracy": (scores(net, pixels).argmax(-1) == jnp.asarray(labels)).mean()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="digits, five sites, JAX")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", default="runs/jax")
    args = parser.parse_args()
    result = flame.run(model=model, train=train, evaluate=evaluate, data=sites(), rounds=args.rounds, out=args.out)
    print(f"test accuracy {result.final('test-accuracy'):.3f}; a site alone knows half of the digits")
