"""Runs on the lab machine, over the real ssh, driven by the real command."""

import json
import os
import signal
import subprocess
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


def test_the_outputs_of_a_run_that_has_ended_there_are_brought_to_be_listed(mlrun: Mlrun, project: Project):
    project.write("MLproject", "outputs: [o]\nentry_points:\n  main: {command: 'echo 1 > o; sleep 0.5'}\n")
    run = mlrun("run", project.path, "--env-manager", "local", "--on", "lab", "--detach").ok().out.strip()
    until(lambda: "no outputs of it are known yet" not in mlrun("artifacts", run).ok().err)
    assert mlrun("artifacts", run).ok().out.splitlines()[-1].split()[-1] == "o"


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


def test_a_detached_run_is_found_again(mlrun: Mlrun, project: Project, machine):
    wait = "until [ -e $MLRUN_RUN_DIR/go ]; do sleep 0.1; done"
    project.write("MLproject", f"entry_points:\n  main: {{command: 'echo up; {wait}; echo done'}}\n")
    identity = mlrun("run", project.path, "--env-manager", "local", "--on", "lab", "--detach").ok().out.strip()

    def status() -> str:
        return str(mlrun("list", "--json").ok().json["runs"][0]["status"])

    until(lambda: status() == "running")
    assert mlrun("list", "--json").ok().json["runs"][0]["started"] is not None
    record = mlrun.show(identity)
    assert record["run"]["status"] == "running"
    assert record["run"]["started"] is not None
    assert not [gap for gap in record["gaps"] if "did not begin" in gap["reason"] or "was not made" in gap["reason"]]
    assert mlrun("logs", identity).ok().out == "up\n"
    early = mlrun("fetch", identity)
    assert early.code == 125
    assert "has not ended" in early.err
    (machine.home / (".local/share/mlrun" if machine.isolated else "store") / "runs" / identity / "go").touch()
    assert mlrun("logs", "-f", identity).ok().out == "up\ndone\n"
    assert mlrun("wait", identity).code == 0
    assert mlrun.show(identity)["run"]["status"] == "succeeded"


def test_a_run_is_cancelled(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'echo up; sleep 100'}\n")
    identity = mlrun("run", project.path, "--env-manager", "local", "--on", "lab", "-d").ok().out.strip()
    mlrun("cancel", identity).ok()
    record = mlrun.show(identity)
    assert (record["run"]["status"], record["result"]["signal"]) == ("killed", 15)
    asked = json.loads((mlrun.directory(identity) / "cancel.json").read_text())
    assert asked["by"].endswith(f" on {os.uname().nodename}")


@pytest.mark.parametrize(
    ("word", "other"), [('"host"', '"hxst"'), ('"direct"', '"later"'), ('"port": ""', '"port": "x"')]
)
def test_a_damaged_ticket_hides_no_other_run(mlrun: Mlrun, project: Project, word: str, other: str):
    project.write("MLproject", "entry_points:\n  main: {command: 'sleep 100'}\n")
    argv = ("run", project.path, "--env-manager", "local", "--on", "lab", "-d")
    whole, damaged = (mlrun(*argv).ok().out.strip() for _ in range(2))
    ticket = Path(os.environ["MLRUN_HOME"]) / "runs" / damaged / "ticket.json"
    text = ticket.read_text()
    ticket.write_text(text.replace(word, other))
    states = {run["id"]: run["status"] for run in mlrun("list", "--json").ok().json["runs"]}
    assert states[damaged] == "unreachable"
    assert states[whole] in ("preparing", "running")
    said = mlrun("wait", damaged)
    assert said.code == 125
    assert said.err.startswith(f"error: the ticket of the run {damaged} does not say where it is: ")
    ticket.write_text(text)
    mlrun("cancel", whole, damaged).ok()


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


def test_a_slow_link_is_only_slow(mlrun: Mlrun, project: Project):
    assert mlrun("run", project.path, "--env-manager", "local", "--on", "lab-slow").ok().out == "hello\n"


def test_outputs_may_stay_there_until_they_are_asked_for(mlrun: Mlrun, project: Project):
    project.write(
        "MLproject",
        "outputs: [big]\nmetrics: [scores.yaml]\n"
        "entry_points:\n  main: {command: 'head -c 100000 /dev/zero > big; echo \"rmse: 0.5\" > scores.yaml'}\n",
    )
    mlrun("run", project.path, "--env-manager", "local", "--on", "lab", "--no-fetch").ok()
    record = mlrun.show()
    assert [output["path"] for output in record["outputs"]] == ["big", "scores.yaml"]
    assert [(series["name"], series["last"]) for series in record["metrics"]["series"]] == [("rmse", 0.5)]
    said = mlrun("artifacts", "latest", "-o", mlrun.cwd / "one")
    assert said.code == 125
    assert "mlrun fetch" in said.err
    mlrun("fetch", "latest").ok()
    mlrun("artifacts", "latest", "-o", mlrun.cwd / "two").ok()
    assert (mlrun.cwd / "two" / "big").stat().st_size == 100000
    assert mlrun("verify", "latest").code == 0


