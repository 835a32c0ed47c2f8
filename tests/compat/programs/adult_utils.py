"""What the adult example's programs have beside them as `utils.py`: how a row of the table becomes numbers."""

import csv

import numpy as np

NUMBERS = ("age", "education-num", "hours-per-week")
KINDS = {
    "workclass": ("Private", "Self-emp", "State-gov"),
    "sex": ("Female", "Male"),
}


def process_table(path):
    """Features, float32, and whether somebody earns more than 50K."""
    with open(path) as file:
        rows = list(csv.DictReader(file))
    columns = [[float(row[name]) for row in rows] for name in NUMBERS]
    columns += [[float(row[name] == kind) for row in rows] for name, kinds in KINDS.items() for kind in kinds]
    features = np.array(columns, np.float32).T
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    return features, np.array([row["income"] == ">50K" for row in rows], np.float32)
