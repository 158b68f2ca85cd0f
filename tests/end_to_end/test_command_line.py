"""The command line as a newcomer meets it: one JSON document, warnings, filters, completion, plain words."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MLRUN, Mlrun, Project, until


@pytest.fixture
def failing(project: Project) -> Project:
    project.write("MLproject", "entry_points: {main: {command: 'echo out; echo err >&2; exit 3'}}\n")
    return project


def completed(cwd: Path, *words: str) -> list[str]:
    """Return what bash would offer for the last word."""
    environ = {"_MLRUN_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(MLRUN, cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "project"),
        ("wait", "latest"),
        ("cancel", "latest"),
        ("rerun", "latest"),
        ("logs", "latest"),
        ("run", "project", "--bad"),
    ],
)
def test_with_json_a_failure_too_is_one_document(mlrun: Mlrun, failing: Project, words: tuple[str, ...]):
    assert mlrun("run", failing.path).code == 3
    said = mlrun(words[0], *words[1:], "--json").json
    assert said["version"] == 1
    assert set(said) & {"run", "runs", "logs", "error"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("compare", "latest"), 0, "the runs have no metrics"),
        (("compare", "latest", "--metric", "rmse"), 0, "no run has rmse"),
        (("note", "latest"), 0, "has no notes"),
        (("run", ".", "-P"), 2, "hint: mlrun --help shows the words it knows"),
        (("run", ".", "--run-name", "a\nb"), 2, "error: 'a\\nb' is no name of a run"),
        (("rerun", "latest", "--run-name", "latest"), 2, "error: a run cannot be named `latest`"),
    ],
)
def test_nothing_is_left_without_a_word(mlrun: Mlrun, project: Project, words: tuple[str, ...], code: int, said: str):
    mlrun("run", project.path, "--env-manager", "local").ok()
    answer = mlrun(*words, cwd=project.path)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err


def test_a_directory_that_is_gone_is_no_defect(mlrun: Mlrun, tmp_path: Path):
    command = f"cd {tmp_path}/gone && rmdir ../gone && exec {sys.executable} -m runner run {tmp_path}"
    (tmp_path / "gone").mkdir()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert done.stderr.startswith("error: the directory that you are in is not there any more\n\nhint: ")


def test_logs_as_json_and_by_stream(mlrun: Mlrun, failing: Project):
    mlrun("run", failing.path, "--env-manager", "local")
    assert mlrun("logs", "latest", "--json").json["logs"] == {"stdout": "out\n", "stderr": "err\n"}
    assert mlrun("logs", "latest", "--json", "--stderr").json["logs"] == {"stderr": "err\n"}
    both = mlrun("logs", "latest", "--stdout", "--stderr")
    assert (both.out, both.err) == ("out\n", "err\n")
    followed = mlrun("logs", "latest", "-f", "--stdout")
    assert (followed.out, followed.err) == ("out\n", "")


def test_a_run_passes_on_the_warnings_of_its_environment_file(mlrun: Mlrun, project: Project):
    project.write("python_env.yaml", "python: 3.11\nsurprise: 1\n")
    said = mlrun("run", project.path, "--env-manager", "virtualenv").ok()
    assert "warning: python_env.yaml" in said.err
    assert "surprise" in said.err


def test_runs_that_go_on_are_found_by_their_status(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points: {main: {command: sleep 60}}\n")
    run = mlrun("run", project.path, "--detach").ok().out.strip()
    until(lambda: mlrun.show(run)["run"]["status"] == "running")
    assert [each["id"] for each in mlrun("list", "--status", "running", "--json").json["runs"]] == [run]
    mlrun("cancel", run).ok()
    assert mlrun("list", "--status", "running", "--json").json["runs"] == []
    assert [each["id"] for each in mlrun("list", "--status", "killed", "--json").json["runs"]] == [run]


def test_a_status_that_is_none_is_wrong_usage(mlrun: Mlrun):
    said = mlrun("list", "--status", "bogus")
    assert said.code == 2
    assert "'succeeded'" in said.err


@pytest.mark.parametrize("json_too", [(), ("--json",)])
def test_runs_are_not_removed_unasked(mlrun: Mlrun, project: Project, json_too: tuple[str, ...]):
    mlrun("run", project.path, "--env-manager", "local").ok()
    said = mlrun("rm", "latest", *json_too)
    assert said.code == 2
    assert "mlrun rm -y" in said.err
    mlrun("rm", "latest", "-y", *json_too).ok()


def test_completion_knows_the_project_that_is_named(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points: {train: {command: 'echo {rate}', parameters: {rate: float}}}\n")
    assert completed(mlrun.cwd, "mlrun", "run", "project", "-e", "") == ["train"]
    assert completed(mlrun.cwd, "mlrun", "run", "project", "-e", "train", "-P", "") == ["rate="]
    assert completed(mlrun.cwd, "mlrun", "lock", "project", "-e", "") == ["train"]
    assert completed(project.path, "mlrun", "run", "-e", "tr") == ["train"]


@pytest.mark.parametrize("command", ["show", "logs", "wait", "cancel", "rm", "rerun", "artifacts"])
def test_completion_knows_the_runs(mlrun: Mlrun, project: Project, command: str):
    mlrun("run", project.path, "--env-manager", "local", "--run-name", "baseline").ok()
    assert completed(mlrun.cwd, "mlrun", command, "base") == ["baseline"]


def test_no_color_holds_for_data_too(mlrun: Mlrun, project: Project):
    mlrun("run", project.path, "--env-manager", "local").ok()
    for command in ("list", "show latest"):
        assert b"\x1b[" not in _on_a_terminal(mlrun.cwd, command, NO_COLOR="1")
        assert b"\x1b[" in _on_a_terminal(mlrun.cwd, command, NO_COLOR="")


def _on_a_terminal(cwd: Path, command: str, **environ: str) -> bytes:
    ours, theirs = pty.openpty()
    subprocess.run([*MLRUN, *command.split()], cwd=cwd, env={**os.environ, **environ}, stdout=theirs, check=True)
    os.close(theirs)
    said = os.read(ours, 1 << 16)
    os.close(ours)
    return said


def test_a_stale_lock_is_found_by_check(mlrun: Mlrun, project: Project):
    header = json.dumps({"platform": "linux-x86_64", "python": "3.11.7", "specification": "0" * 64, "version": 1})
    project.write("requirements.txt", "six\n")
    project.write("pylock.mlrun.toml", f'# mlrun-lock: {header}\nlock-version = "1.0"\n')
    said = mlrun("check", project.path)
    assert said.code == 1
    assert "pylock.mlrun.toml is stale" in said.out


def test_what_ssh_says_is_passed_on(mlrun: Mlrun):
    ssh = mlrun.cwd / "ssh"
    ssh.write_text("#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n")
    ssh.chmod(0o755)
    said = mlrun("run", "git@example.invalid:lab/model.git", GIT_SSH_COMMAND=str(ssh))
    assert "cannot fetch git@example.invalid:lab/model.git: Host key verification failed\n" in said.err


def test_a_run_that_was_not_validated_is_varied_without_validation(mlrun: Mlrun, project: Project):
    parameters = "{rate: float, word: {default: a}}"
    project.write(
        "MLproject", f"entry_points: {{main: {{command: 'echo {{rate}} {{word}}', parameters: {parameters}}}}}\n"
    )
    mlrun("run", project.path, "--env-manager", "local", "-P", "rate=fast", "--no-validate").ok()
    assert mlrun("rerun", "latest", "-P", "word=b").ok().out == "fast b\n"
    refused = mlrun("rerun", "latest", "-P", "rate=slow")
    assert (refused.code, "--no-validate" in refused.err) == (125, True)
    assert mlrun("rerun", "latest", "-P", "rate=slow", "--no-validate").ok().out == "slow b\n"


def test_the_kinds_of_an_environment_file_are_named_in_plain_words(mlrun: Mlrun, project: Project):
    project.write("python_env.yaml", "dependencies: six\n")
    assert "a list is expected, not a text" in mlrun("check", project.path).out
    project.write("python_env.yaml", "python: [3]\n")
    assert "a text is expected, not a list" in mlrun("check", project.path).out


def test_a_file_instead_of_its_directory_is_told(mlrun: Mlrun, project: Project):
    said = mlrun("check", project.path / "MLproject")
    assert (said.code, said.out.startswith("error: ")) == (1, True)


def test_a_tab_is_called_a_tab(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n\tmain: x\n")
    assert "hint: indent with spaces, not with tabs" in mlrun("run", project.path).err


def test_tags_are_checked_as_tags(mlrun: Mlrun, project: Project):
    for words, message in ((["bad"], "a tag is given as NAME=VALUE, not as 'bad'"), (["a=1", "a=2"], "given twice")):
        tags = [part for word in words for part in ("--tag", word)]
        said = mlrun("run", project.path, *tags)
        assert (said.code, message in said.err) == (2, True)


def test_csv_has_the_lines_that_other_programs_read(mlrun: Mlrun, project: Project):
    mlrun("run", project.path, "--env-manager", "local", "--tag", "a=b=c").ok()
    assert mlrun("list", "--csv", "--columns", "status,tags.a").out == "status,tags.a\nsucceeded,b=c\n"


def test_parameters_may_come_on_standard_input(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {parameters: {word: string}, command: 'echo {word}; wc -c'}\n")
    said = mlrun("run", project.path, "--env-manager", "local", "--params-file", "-", stdin="word: hello\n").ok()
    assert said.out == "hello\n0\n"


def test_a_project_that_lies_deeper_is_named(mlrun: Mlrun, project: Project):
    (project.path / "deep").mkdir()
    (project.path / "MLproject").rename(project.path / "deep" / "MLproject")
    said = mlrun("run", project.path, "--env-manager", "local")
    assert said.code != 0
    assert "write 'URI#deep'" in said.err
