"""Fit a line to points, by least squares."""

import argparse
import csv
import json
import os
from pathlib import Path
from statistics import linear_regression

parser = argparse.ArgumentParser()
parser.add_argument("--points", type=Path, required=True)
parser.add_argument("--out", type=Path, required=True)
args = parser.parse_args()

with args.points.open(newline="") as stream:
    rows = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(stream)]
slope, intercept = linear_regression(*zip(*rows))
args.out.write_text(json.dumps({"slope": slope, "intercept": intercept}) + "\n")
print(f"y = {slope:.3f} x + {intercept:.3f}")

with open(os.environ.get("MLRUN_METRICS", os.devnull), "a") as metrics:
    for name, value in (("slope", slope), ("intercept", intercept)):
        metrics.write(json.dumps({"name": name, "value": value}) + "\n")
