"""Snapshots beside `git status`, and hashing beside hashlib: `python -m benchmarks.snapshot`."""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from runner.sources.fetch import fetch
from runner.sources.snapshot import take
from runner.worker.objects import Objects
from runner.worker.stat_cache import StatCache


def main() -> None:
    """Print figures and ratios; exit with 1 where a target of the project is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--gibibytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlrun-bench.") as place:
        kept = [
            compare_repository(Path(place), given.files, given.rounds, limit=0.4),
            compare_repository(Path(place), 10, given.rounds * 3, limit=0.015),
            compare_hashing(Path(place), int(given.gibibytes * (1 << 30)), limit=1.2),
        ]
    raise SystemExit(0 if all(kept) else 1)


def compare_repository(place: Path, files: int, rounds: int, limit: float) -> bool:
    """Time a first and an unchanged snapshot of a repository beside `git status` of it, in turn."""
    repository, desk = make_repository(place / f"repository{files}", files), place / f"desk{files}"
    time.sleep(0.2)  # younger files are not trusted to stay as they are

    def snapshot() -> None:
        with fetch(str(repository), version=None, caller=place, cache=desk / "cache") as source:
            take(source, Objects(desk / "objects"), StatCache(desk / "stat.sqlite"))

    def status() -> None:
        subprocess.run(["git", "status", "--porcelain"], cwd=repository, check=True, capture_output=True)

    first = timed(snapshot)
    snapshots, statuses = in_turn(rounds, snapshot, status)
    print(f"{files} files")
    print(f"  first snapshot      {first:8.3f} s")
    print(f"  unchanged snapshot  {snapshots:8.4f} s   at most {limit} s")
    print(f"  git status          {statuses:8.4f} s   ratio {snapshots / statuses:.1f}")
    return snapshots <= limit


def compare_hashing(place: Path, size: int, limit: float) -> bool:
    """Time the digest of a new file, and of the same one again, beside hashlib over its bytes."""
    path = place / "input"
    block = os.urandom(1 << 20)
    with path.open("wb") as stream:
        for _ in range(size >> 20):
            stream.write(block)
    time.sleep(0.2)
    cache = StatCache(place / "input.sqlite")
    ours, plain = in_turn(3, lambda: StatCache(None).digest(path), lambda: hash_plainly(path))
    cache.digest(path)
    again = timed(lambda: cache.digest(path))
    print(f"{size / (1 << 30):.2f} GiB of input")
    print(f"  new                 {ours:8.3f} s   {size / ours / 1e9:.2f} GB/s, at most {limit} times hashlib")
    print(f"  hashlib             {plain:8.3f} s   ratio {ours / plain:.2f}")
    print(f"  unchanged           {again:8.6f} s   nothing is read")
    return ours <= limit * plain


def make_repository(path: Path, files: int) -> Path:
    """Return a repository of small files, a hundred to a directory, all committed."""
    for index in range(files):
        name = path / f"d{index // 2000}" / f"d{index // 100}" / f"f{index}.py"
        if index % 100 == 0:
            name.parent.mkdir(parents=True)
        name.write_text(f"x = {index}\n" * 20)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *words], cwd=path, check=True)
    return path


def hash_plainly(path: Path) -> None:
    """Read and hash a file, as its own documentation does it."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)


def in_turn(rounds: int, *acts: Callable[[], object]) -> list[float]:
    """Return the median time of each act, after one round that is not counted; a machine that drifts is fair to all."""
    times: list[list[float]] = [[] for _ in acts]
    for round_ in range(rounds + 1):
        for act, kept in zip(acts, times, strict=True):
            seconds = timed(act)
            if round_:
                kept.append(seconds)
    return [statistics.median(kept) for kept in times]


def timed(act: Callable[[], object]) -> float:
    """Return how long something takes, in s."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
