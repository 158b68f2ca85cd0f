"""`mlrun run`: from words on the command line to a sealed record, an exit code, and nothing else changed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.cli.live import Signals
from runner.cli.session import Session
from tests.end_to_end.conftest import MLRUN, Mlrun, Project, until


def test_a_run_prints_what_its_command_prints_and_is_recorded(mlrun: Mlrun, project: Project):
    commit = project.commit()
    said = mlrun("run", project.path, "-P", "word=good day", "--env-manager", "local", "-m", "to see it").ok()
    assert said.out == "good day\n"
    record = mlrun.show()
    assert record["run"]["status"] == "succeeded"
    assert record["code"]["commit"] == commit
    assert record["code"]["dirty"] is False
    assert record["why"]["text"] == "to see it"
    assert [(p["name"], p["raw"]) for p in record["parameters"]] == [("word", "good day")]
    assert record["result"]["exit_code"] == 0


def test_the_record_is_sealed_with_its_digest_beside_it(mlrun: Mlrun, project: Project):
    mlrun("run", project.path, "--env-manager", "local").ok()
    directory = mlrun.directory()
    seal = (directory / "record.json.sha256").read_text().split()
    assert seal == [hashlib.sha256((directory / "record.json").read_bytes()).hexdigest(), "record.json"]


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
def test_the_exit_code_is_the_commands_own(mlrun: Mlrun, project: Project, command: str, code: int):
    project.write("MLproject", f"entry_points:\n  main: {{command: '{command}'}}\n")
    assert mlrun("run", project.path, "--env-manager", "local").code == code
    assert mlrun.show()["run"]["status"] == "failed"


def test_both_streams_stay_apart(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'echo to out; echo to err >&2'}\n")
    said = mlrun("run", "-q", project.path, "--env-manager", "local").ok()
    assert (said.out, said.err) == ("to out\n", "to err\n")
    logs = mlrun("logs", "latest").ok()
    assert (logs.out, logs.err) == ("to out\n", "to err\n")


def test_standard_input_reaches_the_command(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'read line; echo got $line'}\n")
    assert mlrun("run", project.path, "--env-manager", "local", stdin="a line\n").ok().out == "got a line\n"


def test_with_json_stdout_is_the_record_alone(mlrun: Mlrun, project: Project):
    said = mlrun("run", project.path, "--env-manager", "local", "--json").ok()
    assert said.json["version"] == 1
    assert said.json["run"]["result"]["exit_code"] == 0
    assert "hello" in said.err


def test_in_place_sees_ignored_data_and_its_outputs_are_found(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'cp data.bin result.txt'}\n")
    project.write(".gitignore", "data.bin\nresult.txt\n")
    project.write("data.bin", "precious")
    project.commit()
    mlrun("run", project.path, "--env-manager", "local").ok()
    record = mlrun.show()
    assert [(f["path"], f["basis"]) for f in record["inputs"]] == [("data.bin", "observed")]
    assert [f["path"] for f in record["outputs"]] == ["result.txt"]
    assert (project.path / "result.txt").read_text() == "precious"


def test_isolated_works_elsewhere_and_leaves_the_checkout_alone(mlrun: Mlrun, project: Project, tmp_path: Path):
    project.write("MLproject", "entry_points:\n  main: {command: 'pwd; echo new > made.txt'}\n")
    project.commit()
    said = mlrun("run", project.path, "--isolated", "--env-manager", "local").ok()
    assert str(project.path) not in said.out
    assert not (project.path / "made.txt").exists()
    mlrun("artifacts", "latest", "-o", tmp_path / "out").ok()
    assert (tmp_path / "out" / "made.txt").read_text() == "new\n"


def test_the_checkout_is_the_same_bits_before_and_after(mlrun: Mlrun, project: Project):
    project.commit()
    project.write("MLproject", (project.path / "MLproject").read_text() + "# edited\n")
    project.write("untracked.txt", "new")

    def bits() -> dict[str, tuple[bytes, int]]:
        files = (p for p in project.path.rglob("*") if p.is_file())
        return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}

    before = bits()
    mlrun("run", project.path, "--env-manager", "local").ok()
    mlrun("rerun", "latest").ok()
    assert bits() == before


def test_a_mistake_leaves_no_run_behind(mlrun: Mlrun, project: Project):
    for argv in (
        ["-e", "nothing"], ["-P", "word"], ["-P", "word=a", "-P", "word=b"], ["--on", "mars"], ["-b", "kubernetes"],
        ["-c", "{broken"], ["--params-file", "missing.yaml"], ["--env-manager", "nix"], ["-v", "no-such-rev"],
    ):  # fmt: skip
        said = mlrun("run", project.path, *argv)
        assert said.code in (2, 125), (argv, said)
        assert said.err.startswith("error: "), (argv, said.err)
        assert said.out == ""
    assert mlrun("list", "--json").ok().json == {"version": 1, "runs": []}


def test_usage_errors_exit_with_2(mlrun: Mlrun, project: Project):
    assert mlrun("run", project.path, "-P", "word").code == 2
    assert mlrun("run", project.path, "--no-such-flag").code == 2
    assert mlrun("rnu").code == 2
    assert "Did you mean run" in mlrun("rnu").err


def test_interrupting_the_command_line_ends_the_whole_process_group(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'sleep 300 & sleep 301 & echo ready; wait'}\n")
    process = mlrun.popen("run", project.path, "--env-manager", "local")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    record = mlrun.show()
    assert record["run"]["status"] == "killed"


def test_term_ends_the_run(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'echo ready; sleep 300'}\n")
    process = mlrun.popen("run", project.path, "--env-manager", "local")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert mlrun.show()["run"]["status"] == "killed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_comes_while_a_run_is_made_ends_that_run(mlrun: Mlrun, project: Project, number: int):
    project.write("MLproject", "entry_points:\n  main: {command: 'sleep 300'}\n")
    before = signal.getsignal(number)
    with Signals(Session()) as signals:
        signals.hold()
        signal.raise_signal(number)  # not the end of this process: a run is on its way
        identity = mlrun("run", project.path, "--env-manager", "local", "--detach").ok().out.strip()
        assert not signals.received
        signals.end(Session().store.find(identity))
        assert signals.received
    assert signal.getsignal(number) is before
    assert mlrun("wait", identity).code == 128 + number
    assert mlrun.show(identity)["run"]["status"] == "killed"


@pytest.mark.parametrize(("number", "end"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_what_comes_before_a_run_is_made_ends_us(number: int, end: type[BaseException]):
    with Signals(Session()) as signals:
        with pytest.raises(end):
            signal.raise_signal(number)
        with pytest.raises(end):
            signals.hold()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_run_outlives_its_command_line(mlrun: Mlrun, project: Project, number: int):
    project.write(
        "MLproject", "entry_points:\n  main: {command: 'echo ready; until [ -e go ]; do sleep 0.1; done; echo done'}\n"
    )
    process = mlrun.popen("run", project.path, "--env-manager", "local")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert mlrun("list", "--json").ok().json["runs"][0]["status"] == "running"
    project.write("go", "")
    assert mlrun("wait", "latest").code == 0
    assert mlrun("logs", "latest").out == "ready\ndone\n"
    assert mlrun.show()["run"]["status"] == "succeeded"


def test_what_a_run_that_goes_on_has_not_yet_is_said_so(mlrun: Mlrun, project: Project, tmp_path: Path):
    command = (
        "echo a > out.txt; mkdir -p $MLRUN_RUN_DIR/artifacts; touch begun; until test -e go; do sleep 0.05; done; "
        "echo b > $MLRUN_RUN_DIR/artifacts/b.txt; touch logged; until test -e end; do sleep 0.05; done"
    )
    project.write("MLproject", f"outputs: [out.txt]\nentry_points:\n  main: {{command: '{command}'}}\n")
    run = mlrun("run", project.path, "--env-manager", "local", "--detach").ok().out.strip()
    until((project.path / "begun").exists)
    assert mlrun("artifacts", run).ok().err == "the run is running: no outputs of it are known yet\n"
    assert mlrun("artifacts", run, "-o", tmp_path / "o").ok().err == mlrun("artifacts", run).err
    assert not (tmp_path / "o").exists()
    assert mlrun("metrics", run).ok().err == "the run is running: it has no metrics yet\n"
    refused = mlrun("artifacts", run, "out.txt")
    assert refused.code == 125
    assert f"the run {run} is running: no output 'out.txt' of it is known yet" in refused.err
    (project.path / "go").touch()
    until((project.path / "logged").exists)
    said = mlrun("artifacts", run).ok()
    assert said.err == "note: the run is running: this is what it has logged so far\n"
    assert "artifacts/b.txt" in said.out
    (project.path / "end").touch()
    mlrun("wait", run).ok()
    ended = mlrun("artifacts", run).ok()
    assert "out.txt" in ended.out
    assert ended.err == ""
    assert mlrun("metrics", run).ok().err == "the run has no metrics\n"


def test_a_detached_run_is_followed_waited_for_and_cancelled(mlrun: Mlrun, project: Project):
    project.write(
        "MLproject",
        "entry_points:\n  main: {command: 'for i in 1 2 3; do echo $i; sleep 0.2; done'}\n"
        "  long: {command: sleep 300}\n",
    )
    run = mlrun("run", project.path, "--env-manager", "local", "--detach").ok().out.strip()
    assert mlrun("logs", "-f", run).ok().out == "1\n2\n3\n"
    assert mlrun("wait", run).code == 0
    long = mlrun("run", project.path, "-e", "long", "--env-manager", "local", "--detach").ok().out.strip()
    until(lambda: mlrun("list", "--json").ok().json["runs"][0]["status"] == "running")
    [going, ended] = mlrun("list", "--json").ok().json["runs"]
    assert going["started"] is not None
    assert ended["started"] <= going["started"]
    assert "-" not in mlrun("list", "--status", "running", "--columns", "started,duration").ok().out
    mlrun("cancel", long).ok()
    assert mlrun.show(long)["run"]["status"] == "killed"


def test_a_killed_worker_is_orphaned_then_lost(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'echo up; exec sleep 300'}\n")
    run = mlrun("run", project.path, "--env-manager", "local", "--detach").ok().out.strip()
    directory = Path(os.environ["MLRUN_HOME"]) / "runs" / run
    until(lambda: (directory / "stdout.log").exists() and (directory / "stdout.log").read_bytes())  # past its gate
    facts = json.loads((directory / "start.json").read_text())
    os.kill(facts["worker"]["pid"], signal.SIGKILL)
    until(lambda: mlrun("list", "--json").json["runs"][0]["status"] == "orphaned")
    os.kill(facts["child"]["pid"], signal.SIGKILL)
    until(lambda: mlrun("list", "--json").json["runs"][0]["status"] == "lost")
    assert mlrun.show()["run"]["status"] == "lost"
    assert mlrun("wait", run).code == 125


def test_an_orphan_can_be_cancelled(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'sleep 300 & echo up; sleep 301'}\n")
    run = mlrun("run", project.path, "--env-manager", "local", "--detach").ok().out.strip()
    directory = Path(os.environ["MLRUN_HOME"]) / "runs" / run
    until(lambda: (directory / "stdout.log").exists() and (directory / "stdout.log").read_bytes())
    os.kill(json.loads((directory / "start.json").read_text())["worker"]["pid"], signal.SIGKILL)
    mlrun("cancel", run).ok()
    assert mlrun.show(run)["run"]["status"] == "killed"


def test_a_time_limit_ends_the_run_with_124(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'sleep 300', resources: {time: 1s}}\n")
    assert mlrun("run", project.path, "--env-manager", "local").code == 124
    record = mlrun.show()
    assert record["run"]["status"] == "failed"
    assert record["result"]["timed_out"] is True


def test_a_child_that_leaves_a_daemon_does_not_hang_the_run(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'setsid sleep 300 & disown; echo gone'}\n")
    begun = time.monotonic()
    assert mlrun("run", project.path, "--env-manager", "local").ok().out == "gone\n"
    assert time.monotonic() - begun < 25


def test_many_runs_of_one_project_at_once(mlrun: Mlrun, project: Project):
    project.commit()
    processes = [
        mlrun.popen("run", project.path, "--isolated", "--env-manager", "local", "-P", f"word={n}") for n in range(20)
    ]
    outs = sorted(int(process.communicate(timeout=120)[0]) for process in processes)
    assert outs == list(range(20))
    runs = mlrun("list", "--json").ok().json["runs"]
    assert len(runs) == 20
    assert {run["status"] for run in runs} == {"succeeded"}


def test_a_nested_run_names_its_parent(mlrun: Mlrun, project: Project):
    project.write(
        "MLproject",
        "entry_points:\n  main: {command: 'mlrun run . -e inner --env-manager local'}\n"
        "  inner: {command: echo inner}\n",
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert mlrun("run", project.path, "--env-manager", "local", PATH=path).ok().out == "inner\n"
    inner, outer = mlrun("list", "--json").json["runs"]
    assert inner["parent"] == outer["id"]


def test_metrics_reach_the_record(mlrun: Mlrun, project: Project):
    line = '{{"name": "rmse", "value": 0.25, "step": 3}}'
    project.write(
        "MLproject",
        f"entry_points:\n  main:\n    command: |\n      echo '{line}' >> $MLRUN_METRICS\n",
    )
    mlrun("run", project.path, "--env-manager", "local").ok()
    assert mlrun("list", "--columns", "metrics.rmse").ok().out.split() == ["METRICS.RMSE", "0.25"]


def test_a_secret_reaches_the_command_and_nothing_else(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'echo $TOKEN | wc -c', secrets: [TOKEN]}\n")
    refused = mlrun("run", project.path, "--env-manager", "local")
    assert refused.code == 125
    assert "TOKEN" in refused.err
    assert mlrun("run", project.path, "--env-manager", "local", TOKEN="s3cr3t-value").ok().out == "13\n"
    files = [path for path in Path(os.environ["MLRUN_HOME"]).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"s3cr3t-value" in path.read_bytes()]


def test_dry_run_makes_nothing(mlrun: Mlrun, project: Project):
    plan = mlrun("run", project.path, "--dry-run").ok().json
    assert plan["spec"]["entry_point"] == "main"
    assert mlrun("list", "--json").json["runs"] == []


def test_a_git_uri_with_a_tag_and_a_subdirectory(mlrun: Mlrun, project: Project):
    project.write("sub/MLproject", "entry_points:\n  main: {command: 'echo one'}\n")
    project.commit()
    project.git("tag", "v1")
    project.write("sub/MLproject", "entry_points:\n  main: {command: 'echo two'}\n")
    head = project.commit("second")
    assert mlrun("run", f"file://{project.path}#sub", "-v", "v1", "--env-manager", "local").ok().out == "one\n"
    assert mlrun("run", f"file://{project.path}#sub", "--env-manager", "local").ok().out == "two\n"
    assert mlrun("run", project.path / "sub", "-v", "v1", "--env-manager", "local").ok().out == "one\n"
    assert project.git("rev-parse", "HEAD") == head
    assert project.git("symbolic-ref", "HEAD") == "refs/heads/main"


def test_errors_about_a_fetched_project_name_what_was_given(mlrun: Mlrun, project: Project, tmp_path: Path):
    project.write("sub/MLproject", "entry_points:\n  main: {command: [], inputs: [gone.csv]}\n  ok: {command: ls}\n")
    project.commit()
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", project.path / "sub")
    for words, shown in (([f"{project.path}#sub", "-v", "main"], project.path / "sub"), ([archive], archive)):
        for entry in ("main", "nowhere"):
            said = mlrun("run", *words, "-e", entry)
            assert said.code == 125
            assert f"{shown}/MLproject" in said.err
            assert os.environ["MLRUN_CACHE"] not in said.err


@pytest.mark.parametrize(
    "name", ["with space", "quo'te\"s", "new\nline", b"caf\xe9".decode("utf-8", "surrogateescape")]
)
def test_project_paths_of_any_kind(mlrun: Mlrun, project: Project, tmp_path: Path, name: str):
    odd = tmp_path / name
    project.path.rename(odd)
    assert mlrun("run", odd, "--env-manager", "local").ok().out == "hello\n"
    assert mlrun("rerun", "latest").ok().out == "hello\n"
    assert mlrun("list").code == 0


def test_a_reader_that_leaves_does_not_harm_the_run(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'seq 200000'}\n")
    argv = f"{sys.executable} -m runner run {project.path} --env-manager local | head -n 1"
    done = subprocess.run(["bash", "-c", argv], cwd=project.path.parent, capture_output=True, check=False, timeout=60)
    assert done.stdout == b"1\n"
    assert mlrun("wait", "latest").code == 0
    assert mlrun.show()["run"]["status"] == "succeeded"


def test_a_store_of_a_newer_version_is_refused(mlrun: Mlrun, project: Project):
    mlrun("run", project.path, "--env-manager", "local").ok()
    version = Path(os.environ["MLRUN_HOME"]) / "VERSION"
    version.write_text("999\n")
    said = mlrun("run", project.path, "--env-manager", "local")
    assert said.code == 125
    assert "newer" in said.err
    assert len(said.err.splitlines()) == 3


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_harm(mlrun: Mlrun, project: Project, redirection: str):
    line = f'"$@" {redirection}'
    argv = ["bash", "-c", line, "-", *MLRUN, "run", str(project.path), "--env-manager", "local"]
    assert subprocess.run(argv, check=False, timeout=60, capture_output=True).returncode == 0
    assert mlrun("logs", "latest").out == "hello\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["run", "project", "--env-manager", "local"], ["list", "--json"]])
def test_no_space_for_what_is_printed_is_one_line(mlrun: Mlrun, project: Project, words: list[str]):
    with open("/dev/full", "wb") as full:
        said = subprocess.run(
            [*MLRUN, *words], cwd=project.path.parent, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert said.returncode == 125
    assert b"error: the output cannot be written: No space left on device" in said.stderr
    assert b"defect" not in said.stderr


def test_a_missing_declared_input_is_refused_before_there_is_a_run(mlrun: Mlrun, project: Project):
    project.write(
        "MLproject", "entry_points:\n  main: {inputs: [data/a.csv, 'raw/*.txt', MLproject], command: 'true'}\n"
    )
    said = mlrun("run", project.path, "--env-manager", "local")
    assert said.code == 125
    assert "data/a.csv, raw/*.txt" in said.err
    assert mlrun("list", "--json").json["runs"] == []
    project.write("data/a.csv", "1")
    project.write("raw/b.txt", "2")
    mlrun("run", project.path, "--env-manager", "local").ok()


def test_undeclared_outputs_are_kept_where_that_is_asked(mlrun: Mlrun, project: Project):
    project.write(".gitignore", "*.txt\n")
    command = "    outputs: [a.txt]\n    command: date > a.txt; date > b.txt\n"
    project.write("MLproject", f"entry_points:\n  main:\n{command}")
    project.commit()
    for words, kept in (((), {"a.txt": True, "b.txt": False}), (("--keep-outputs",), {"a.txt": True, "b.txt": True})):
        mlrun("run", project.path, "--env-manager", "local", *words).ok()
        assert {item["path"]: item["stored"] for item in mlrun.show()["outputs"]} == kept