def test_values_come_while_the_run_goes_on(mlrun: Mlrun, project: Project):
    """And go on from here to the team's server, which the machine need not reach."""
    from tests.publishing.servers import Small

    project.write(
        "MLproject",
        "entry_points:\n  main:\n    command: |\n"
        '      echo \'{{"name": "rmse", "value": 0.25}}\' >> $MLRUN_METRICS; echo begun; sleep 100\n',
    )
    with Small() as small:
        argv = ("--env-manager", "local", "--on", "lab", "--tracking-uri", small.uri)
        going = mlrun.popen("run", project.path, *argv)
        until(lambda: [run for run in small.runs.values() if run["metrics"]], 60)
        (there,) = small.runs.values()
        assert there["metrics"] == [("rmse", 0, 0.25)]
        assert "status" not in there
        assert "0.25" in mlrun("metrics", "latest").ok().out
        mlrun("cancel", "latest").ok()
        going.communicate(timeout=60)
        assert there["metrics"] == [("rmse", 0, 0.25)]
        assert there["status"] == "KILLED"
    assert mlrun("verify", "latest").code == 0


def test_inputs_are_brought(mlrun: Mlrun, project: Project):
    outside = mlrun.cwd / "set"
    (outside / "sub").mkdir(parents=True)
    (outside / "a.txt").write_text("A")
    (outside / "sub" / "b.txt").write_text("B")
    project.write("data/in.csv", "1,2\n")
    project.write("more/x.csv", "x\n")
    project.write(".gitignore", "data\nmore\n")
    project.write(
        "MLproject",
        "inputs: [data/in.csv, 'more/*.csv']\nentry_points:\n  main:\n    parameters: {set: path, one: path}\n"
        "    command: 'cat data/in.csv more/x.csv {one} {set}/a.txt {set}/sub/b.txt; echo; basename -a {set} {one}'\n",
    )
    project.commit()
    argv = ["run", project.path, "--env-manager", "local", "-P", f"set={outside}", "-P", f"one={outside / 'a.txt'}"]
    here = mlrun(*argv, "--isolated").ok()
    there = mlrun(*argv, "--on", "lab").ok()
    assert there.out == here.out == "1,2\nx\nAAB\nset\na.txt\n"
    seen = [(item["path"], item["digest"]) for item in mlrun.show()["inputs"]]
    assert len(seen) == 4
    assert mlrun("rerun", "latest", "--on", "lab").ok().out == here.out


def test_what_has_no_bytes_among_inputs_is_left_where_it_is(mlrun: Mlrun, project: Project):
    project.write("data/in.csv", "1,2\n")
    os.mkfifo(project.path / "data" / "pipe")
    project.write(".gitignore", "data\n")
    project.write("MLproject", "inputs: [data]\nentry_points:\n  main: {command: 'cat data/*.csv'}\n")
    project.commit()
    inputs = []
    for where in ((), ("--isolated",), ("--on", "lab")):
        assert mlrun("run", project.path, "--env-manager", "local", *where).ok().out == "1,2\n"
        inputs.append([item for item in mlrun.show()["inputs"] if item["basis"] == "declared"])
    assert inputs[0] == inputs[1] == inputs[2]


def test_only_the_edit_is_sent(mlrun: Mlrun, project: Project, machine):
    for number in range(30):
        project.write(f"module_{number}.py", f"print({number})\n")
    mlrun("run", project.path, "--env-manager", "local", "--on", "lab").ok()
    place = ".local/share/mlrun/objects" if machine.isolated else "store/objects"
    before = {path for path in (machine.home / place).rglob("*") if path.is_file()}
    project.write("module_7.py", "print('edited')\n")
    mlrun("run", project.path, "--env-manager", "local", "--on", "lab").ok()
    after = {path for path in (machine.home / place).rglob("*") if path.is_file()}
    assert len(after - before) == 2  # the file and the manifest


