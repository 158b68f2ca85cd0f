"""Thousands of files, hashed by several processes: as by one, whatever their names, whatever becomes of the help."""

import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest

from runner.worker.many_hashes import _pieces, hashing, sha256_of_files


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


def test_what_a_killed_helper_leaves_is_done_here(files: list[tuple[str, int]]) -> None:
    before = children()
    with hashing(files) as result:
        helpers = children() - before
        assert helpers
        for helper in helpers:
            os.kill(helper, signal.SIGKILL)
        assert result() == [plainly(path) for path, _ in files]


def test_helpers_end_where_nobody_wants_the_result(files: list[tuple[str, int]]) -> None:
    before = children()
    with hashing(files):
        assert children() - before
    assert children() <= before


def children() -> set[int]:
    """Return the processes that this one has started, and not yet seen the end of."""
    lists = Path("/proc/self/task").glob("*/children")  # of each thread
    return {int(word) for path in lists for word in path.read_text().split()}


def test_work_is_cut_into_pieces_of_about_equal_size() -> None:
    sizes = [200_000_000, *[0] * 3000, 170_000_000, 3_000_000, 3_000_000]
    pieces = _pieces(sizes)
    assert sorted(at for piece in pieces for at in piece) == list(range(len(sizes)))
    assert pieces[:4] == [[0], [3001], [3002, *pieces[2][1:]], [3003, *pieces[3][1:]]]  # what takes longest comes first
    assert {len(piece) for piece in pieces[4:-1]} == {133}
    assert len(_pieces([1_000_000] * 100_000)) < 4100  # their numbers fit into a pipe
