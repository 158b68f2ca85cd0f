"""Metrics as a user reads them: `mlrun metrics`, columns and conditions of `mlrun list`."""

import os
import pty
import subprocess
import sys

import pytest

MLPROJECT = """\
name: curves
entry_points:
  main:
    parameters: {rate: {default: "0.5"}, n: {type: int, default: 5}}
    command: |
      for i in $(seq 1 {n}); do
        echo '{{"name": "loss", "value": 0.'$i', "step": '$i'}}' >> $MLRUN_METRICS
      done
      echo '{{"name": "val/größe", "value": "NaN"}}' >> $MLRUN_METRICS
      echo '{{"name": "rmse", "value": '{rate}'}}' >> $MLRUN_METRICS
"""


@pytest.fixture
def curves(project, mlrun):
    project.write("MLproject", MLPROJECT)

    def run(rate="0.5", n=5):
        return mlrun("run", project.path, "--env-manager", "local", "-P", f"rate={rate}", "-P", f"n={n}").ok()

    return run


def on_a_terminal(mlrun, *argv):
    """Return what a command prints where its stdout is a terminal of 80 columns."""
    leader, follower = pty.openpty()
    env = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    done = subprocess.Popen([sys.executable, "-m", "runner", *argv], cwd=mlrun.cwd, env=env, stdout=follower)
    os.close(follower)
    said = b""
    try:
        while piece := os.read(leader, 1 << 16):
            said += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(leader)
    assert done.wait(60) == 0
    return said.decode()


def test_the_metrics_of_a_run(curves, mlrun):
    curves()
    listed = mlrun("metrics", "latest").ok().out.splitlines()
    assert listed[0].split() == ["NAME", "VALUES", "LAST", "MINIMUM", "MAXIMUM"]
    assert [line.split()[:2] for line in listed[1:]] == [["loss", "5"], ["val/größe", "1"], ["rmse", "1"]]
    values = mlrun("metrics", "latest", "rm*").ok().out.splitlines()
    assert [line.split() for line in values] == [["NAME", "STEP", "VALUE"], ["rmse", "-", "0.5"]]
    rows = mlrun("metrics", "latest", "--csv").ok().out.splitlines()
    assert rows[0] == "name,step,value,timestamp"
    assert [row.split(",")[:2] for row in rows[1:]] == [
        *(["loss", str(step)] for step in range(1, 6)),
        ["val/größe", ""],
        ["rmse", ""],
    ]
    assert rows[-2] == "val/größe,,NaN,"
    data = mlrun("metrics", "latest", "loss", "--json").ok().json
    assert [item["name"] for item in data["metrics"]] == ["loss"]
    assert [point["step"] for point in data["metrics"][0]["points"]] == [1, 2, 3, 4, 5]


def test_a_series_is_drawn_on_a_terminal(curves, mlrun):
    curves(n=9)
    drawn = on_a_terminal(mlrun, "metrics", "latest", "loss")
    assert "loss" in drawn
    assert "step" in drawn
    assert "┤" in drawn
    assert "9 values: last" in drawn
    assert max(map(len, drawn.splitlines())) <= 80
    assert "0.5" in on_a_terminal(mlrun, "metrics", "latest", "rmse")  # one value is no curve


def test_a_name_that_no_metric_has_is_answered_with_the_nearest(curves, mlrun):
    curves()
    said = mlrun("metrics", "latest", "los")
    assert said.code != 0
    assert "the run has no metric 'los'" in said.err
    assert "did you mean 'loss'? it has loss, val/größe, rmse" in said.err
    assert mlrun("metrics", "latest", "--csv", "--json").code == 2


def test_runs_are_listed_by_their_metrics(curves, mlrun):
    for rate in ("0.5", "0.7", "0.9"):
        curves(rate)
    condition = 'metrics.rmse < 0.8 and params.n = "5"'
    said = mlrun(
        "list", "--where", condition, "--sort", "metrics.rmse", "--reverse", "--columns", "params.rate,metrics.*"
    ).ok()
    assert [line.split() for line in said.out.splitlines()] == [
        ["PARAMS.RATE", "METRICS.LOSS", "METRICS.RMSE", "METRICS.VAL/GRÖSSE"],
        ["0.5", "0.5", "0.5", "NaN"],
        ["0.7", "0.5", "0.7", "NaN"],
    ]
    wrong = mlrun("list", "--where", "metrics.rmse << 3")
    assert wrong.code == 2
    assert "at character 15: a number, or a text in quotes, is expected, not <\n  metrics.rmse << 3\n" in wrong.err
    assert mlrun("list", "--sort", "metrics").code == 2


