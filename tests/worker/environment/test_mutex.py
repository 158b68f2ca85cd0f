"""Locks on files: one at a time, shared, and not of a file that was removed."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from runner.worker.environment.mutex import alone, locked, share


def test_one_at_a_time_and_the_others_are_told(tmp_path: Path) -> None:
    inside, waited, order = threading.Event(), threading.Event(), []

    def second() -> None:
        inside.wait()
        with locked(tmp_path / "lock", waited.set):
            order.append(2)

    thread = threading.Thread(target=second)
    thread.start()
    with locked(tmp_path / "lock", lambda: pytest.fail("nobody else had it")):
        inside.set()
        assert waited.wait(10)
        order.append(1)
    thread.join()
    assert order == [1, 2]


def test_the_lock_of_a_removed_file_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "key" / "lock"
    waited, entered = threading.Event(), threading.Event()

    def late() -> None:
        with locked(path, waited.set):
            with alone(path) as free:
                assert not free
            entered.set()

    with locked(path, lambda: None):
        thread = threading.Thread(target=late)
        thread.start()
        assert waited.wait(10)
        path.unlink()
        path.parent.rmdir()
    thread.join()
    assert entered.is_set()
    assert path.exists()


def test_a_share_keeps_others_from_being_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert share(path) is None
    path.touch()
    first, second = share(path), share(path)
    assert first is not None
    assert second is not None
    with alone(path) as free:
        assert not free
    os.close(first)
    os.close(second)
    with alone(path) as free:
        assert free


def test_a_share_waits_for_a_look(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    threading.Timer(0.1, os.close, [descriptor]).start()
    held = share(path)
    assert held is not None
    os.close(held)
