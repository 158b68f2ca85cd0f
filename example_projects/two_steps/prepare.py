"""Make points that lie near a line."""

import argparse
import csv
import random
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int, required=True)
parser.add_argument("--out", type=Path, required=True)
args = parser.parse_args()

noise = random.Random(7)
args.out.parent.mkdir(parents=True, exist_ok=True)
with args.out.open("w", newline="") as stream:
    table = csv.writer(stream)
    table.writerow(["x", "y"])
    for x in range(args.rows):
        table.writerow([x, round(3 * x + 2 + noise.gauss(0, 1), 6)])
print(f"{args.rows} points in {args.out}")
