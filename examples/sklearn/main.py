"""Four clinics fit one scikit-learn classifier; the data set is the breast cancer one that scikit-learn brings."""

import argparse

import numpy as np

import flame
from flame.common import extra

with extra.needed():
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import scale

    from flame.weights.sklearn_adapter import prepare

FEATURES, CLASSES = 30, [0, 1]


def rows():
    """30 measurements of 569 tumours, scaled, and whether each is benign; in a fixed random order."""
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return scale(x)[order], y[order]


def clinics(count=4):
    """The first 400, by the size of the tumour: the last clinic has seen hardly a benign one."""
    x, y = (part[:400] for part in rows())
    return [(x[part], y[part]) for part in np.array_split(np.argsort(x[:, 0]), count)]


def model():
    return prepare(SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01), FEATURES, CLASSES)


def train(classifier, clinic):
    x, y = clinic
    classifier.partial_fit(x, y)


def evaluate(classifier):
    x, y = (part[400:] for part in rows())
    return {"test-accuracy": classifier.score(x, y)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="breast cancer, four clinics, scikit-learn")
    parser.add_argument("--out", default="runs/sklearn")
    args = parser.parse_args()
    result = flame.run(model=model, train=train, evaluate=evaluate, data=clinics(), rounds=20, out=args.out)
    alone = []
    for clinic in clinics():
        classifier = model()
        for _ in range(20):
            train(classifier, clinic)
        alone.append(evaluate(classifier)["test-accuracy"])
    print("each alone ", " ".join(f"{accuracy:.3f}" for accuracy in alone))
    print(f"together    {result.final('test-accuracy'):.3f}")
