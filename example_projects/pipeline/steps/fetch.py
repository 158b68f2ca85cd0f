"""Writes the raw measurements: a stand-in for a download, the same bytes each time, with some that are broken."""

import csv
import math
import random
import sys
from pathlib import Path

target = Path(sys.argv[1])
target.parent.mkdir(exist_ok=True)
noise = random.Random(7)
with target.open("w", newline="") as stream:
    table = csv.writer(stream)
    table.writerow(["hour", "temperature"])
    for hour in range(240):
        value = 12 + 6 * math.sin(hour / 24 * 2 * math.pi) + noise.gauss(0, 0.5)
        table.writerow([hour, "" if noise.random() < 0.05 else f"{value:.3f}"])
print(f"wrote {target}")
