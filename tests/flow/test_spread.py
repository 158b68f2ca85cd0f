"""Work by several processes: in order, whatever fails, and here where it is little."""

import os
import signal

import pytest

from runner.errors import MlrunError, StoreError
from runner.flow import spread


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_PART", 3)
    monkeypatch.setattr(spread, "processors", lambda: 2)


def add(shared: int, things: list[int]) -> tuple[int, list[int]]:
    if 13 in things:
        message = "thirteen"
        raise StoreError(message, hint="go on")
    if 17 in things:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid(), [shared + thing for thing in things]


def test_results_come_in_order_from_several_processes() -> None:
    found = list(spread.spread(add, 100, list(range(10))))
    assert [each for _, part in found for each in part] == list(range(100, 110))
    assert os.getpid() not in {pid for pid, _ in found}


def test_little_is_done_here() -> None:
    assert list(spread.spread(add, 1, [1, 2, 3])) == [(os.getpid(), [2, 3, 4])]
    assert list(spread.spread(add, 1, [])) == []


def test_what_fails_is_told_as_it_is() -> None:
    with pytest.raises(StoreError, match="thirteen"):
        list(spread.spread(add, 0, list(range(9, 16))))
    with pytest.raises(MlrunError, match="was killed"):
        list(spread.spread(add, 0, list(range(14, 20))))
