"""`runner.log_metric`, from one process and from many."""

import json
import math
import subprocess
import sys

import pytest

import runner
from runner.records.metrics import read_metrics


def test_values_are_appended(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"name": "cut')
    monkeypatch.setenv("MLRUN_METRICS", str(path))
    runner.log_metric("loss", 0.5, step=3)
    runner.log_metric("größe/ü", 7)
    for value in (math.nan, math.inf, -math.inf):
        runner.log_metric("odd", value)
    metrics, gaps = read_metrics(path)
    assert [(s.name, s.count, s.last) for s in metrics.series] == [
        ("loss", 1, 0.5),
        ("größe/ü", 1, 7.0),
        ("odd", 3, "-Infinity"),
    ]
    assert metrics.series[0].points[0].step == 3
    assert [point.value for point in metrics.series[2].points] == ["NaN", "Infinity", "-Infinity"]
    assert "line 1" in gaps[0].reason
    assert json.loads(path.read_text().splitlines()[1])["timestamp"] > 1_700_000_000_000


def test_outside_a_run_nothing_happens(monkeypatch):
    monkeypatch.delenv("MLRUN_METRICS", raising=False)
    runner.log_metric("loss", 0.5)


@pytest.mark.parametrize(("name", "value", "error"), [("", 1, TypeError), ("a", "x", ValueError), (1, 1, TypeError)])
def test_what_is_no_metric_is_refused_inside_and_outside(name, value, error, monkeypatch):
    monkeypatch.delenv("MLRUN_METRICS", raising=False)
    with pytest.raises(error):
        runner.log_metric(name, value)


def test_many_processes_log_at_once(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("MLRUN_METRICS", str(path))
    code = "import runner, sys\nfor i in range(300): runner.log_metric(sys.argv[1], i, i)"
    processes = [subprocess.Popen([sys.executable, "-c", code, f"m{number}"]) for number in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    metrics, gaps = read_metrics(path)
    assert not gaps
    assert {series.name: series.count for series in metrics.series} == {f"m{number}": 300 for number in range(4)}
    assert all([p.step for p in series.points] == list(range(300)) for series in metrics.series)


def test_it_imports_next_to_nothing():
    code = (
        "import sys, runner; runner.log_metric('a', 1); print(*(m for m in sys.modules if m.startswith(sys.argv[1])))"
    )
    for module in ("runner", "yaml", "click", "sqlite3", "subprocess"):
        done = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, check=True)
        assert set(done.stdout.split()) <= {"runner", "runner.logging"}
