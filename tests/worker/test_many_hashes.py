"""Thousands of files, hashed by several processes: as by one, whatever their names, whatever becomes of the help."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from runner.worker.many_hashes import _shared_out, sha256_of_files


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[str, int]]:
    for number in range(2500):
        (tmp_path / f"{number}.txt").write_text(f"{number}\n")
    (tmp_path / "a\nb é").write_bytes(b"x" * 3_000_000)
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"y")
    os.mkfifo(tmp_path / "pipe")
    paths = [*map(str, tmp_path.iterdir()), str(tmp_path / "nowhere"), str(tmp_path)]
    return [(path, 0) for path in paths]


def plainly(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else ""


@pytest.mark.parametrize("helper", [sys.executable, "/bin/false", "/nowhere", "/bin/cat"])
def test_all_are_hashed_whoever_helps(
    files: list[tuple[str, int]], helper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", helper)
    assert sha256_of_files(files) == [plainly(path) for path, _ in files]


def test_a_few_are_hashed_here(files: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert sha256_of_files(files[-300:]) == [plainly(path) for path, _ in files[-300:]]
    assert sha256_of_files([]) == []


def test_work_is_shared_out_by_size() -> None:
    sizes = [200_000_000, *[0] * 3000, 170_000_000]
    first, second = _shared_out(sizes, 2)
    assert sorted([*first, *second]) == list(range(len(sizes)))
    assert (0 in first, len(sizes) - 1 in second) == (True, True)
    assert abs(len(first) - len(second)) < 50
