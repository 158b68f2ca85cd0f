"""What a client logged, as the record has it."""

import json

from runner.records import metrics
from runner.records.tracking import LoggedDataset, LoggedModel, Tracking, read_tracking
from runner.worker.rundir import RunDirectory


def lines(*values):
    return "".join(json.dumps(value) + "\n" for value in values)


def a_child(run, name, *values, points=""):
    (run.children / name).mkdir(parents=True)
    (run.children / name / "tracking.jsonl").write_text(lines(*values))
    (run.children / name / "metrics.jsonl").write_text(points)


def test_a_run_that_logged_nothing_has_no_group(tmp_path):
    assert read_tracking(RunDirectory(tmp_path)) == (None, ())


def test_lines_are_replayed_and_broken_ones_passed_over(tmp_path):
    run = RunDirectory(tmp_path)
    uri = f"{tmp_path.as_uri()}/artifacts/models/a%20b"
    run.tracking.write_text(
        '{"do":"param","name":"a","value":"1"}\n{"do":"tag","name":"t","value":"1"}\nnonsense\n{"do":"param","name":"b"}\n'
        '{"do":"tag","name":"gone","value":"1"}\n{"do":"untag","name":"gone"}\n{"do":"news","of":"later"}\n[]\n'
        f'{{"do":"model","id":"m-1","info":{{"name":"a b","artifact_uri":"{uri}","status":"LOGGED_MODEL_READY"}}}}\n'
        '{"do":"model","id":"m-2","info":{"name":"x"}}\n{"do":"model","id":"m-2","deleted":true}\n{"do":"param","na'
    )
    model = LoggedModel("m-1", "a b", "artifacts/models/a b", "ready")
    assert read_tracking(run) == (Tracking({"a": "1"}, {"t": "1"}, models=(model,)), ())


def test_datasets_are_named_without_the_passwords_of_their_sources(tmp_path):
    run = RunDirectory(tmp_path)
    said = {
        "dataset": {
            "name": "d",
            "digest": "1f",
            "source_type": "http",
            "source": '{"url": "http://me:secret@x/d.csv"}',
        },
        "tags": [{"key": "mlflow.data.context", "value": "training"}, 3],
    }
    run.tracking.write_text(lines({"do": "dataset", "dataset": said}, {"do": "dataset", "dataset": {"dataset": {}}}))
    tracking, _ = read_tracking(run)
    assert tracking.datasets[0] == LoggedDataset("d", "1f", "http", '{"url": "http://x/d.csv"}', "training")
    assert "secret" not in str(tracking)


def test_sub_runs_are_told_in_the_order_of_their_making(tmp_path):
    run = RunDirectory(tmp_path / "01a20c5c-8af4-7000-80d2-1ce46e91a748")
    parent = {"do": "tag", "name": "mlflow.parentRunId", "value": run.id.replace("-", "")}
    a_child(run, "2", {"do": "run", "run_name": "later", "start_time": 2000, "end_time": "x"}, {**parent, "value": "1"})
    a_child(
        run, "1", {"do": "run", "run_name": "one", "status": "FINISHED", "start_time": 1, "end_time": 1500}, parent,
        {"do": "param", "name": "p", "value": "v"},
        points='{"name": "m", "value": 1}\nnonsense\n{"name": "m", "value": "NaN", "step": 2}\n',
    )  # fmt: skip
    tracking, (gap,) = read_tracking(run)
    one, later = tracking.children
    assert (one.name, one.status, one.started, one.ended, one.parent) == (
        "one", "finished", "1970-01-01T00:00:00.001+00:00", "1970-01-01T00:00:01.500+00:00", None,
    )  # fmt: skip
    assert (one.params, [(s.name, s.count, s.last) for s in one.metrics.series]) == ({"p": "v"}, [("m", 2, "NaN")])
    assert (later.name, later.status, later.ended, later.parent) == ("later", "unfinished", None, "1")
    assert read_tracking(run, ended=False)[0].children[1].status == "running"
    assert gap.reason == "sub-run 1: line 2 of metrics.jsonl is no metric (an object with name, value and step)"


def test_the_points_of_many_sub_runs_have_one_room(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    for number in range(3):
        a_child(run, str(number), points='{"name": "m", "value": 1}\n' * 4)
    tracking, gaps = read_tracking(run, room=8)
    assert [len(child.metrics.series[0].points) for child in tracking.children] == [4, 4, 0]
    assert [gap.field for gap in gaps] == ["tracking"]
    assert metrics.MOST_POINTS_ALTOGETHER == 100_000


def test_what_cannot_be_read_is_a_gap(tmp_path):
    run = RunDirectory(tmp_path)
    run.tracking.mkdir()
    tracking, (gap,) = read_tracking(run)
    assert tracking is None
    assert (gap.field, "cannot be read" in gap.reason) == ("tracking", True)
