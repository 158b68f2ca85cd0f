"""Work by several processes: in order, whatever fails, and here where it is little."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import MlrunError, StoreError
from runner.flow import spread
from tests.end_to_end.conftest import until


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


def test_no_process_stays_when_the_first_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "from runner.flow import spread\n"
        "def work(shared, part):\n"
        "    open(f'{shared}/{os.getpid()}', 'w').close(); time.sleep(0.1); return part\n"
        "spread._PART, spread.processors = 1, lambda: 3\n"
        f"for part in spread.spread(work, {str(tmp_path)!r}, list(range(1000))): pass\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    first = subprocess.Popen([sys.executable, "-c", code], env=env)
    pids = until(lambda: [int(path.name) for path in tmp_path.iterdir()][2:] and list(tmp_path.iterdir()))
    first.kill()
    first.wait()
    until(lambda: not any(Path(f"/proc/{path.name}").exists() for path in pids))


def test_what_fails_is_told_as_it_is() -> None:
    with pytest.raises(StoreError, match="thirteen"):
        list(spread.spread(add, 0, list(range(9, 16))))
    with pytest.raises(MlrunError, match="was killed"):
        list(spread.spread(add, 0, list(range(14, 20))))