SCORES = """\
name: scores
metrics: [scores.json]
entry_points:
  main:
    parameters: {rmse: {default: "0.5"}}
    metrics: eval/*.csv
    command: |
      mkdir -p eval
      echo '{{"rmse": '{rmse}', "test": {{"mae": 1}}, "when": "'$RANDOM$RANDOM'"}}' > scores.json
      printf 'epoch,loss\\n1,0.5\\n2,0.25\\n' > eval/history.csv
"""


@pytest.fixture
def scores(project, mlrun):
    project.write("MLproject", SCORES)

    def run(*argv):
        return mlrun("run", project.path, "--env-manager", "local", *argv)

    return run


@pytest.mark.parametrize("where", [(), ("--isolated",)])
def test_numbers_in_declared_files_are_metrics(scores, mlrun, project, where):
    scores(*where).ok()
    record = mlrun.show()
    found = {item["name"]: (item["count"], item["last"], item["file"]) for item in record["metrics"]["series"]}
    assert found == {
        "rmse": (1, 0.5, "scores.json"), "test.mae": (1, 1.0, "scores.json"), "loss": (2, 0.25, "eval/history.csv")
    }  # fmt: skip
    assert {item["path"]: (item["basis"], item["stored"]) for item in record["outputs"]} == {
        "scores.json": ("measured", True),
        "eval/history.csv": ("measured", True),
    }
    rows = mlrun("metrics", "latest", "loss", "--csv").ok().out.splitlines()
    assert rows == ["name,step,value,timestamp", "loss,1,0.5,", "loss,2,0.25,"]
    assert "rmse" in mlrun("list", "--where", "metrics.rmse = 0.5").ok().out
    # What the files hold besides their numbers differs each time, and is no part of the verdict.
    assert "identical: 4 results" in mlrun("rerun", "latest", "--check").ok().err
    again = mlrun("rerun", "latest", "-P", "rmse=0.6", "--check")
    assert again.code == 1
    assert "metric rmse: 0.5 -> 0.6" in again.err
    assert "; 1 not the same" in again.err
    assert mlrun("rerun", record["run"]["id"], "-P", "rmse=0.5001", "--check", "--tolerance", "rmse=1%").code == 0


def test_a_declared_file_that_was_not_written_is_a_gap(project, mlrun):
    project.write(
        "MLproject", "metrics: [old.json, none.yaml, bad.json]\nentry_points: {main: {command: echo x > bad.json}}"
    )
    project.write("old.json", '{"rmse": 0.1}')
    mlrun("run", project.path, "--env-manager", "local").ok()
    record = mlrun.show()
    assert record["metrics"]["series"] == []
    assert sorted(gap["reason"] for gap in record["gaps"] if gap["field"] == "metrics") == [
        "bad.json cannot be read: no JSON: Expecting value: line 1 column 1 (char 0)",
        "the declared file of metrics none.yaml was not written",
        "the declared file of metrics old.json was there before, and this run did not write it",
    ]


def test_a_file_of_another_kind_is_refused(project, mlrun):
    project.write("MLproject", "metrics: [scores.txt]\nentry_points: {main: {command: ls}}")
    said = mlrun("check", project.path)
    assert said.code == 1
    assert "a file of metrics is called *.json, *.yaml, *.yml, *.csv, *.tsv, and 'scores.txt' is not" in said.out


def test_log_metric_inside_a_run(project, mlrun):
    python = sys.executable
    project.write(
        "train.py", "import runner\nfor step in range(3):\n    runner.log_metric('loss', 1 / (step + 1), step)\n"
    )
    project.write("MLproject", f"entry_points: {{main: {{command: {python} train.py}}}}")
    mlrun("run", project.path, "--env-manager", "local").ok()
    (series,) = mlrun.show()["metrics"]["series"]
    assert [(point["step"], point["value"]) for point in series["points"]] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_the_metrics_of_a_sub_run(project, mlrun):
    main = """
entry_points:
  main:
    command: |
      for id in aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb; do
        dir=$(dirname $MLRUN_METRICS)/children/$id; mkdir -p $dir
        echo '{{"do": "run", "version": 1, "run_name": "kid '${{id:0:1}}'"}}' > $dir/tracking.jsonl
        echo '{{"name": "'${{id:0:1}}'", "value": 0.5, "step": 3}}' > $dir/metrics.jsonl
      done
"""
    project.write("MLproject", main)
    mlrun("run", project.path, "--env-manager", "local").ok()
    for sub_run in ("kid a", "aaaaaaaa"):
        assert mlrun("metrics", "latest", "--sub-run", sub_run, "--csv").ok().out.splitlines()[1:] == ["a,3,0.5,"]
    assert mlrun("metrics", "latest", "--sub-run", "kid b", "--json").ok().json["metrics"][0]["name"] == "b"
    said = mlrun("metrics", "latest", "--sub-run", "nobody")
    assert "no sub-run of the run answers to 'nobody'" in said.err
    assert "hint: it has aaaaaaaa (kid a), bbbbbbbb (kid b)" in said.err
