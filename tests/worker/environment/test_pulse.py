"""The state of many files in one word: every change is in it, wherever the file lies and whatever it is called."""

import os
from pathlib import Path

import pytest

from runner.worker.environment.cache.pulse import pulse_of, watch

SITE = "lib/python3.11/site-packages"
NAMES = [
    "bin/python",
    "lib/a.py",
    f"{SITE}/one.py",
    f"{SITE}/pkg/two\nlines.py",
    f"{SITE}/pkg/" + os.fsdecode(b"\xff.py"),
    "zoneinfo",
    "etc/x/site-packages/y",
]


def make(prefix: Path, names: list[str]) -> None:
    for name in names:
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text("x")


@pytest.mark.parametrize("names", [NAMES, NAMES[:2], NAMES[2:3], NAMES[2:], NAMES[::-1], []])
def test_each_change_is_seen(tmp_path: Path, names: list[str]) -> None:
    make(tmp_path, names)
    watched, pulse = watch(tmp_path, names)
    assert sorted(watched.split(b"\0")) == sorted(map(os.fsencode, names or [""]))
    assert pulse_of(tmp_path, watched) == pulse
    for name in names:
        path, status = tmp_path / name, (tmp_path / name).stat()
        while path.stat().st_ctime_ns == status.st_ctime_ns:  # a clock tick
            path.write_text("y")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        now = pulse_of(tmp_path, watched)
        assert now != pulse
        pulse = now


def test_in_any_order_as_a_list_may_have_been_written(tmp_path: Path) -> None:
    make(tmp_path, NAMES)
    watched = b"\0".join(map(os.fsencode, [NAMES[2], NAMES[0], NAMES[3], NAMES[1], NAMES[4]]))
    assert pulse_of(tmp_path, watched)
    (tmp_path / NAMES[0]).unlink()
    with pytest.raises(FileNotFoundError):
        pulse_of(tmp_path, watched)


def test_what_is_not_there_is_not_watched(tmp_path: Path) -> None:
    make(tmp_path, NAMES)
    assert watch(tmp_path, [*NAMES, "nowhere", f"{SITE}/nowhere.py", ""]) == watch(tmp_path, NAMES)
