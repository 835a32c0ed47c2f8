"""Bagging: four clinics grow trees on top of the common ones, and the aggregator collects them."""

import argparse

import numpy as np

import flame
from flame.common import extra

with extra.needed():
    import xgboost
    from sklearn.datasets import load_breast_cancer
    from sklearn.metrics import roc_auc_score

CLINICS = 4
# What a round's trees say is added up, so that each learns at a share of the rate. The base score has to be the same
# for all of them: XGBoost would otherwise take it from each clinic's own patients.
GROWTH = {"objective": "binary:logistic", "max_depth": 3, "eta": 1.2 / CLINICS, "base_score": 0.5, "nthread": 1}


def rows():
    """30 measurements of 569 tumours, and whether each is benign; in a fixed random order."""
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return x[order], y[order]


def clinics():
    x, y = (part[:400] for part in rows())
    return [(x[part], y[part]) for part in np.array_split(np.arange(400), CLINICS)]


class Clinic(flame.Trainer):
    def load_data(self):
        x, y = self.data
        self.rows = xgboost.DMatrix(x, y, nthread=1)
        self.dataset_size = len(y)

    def initialize(self):
        self.model = xgboost.Booster(GROWTH, [self.rows])

    def train(self):
        for _ in range(self.config.hyperparameters.epochs):
            self.model.update(self.rows, self.model.num_boosted_rounds())


class Server(flame.TopAggregator):
    def initialize(self):
        self.model = xgboost.Booster(GROWTH)

    def evaluate(self):
        x, y = (part[400:] for part in rows())
        self.update_metrics(
            {
                "test-auc": roc_auc_score(y, self.model.predict(xgboost.DMatrix(x, nthread=1))),
                "trees": self.model.num_boosted_rounds(),
            }
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="breast cancer, four clinics, XGBoost")
    parser.add_argument("--tag", default="two-tier", help="two-tier or hierarchical")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", default="runs/xgboost")
    args = parser.parse_args()
    top = {"two-tier": "aggregator", "hierarchical": "top-aggregator"}[args.tag]
    data = clinics() if args.tag == "two-tier" else {"eu": clinics()[:2], "na": clinics()[2:]}
    result = flame.run(
        roles={"trainer": Clinic, top: Server},
        tag=args.tag,
        data=data,
        rounds=args.rounds,
        settings={"hyperparameters": {"epochs": 1}, "optimizer": {"sort": "xgb_bagging"}},
        out=args.out,
    )
    for number, auc in result.series("test-auc", role=top).popitem()[1]:
        print(f"round {number}: AUC {auc:.4f}")
