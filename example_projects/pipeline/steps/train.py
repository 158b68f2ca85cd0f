"""Fits a polynomial to the temperature of the day by least squares, with nothing but the standard library."""

import csv
import json
import sys
from pathlib import Path

source, target, degree = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
with open(source, newline="") as stream:
    points = [(float(row["hour"]) / 24, float(row["temperature"])) for row in csv.DictReader(stream)]

# The normal equations, solved by elimination with pivots.
size = degree + 1
rows = [
    [sum(x ** (i + j) for x, _ in points) for j in range(size)] + [sum(y * x**i for x, y in points)]
    for i in range(size)
]
for i in range(size):
    pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
    rows[i], rows[pivot] = rows[pivot], rows[i]
    for k in range(size):
        if k != i:
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i])]
coefficients = [rows[i][size] / rows[i][i] for i in range(size)]

error = sum((y - sum(c * x**i for i, c in enumerate(coefficients))) ** 2 for x, y in points)
rmse = (error / len(points)) ** 0.5
target.mkdir(exist_ok=True)
(target / "coefficients.json").write_text(json.dumps(coefficients) + "\n")
(target / "scores.json").write_text(json.dumps({"rmse": rmse}) + "\n")
print(f"degree {degree}: rmse {rmse:.3f}")
