"""What a client logged, as the record has it."""

from runner.records.tracking import LoggedModel, Tracking, read_tracking
from runner.worker.rundir import RunDirectory


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
    (run.children / "kid").mkdir(parents=True)
    model = LoggedModel("m-1", "a b", "artifacts/models/a b", "ready")
    assert read_tracking(run) == (Tracking({"a": "1"}, {"t": "1"}, ("kid",), (model,)), ())


def test_what_cannot_be_read_is_a_gap(tmp_path):
    run = RunDirectory(tmp_path)
    run.tracking.mkdir()
    tracking, (gap,) = read_tracking(run)
    assert tracking is None
    assert (gap.field, "cannot be read" in gap.reason) == ("tracking", True)
