"""Count the words of all texts and keep the most frequent ones."""

import argparse
import csv
import re
from collections import Counter
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--top", type=int, required=True)
args = parser.parse_args()

counts = Counter()
for text in sorted(Path("texts").glob("*.txt")):
    counts.update(re.findall(r"[a-z']+", text.read_text().lower()))
with open("counts.csv", "w", newline="") as stream:
    table = csv.writer(stream)
    table.writerow(["word", "count"])
    table.writerows(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: args.top])
print(f"{sum(counts.values())} words, {len(counts)} of them different")