def test_a_run_goes_from_machine_to_machine(mlrun: Mlrun, project: Project, machine):
    project.write("MLproject", "outputs: [out]\nentry_points:\n  main: {command: 'echo same > out'}\n")
    project.commit()
    mlrun("run", project.path, "--env-manager", "local", "--run-name", "here").ok()
    there = mlrun("rerun", "here", "--on", "lab", "--check", "--run-name", "there").ok()
    assert "identical" in there.err
    mlrun("rerun", "there", "--check").ok()
    if machine.isolated:
        assert mlrun.show("there")["execution"]["host"] == "lab-machine"
    project.write("MLproject", "outputs: [out]\nentry_points:\n  main: {command: 'date +%N > out'}\n")
    mlrun("run", project.path, "--env-manager", "local", "--run-name", "differs").ok()
    said = mlrun("rerun", "differs", "--on", "lab", "--check")
    assert said.code == 1
    assert "machine" in said.err or "host" in said.err


def test_secrets_travel_apart(mlrun: Mlrun, project: Project, machine):
    project.write(
        "MLproject", "entry_points:\n  main:\n    secrets: [TOKEN]\n    command: 'printf %s \"$TOKEN\" | wc -c'\n"
    )
    said = mlrun("run", project.path, "--env-manager", "local", "--on", "lab", TOKEN="hush-hush-hush").ok()
    assert said.out.strip() == "14"
    for top in (machine.home, mlrun.cwd):
        for path in top.rglob("*"):
            assert path.is_symlink() or not path.is_file() or b"hush-hush-hush" not in path.read_bytes(), path


def test_hosts_are_kept_and_looked_at(mlrun: Mlrun, isolated, monkeypatch):
    mlrun("host", "add", "mine", "lab", "--setup", "module load cuda").ok()
    assert "mine" in mlrun("host", "list").ok().out
    assert mlrun("host", "add", "mine", "other").code == 2
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{isolated.near_address}:9/simple/")
    said = mlrun("host", "check", "lab")
    assert said.code == 1
    assert "lab-machine" in said.out
    assert "! packages" in said.out
    assert "Errno" not in said.out
    assert "ship_packages" in said.out
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = mlrun("host", "check", "lab", "--json").ok().json["hosts"]["lab"]
    assert {item["what"] for item in found} >= {
        "ssh",
        "machine",
        "python",
        "home",
        "cache",
        "slurm",
        "gpus",
        "packages",
    }
    mlrun("host", "rm", "mine").ok()
    assert mlrun("run", ".", "--on", "mine").code == 2
    mlrun("host", "add", "cluster", "lab", "--launcher", "slurm").ok()
    assert "! slurm" in mlrun("host", "check", "cluster").out
    mlrun("host", "add", "elsewhere", "lab", "--python", "/opt/none/python3").ok()
    assert "because there is no /opt/none/python3" in mlrun("host", "check", "elsewhere").out
    assert mlrun("host", "check", "lab-locked").code == 125
    there = [*isolated.enter, "sh", "-c"]
    subprocess.run([*there, "mkdir -p /mnt/barren; mount -t tmpfs -o noexec tmpfs /mnt/barren"], check=True, timeout=60)
    try:
        mlrun("host", "add", "barren", "lab", "--cache", "/mnt/barren/cache").ok()
        said = mlrun("host", "check", "barren").out
    finally:
        subprocess.run([*there, "umount /mnt/barren"], check=True, timeout=60)
    assert "programs cannot be run from there (noexec)" in said


def test_ctrl_c_ends_the_run_there(mlrun: Mlrun, project: Project):
    project.write(
        "MLproject", "entry_points:\n  main: {command: \"trap 'echo heard; exit 3' INT; echo up; sleep 100\"}\n"
    )
    process = mlrun.popen("run", project.path, "--env-manager", "local", "--on", "lab")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"heard\n"), err
    assert mlrun.show()["run"]["status"] == "killed"


def test_there_is_no_ssh(mlrun: Mlrun, project: Project):
    said = mlrun("run", project.path, "--env-manager", "local", "--on", "lab", MLRUN_SSH="no-such-ssh -v")
    assert said.code == 125
    assert said.err.startswith("error: no-such-ssh cannot be started: No such file or directory\n\nhint: ")


def test_a_connection_that_the_user_shares_is_used(mlrun: Mlrun, project: Project, machine):
    own = machine.state / "config-own"
    path = machine.sockets / "own-%n"
    shared = f"Host lab\n  ControlMaster auto\n  ControlPath {path}\n  ControlPersist 60\n"
    own.write_text(shared + machine.config.read_text())
    command = f"ssh -F {own}"
    assert mlrun("run", project.path, "--env-manager", "local", "--on", "lab", MLRUN_SSH=command).ok().out == "hello\n"
    assert (machine.sockets / "own-lab").exists()
    assert not list(machine.sockets.glob("mlrun/*"))
    subprocess.run([*command.split(), "-O", "exit", "lab"], check=True, capture_output=True, timeout=60)
