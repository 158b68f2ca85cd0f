"""Runs on the lab machine, over the real ssh, driven by the real command."""

from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project, until

pytestmark = pytest.mark.usefixtures("machine")


def test_a_run_behaves_as_the_local_one_does(mlrun: Mlrun, project: Project, machine):
    project.write("MLproject", "entry_points:\n  main: {command: 'echo out; echo err >&2; hostname; exit 3'}\n")
    project.commit()
    said = mlrun("run", project.path, "--env-manager", "local", "--on", "lab")
    assert said.code == 3
    assert said.out.splitlines()[0] == "out"
    assert "err" in said.err.splitlines()
    record = mlrun.show()
    assert record["run"]["status"] == "failed"
    assert record["execution"]["backend"] == "ssh"
    assert record["execution"]["host"] == said.out.splitlines()[1]
    if machine.isolated:
        assert record["execution"]["host"] == "lab-machine"
    assert record["code"]["commit"] == project.git("rev-parse", "HEAD")
    run = mlrun.directory()
    assert (run / "stdout.log").read_text() == said.out
    assert (run / "worker.log").read_text() == ""
    listed = mlrun("list", "--json").ok().json["runs"]
    assert [one["status"] for one in listed] == ["failed"]


@pytest.mark.parametrize("host", ["lab-banner", "lab-csh", "lab-fish", "lab-sh"])
def test_any_login_shell_will_do(mlrun: Mlrun, project: Project, isolated, host):
    from tests.machines import SHELLS
    from tests.needs import need

    need("shells", Path(SHELLS[host]).exists(), f"there is no {SHELLS[host]}")
    said = mlrun("run", project.path, "--env-manager", "local", "--on", host, "-P", 'word=it\'s "$HOME" !x \\n').ok()
    assert said.out == 'it\'s "$HOME" !x \\n\n'
    assert "grumble" not in said.err


def test_outputs_and_artifacts_come_back(mlrun: Mlrun, project: Project):
    project.write(
        "MLproject",
        "outputs: [model.bin, out/]\nentry_points:\n  main:\n    command: |\n"
        "      head -c 3000000 /dev/urandom > model.bin; mkdir -p out; echo a > out/a; echo b > out/b\n"
        "      mkdir -p $MLRUN_RUN_DIR/artifacts; echo picture > $MLRUN_RUN_DIR/artifacts/plot.txt\n"
        '      echo \'{{"name": "rmse", "value": 0.25}}\' >> $MLRUN_METRICS\n',
    )
    mlrun("run", project.path, "--env-manager", "local", "--on", "lab").ok()
    record = mlrun.show()
    assert {item["path"] for item in record["outputs"]} >= {"model.bin", "out/a", "out/b"}
    assert record["metrics"]["series"][0]["last"] == 0.25
    target = mlrun.cwd / "brought"
    mlrun("artifacts", "latest", "-o", target).ok()
    assert (target / "model.bin").stat().st_size == 3000000
    assert (mlrun.directory() / "artifacts" / "plot.txt").read_text() == "picture\n"
    assert not (project.path / "model.bin").exists()


def test_a_detached_run_is_found_again(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'echo up; sleep 2; echo done'}\n")
    identity = mlrun("run", project.path, "--env-manager", "local", "--on", "lab", "--detach").ok().out.strip()

    def status() -> str:
        return str(mlrun("list", "--json").ok().json["runs"][0]["status"])

    until(lambda: status() == "running")
    assert mlrun.show(identity)["run"]["status"] == "running"
    assert mlrun("logs", "-f", identity).ok().out == "up\ndone\n"
    assert mlrun("wait", identity).code == 0
    assert mlrun.show(identity)["run"]["status"] == "succeeded"


def test_a_run_is_cancelled(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'echo up; sleep 100'}\n")
    identity = mlrun("run", project.path, "--env-manager", "local", "--on", "lab", "-d").ok().out.strip()
    mlrun("cancel", identity).ok()
    record = mlrun.show(identity)
    assert (record["run"]["status"], record["result"]["signal"]) == ("killed", 15)


def test_nested_runs_are_refused_in_one_line(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'mlrun run . -e other'}\n")
    said = mlrun("run", project.path, "--env-manager", "local", "--on", "lab")
    assert said.code == 125
    assert "mlrun: a run on this machine cannot start further runs; start them from your own machine" in said.err


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("lab-changed", "another host key"),
        ("lab-unknown", "host key of lab-unknown is not known"),
        ("lab-locked", "lets nobody in"),
        ("lab-nopython", "no Python 3.9 or newer"),
    ],
)
def test_a_machine_that_cannot_be_used_is_said_before_there_is_a_run(
    mlrun: Mlrun, project: Project, isolated, host, words
):
    said = mlrun("run", project.path, "--env-manager", "local", "--on", host)
    assert said.code == 125
    first, blank, hint = said.err.strip().split("\n")[:3]
    assert first.startswith("error: ")
    assert words in first
    assert (blank, hint[:6]) == ("", "hint: ")
    assert mlrun("list", "--json").ok().json["runs"] == []
