"""What a client logged, as the record has it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runner.cli.logged import dataset_rows, registered_rows
from runner.cli.sub_runs import sub_run_rows
from runner.records import metrics, schemas
from runner.records.tracking import (
    LoggedDataset,
    LoggedModel,
    ModelVersion,
    RegisteredModel,
    Tracking,
    read_tracking,
)
from runner.worker.codec import encode
from runner.worker.rundir import RunDirectory
from tests.records.samples import a_record

VALIDATOR = Draft202012Validator(schemas.load("record"))


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


def test_registered_models_lie_where_the_run_directory_is_now(tmp_path):
    run = RunDirectory(tmp_path / "01a20c5c-8af4-7000-80d2-1ce46e91a748")
    run.path.mkdir()
    there = f"file:///home/ada/store/runs/{run.id}/artifacts"  # where the run was
    run.tracking.write_text(lines(
        {"do": "register", "at": 1, "name": "a", "info": {"description": "x"}, "tags": {"t": "1"}},
        {"do": "register", "at": 2, "name": "a", "version": "1", "info": {"place": f"{there}/models/a%20b"}},
        {"do": "register", "at": 3, "name": "a", "version": "1", "info": {"current_stage": "Staging"}},
        {"do": "register", "at": 4, "name": "a", "version": "2", "info": {"place": "s3://b/c"}, "tags": {"t": 2}},
        {"do": "register", "at": 5, "name": "a", "aliases": {"best": "1"}},
        {"do": "register", "at": 6, "name": "gone"}, {"do": "register", "at": 7, "name": "gone", "deleted": True},
        {"do": "register", "name": "a"}, {"do": "register", "at": 8, "name": "a", "renamed": "b"},
        {"do": "model", "id": "m-1", "info": {"name": "a b", "artifact_uri": f"{there}/models/a%20b"}},
    ))  # fmt: skip
    versions = (
        ModelVersion("1", "artifacts/models/a b", "Staging"), ModelVersion("2", "s3://b/c", tags={"t": "2"}),
    )  # fmt: skip
    tracking, _ = read_tracking(run)
    assert tracking.registered == (RegisteredModel("b", "x", {"t": "1"}, {"best": "1"}, versions),)
    assert tracking.models[0].path == "artifacts/models/a b"
    assert [*registered_rows(encode(tracking)["registered"])] == [
        ("b 1", "artifacts/models/a b", "Staging, best"), ("b 2", "s3://b/c", ""),
    ]  # fmt: skip


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
    with (run.children / "2" / "tracking.jsonl").open("a") as stream:
        stream.write(lines({"do": "run", "lifecycle_stage": "deleted"}))
    assert read_tracking(run)[0].children[1].status == "deleted"
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


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("m-1")
VALUES = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["dataset", "tags", "key"]), inner, max_size=2)
    ),
    max_leaves=4,
)
TAGS = [5, {}, [{"key": []}, 3, {"key": "mlflow.data.context", "value": {}}]]
DATASETS = [{"do": "dataset", "dataset": {"dataset": {"name": f"{n}"}, "tags": tags}} for n, tags in enumerate(TAGS)]
KINDS = ["run", "param", "tag", "untag", "dataset", "input", "output", "model", "measured"]
KEYS = ["name", "value", "model", "id", "info", "params", "tags", "dataset", "step", "deleted", "run_name", "status",
        "start_time", "end_time", "untag", "timestamp"]  # fmt: skip
LINES = st.lists(
    st.fixed_dictionaries({"do": st.sampled_from(KINDS)}, optional=dict.fromkeys(KEYS, VALUES)) | VALUES, max_size=5
)


@settings(max_examples=150, deadline=None)
@given(mine=LINES, childs=LINES, points=LINES)
@example(mine=DATASETS, childs=DATASETS, points=[])
def test_whatever_was_appended_to_the_files_makes_a_record_that_fits_its_schema(mine, childs, points):
    with TemporaryDirectory() as directory:
        run = RunDirectory(Path(directory))
        run.tracking.write_text(lines(*mine))
        a_child(run, "1", *childs, points=lines(*points))
        tracking, gaps = read_tracking(run)
    record = encode(a_record(tracking=tracking, gaps=(*a_record().gaps, *gaps)))
    assert list(VALIDATOR.iter_errors(json.loads(json.dumps(record, allow_nan=False)))) == []


def test_what_is_no_sub_run_harms_no_other(tmp_path):
    run = RunDirectory(tmp_path)
    a_child(run, "1", {"do": "run", "run_name": "sound"})
    (run.children / "file").touch()
    (run.children / "2" / "tracking.jsonl").mkdir(parents=True)
    tracking, (gap,) = read_tracking(run)
    assert [child.name for child in tracking.children] == ["sound"]
    assert gap.reason.startswith("sub-run 2 cannot be read")


def test_sub_runs_are_drawn_below_those_they_are_nested_in_even_in_a_circle():
    def drawn(**parents):
        children = [
            {"id": name, "name": name, "status": "finished", "parent": parent, "params": {}, "metrics": {"series": []}}
            for name, parent in parents.items()
        ]
        return [name for name, _, _ in sub_run_rows(children, 4)]

    assert drawn(a=None, b="c", c="a", d=None) == ["a", "  c", "    b", "d"]
    assert drawn(a="gone", b="b") == ["a", "b"]
    assert sorted(name.strip() for name in drawn(a="b", b="a", c=None)) == ["a", "b", "c"]
    assert drawn(a=None, b=None, c=None, d=None, e=None) == ["a", "b", "c", "d", "and 1 more"]


def test_a_dataset_is_shown_with_its_place_and_not_with_what_made_it():
    def shown(source: str) -> list[tuple[str, str, str]]:
        return dataset_rows([{"name": "wine", "digest": "650fc9a5", "source": source, "context": "train"}])

    assert shown('{"tags": {"mlflow.source.name": "train.py"}}') == [("wine", "650fc9a5", "train")]
    assert shown('{"url": "https://host/wine.csv"}') == [("wine", "650fc9a5  https://host/wine.csv", "train")]
    assert shown("not JSON") == [("wine", "650fc9a5  not JSON", "train")]
