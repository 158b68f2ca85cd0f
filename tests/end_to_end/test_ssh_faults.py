"""What happens to runs on the lab machine when links are cut, processes killed, disks full and machines gone."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.worker.hashing import sha256_of
from tests.end_to_end.conftest import Mlrun, Project, until
from tests.machines import Machine

WAIT = "while [ -e ~/shut ]; do sleep 0.1; done"
STUCK = f"[hosts.stuck]\naddress = 'lab'\nlauncher = 'slurm'\nsetup = '{WAIT}'\n"
SLOW = f"[hosts.slow]\naddress = 'lab'\nsetup = 'echo preparing; {WAIT}'\n"
SMALL = "[hosts.small]\naddress = 'lab'\nhome = '/mnt/small/store'\ncache = '/mnt/small/cache'\n"
MANY = 15_000_000  # bytes: two and a half seconds at the rate of the throttled link
RATE = 48  # megabits in a second


@pytest.fixture(autouse=True)
def impatient(isolated, monkeypatch, home):
    """A near side that notices after two seconds that a link is cut."""
    monkeypatch.setenv("MLRUN_SSH_PATIENCE", "2")
    with (home / ".config" / "mlrun" / "hosts.toml").open("a") as file:
        file.write(SLOW + SMALL + STUCK)


@pytest.fixture
def shut(machine: Machine) -> Iterator[Path]:
    """A file at which the entry point `long`, and what `slow` does before any run, wait until it is gone."""
    path = machine.home / "shut"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def heavy(project: Project) -> Project:
    """A project with an input that takes a while to send, and an output that takes as long to bring back."""
    (project.path / "data.bin").write_bytes(os.urandom(MANY))
    project.write(
        "MLproject",
        "entry_points:\n"
        "  push:\n    inputs: [data.bin]\n    command: 'sha256sum data.bin; echo again >> $MLRUN_RUN_DIR/../../count'\n"
        f"  pull:\n    outputs: [out.bin]\n    command: 'head -c {MANY} /dev/urandom > out.bin; echo made'\n"
        f"  long: {{command: 'echo up; {WAIT}; echo done'}}\n"
        "  forever: {command: 'echo up; sleep 300'}\n",
    )
    project.write(".gitignore", "data.bin\nout.bin\n")
    project.commit()
    return project


def spoken(path: Path, word: str) -> bool:
    return path.exists() and word in path.read_text(errors="replace")


def begin(mlrun: Mlrun, project: Project, entry: str, host: str = "lab", *more: str):
    """Start `mlrun run` and return its process, and the file that its talk goes to."""
    from tests.end_to_end.conftest import MLRUN

    talk = mlrun.cwd / "talk"
    with talk.open("wb") as file, (mlrun.cwd / "out").open("wb") as out:
        argv = [*MLRUN, "run", str(project.path), "-e", entry, "--env-manager", "local", "--on", host, *more]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=file, start_new_session=True)
    return process, talk


def kill(process) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def listed(mlrun: Mlrun) -> str:
    runs = mlrun("list", "--json").ok().json["runs"]
    return str(runs[0]["status"]) if runs else ""


def test_a_link_cut_while_inputs_are_sent(mlrun: Mlrun, heavy: Project, machine):
    mlrun("run", heavy.path, "-e", "long", "--env-manager", "local", "--on", "lab").ok()  # the worker is there
    count = machine.home / ".local/share/mlrun/count"
    before = count.read_text() if count.exists() else ""
    machine.throttle(RATE)
    process, talk = begin(mlrun, heavy, "push")
    objects = machine.home / ".local/share/mlrun/objects/sha256/tmp"
    until(lambda: sum(path.stat().st_size for path in objects.glob("part-*")) > MANY // 4, 60)
    machine.cut()
    until(lambda: spoken(talk, "cut"), 60)
    machine.undelay()
    machine.mend()
    assert process.wait(60) == 0, talk.read_text()
    assert "the rest of it" in talk.read_text()
    assert count.read_text() == before + "again\n"


def on_its_way(mlrun: Mlrun, heavy: Project, machine: Machine):
    """Start a run whose input takes a while, and return its process when a part of it is there."""
    mlrun("run", heavy.path, "-e", "long", "--env-manager", "local", "--on", "lab").ok()  # the worker is there
    (heavy.path / "data.bin").write_bytes(os.urandom(3 * MANY))
    objects = machine.home / ".local/share/mlrun/objects/sha256/tmp"
    for path in objects.glob("part-*"):  # of former tests
        path.unlink()
    machine.throttle(RATE // 4)  # it takes half a minute
    process, talk = begin(mlrun, heavy, "push")
    until(lambda: sum(path.stat().st_size for path in objects.glob("part-*")) > MANY // 10, 60)
    return process, talk


def test_ctrl_c_while_inputs_are_sent(mlrun: Mlrun, heavy: Project, machine):
    process, talk = on_its_way(mlrun, heavy, machine)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, talk.read_text()
    assert time.monotonic() - began < 15  # of twenty-five seconds that the rest would take
    assert "ending the run" in talk.read_text()
    assert listed(mlrun) == "killed"
    machine.undelay()
    identity = mlrun.show()["run"]["id"]
    assert not (machine.home / ".local/share/mlrun/runs" / identity).exists()
    assert mlrun("verify", "latest").code == 0


def test_a_run_on_its_way_is_awaited_and_ended_from_elsewhere(mlrun: Mlrun, heavy: Project, machine):
    process, talk = on_its_way(mlrun, heavy, machine)
    waiting = mlrun.popen("wait", "latest")
    assert mlrun("logs", "latest").ok().out == ""
    for _ in range(2):
        said = mlrun("list")
        assert "submitted" in said.out
        assert "it is on its way to lab" in said.err
    assert "killed" in mlrun("cancel", "latest").ok().err
    assert process.wait(60) == 143, talk.read_text()
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 143, said
    assert listed(mlrun) == "killed"
    machine.undelay()
    process, talk = on_its_way(mlrun, heavy, machine)
    waiting = mlrun.popen("logs", "-f", "latest")
    machine.undelay()
    out, _ = waiting.communicate(timeout=60)
    assert b"data.bin" in out
    assert process.wait(60) == 0, talk.read_text()


def test_a_link_cut_while_it_prepares(mlrun: Mlrun, heavy: Project, machine, shut: Path):
    process, talk = begin(mlrun, heavy, "long", "slow")
    until(lambda: listed(mlrun) == "preparing", 60)
    machine.cut()
    until(lambda: spoken(talk, "cut"), 60)
    shut.unlink()
    machine.mend()
    assert process.wait(60) == 0, talk.read_text()
    assert (mlrun.cwd / "out").read_text() == "up\ndone\n"


def test_a_link_cut_while_it_runs(mlrun: Mlrun, heavy: Project, machine, shut: Path):
    process, talk = begin(mlrun, heavy, "long")
    until(lambda: spoken(mlrun.cwd / "out", "up"))
    machine.cut()
    until(lambda: spoken(talk, "cut"), 60)
    said = mlrun("list").ok()
    assert "unreachable" in said.out
    assert "it was " in said.err or "its output was followed until 20" in said.err
    record = mlrun.show()
    assert record["execution"]["host"] == "lab"
    assert "they are not known while the run goes on" in [gap["reason"] for gap in record["gaps"]]
    shut.unlink()
    machine.mend()
    assert process.wait(60) == 0, talk.read_text()
    assert (mlrun.cwd / "out").read_text() == "up\ndone\n"
    assert mlrun.show()["run"]["status"] == "succeeded"


def test_a_link_cut_while_outputs_come_back(mlrun: Mlrun, heavy: Project, machine):
    machine.throttle(RATE)
    process, talk = begin(mlrun, heavy, "pull")
    objects = Path(os.environ["MLRUN_HOME"]) / "objects/sha256/tmp"
    until(lambda: sum(path.stat().st_size for path in objects.glob("part-*")) > MANY // 4, 60)
    before = sum(path.stat().st_size for path in objects.glob("part-*"))
    machine.cut()
    until(lambda: spoken(talk, "cut"), 60)
    machine.undelay()
    machine.mend()
    assert process.wait(60) == 0, talk.read_text()
    assert before > 0
    (output,) = mlrun.show()["outputs"]
    mlrun("artifacts", "latest", "-o", mlrun.cwd / "brought").ok()
    from runner.worker.hashing import sha256_of_file

    assert sha256_of_file(mlrun.cwd / "brought" / "out.bin") == output["digest"]["sha256"]


def test_the_near_side_killed_while_it_sends(mlrun: Mlrun, heavy: Project, machine):
    machine.throttle(RATE)
    process, _ = begin(mlrun, heavy, "push")
    objects = machine.home / ".local/share/mlrun/objects/sha256/tmp"
    until(lambda: sum(path.stat().st_size for path in objects.glob("part-*")) > MANY // 8, 60)
    kill(process)
    machine.disconnect()
    machine.undelay()
    until(lambda: listed(mlrun) == "lost", 60)
    assert "does not have the run" in mlrun.show()["result"]["error"]["message"]
    mlrun("run", heavy.path, "-e", "push", "--env-manager", "local", "--on", "lab").ok()


@pytest.mark.parametrize(("host", "state"), [("slow", "preparing"), ("lab", "running")])
def test_the_near_side_killed_while_it_goes_on(mlrun: Mlrun, heavy: Project, shut: Path, host, state):
    process, _ = begin(mlrun, heavy, "long", host)
    until(lambda: listed(mlrun) == state, 60)
    kill(process)
    shut.unlink()
    assert mlrun("wait", "latest").code == 0
    assert mlrun("logs", "latest").ok().out == "up\ndone\n"
    assert mlrun.show()["run"]["status"] == "succeeded"


def test_the_near_side_killed_while_outputs_come_back(mlrun: Mlrun, heavy: Project, machine):
    machine.throttle(RATE)
    process, _ = begin(mlrun, heavy, "pull")
    objects = Path(os.environ["MLRUN_HOME"]) / "objects/sha256/tmp"
    until(lambda: any(path.stat().st_size > MANY // 4 for path in objects.glob("part-*")), 60)
    kill(process)
    machine.disconnect()
    machine.undelay()
    assert listed(mlrun) == "succeeded"
    record = mlrun.show()
    assert record["run"]["status"] == "succeeded"
    mlrun("artifacts", "latest", "-o", mlrun.cwd / "brought").ok()
    assert (mlrun.cwd / "brought" / "out.bin").stat().st_size == MANY


def test_a_full_disk_is_said(mlrun: Mlrun, heavy: Project):
    said = mlrun("run", heavy.path, "-e", "push", "--env-manager", "local", "--on", "small")
    assert said.code == 125
    error = next(line for line in said.err.splitlines() if line.startswith("error: "))
    assert "small: cannot write to /mnt/small/" in error
    assert "No space left on device" in error
    record = mlrun.show()
    assert (record["run"]["status"], record["result"]["reason"]) == ("failed", "submit")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of this machine that is full soon."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def test_a_full_disk_here_is_said_with_what_helps_here(mlrun: Mlrun, heavy: Project, disk: Path):
    heavy.write(
        "MLproject",
        "entry_points:\n  print: {command: 'head -c 15000000 /dev/zero | fold; echo'}\n"
        "  make: {outputs: [out.bin], command: 'head -c 15000000 /dev/urandom > out.bin'}\n",
    )
    for number, entry in enumerate(("print", "make")):
        home = {"MLRUN_HOME": str(disk / entry)}
        arguments = ("run", heavy.path, "-e", entry, "--env-manager", "local", "--on", "lab")
        said = mlrun(*arguments, **home)
        assert said.code == 125
        message, _, hint = said.err.strip().rpartition("error: ")[2].partition("\n\nhint: ")
        assert message.startswith(f"cannot write {'to ' * number}{disk}")
        assert "No space left on device" in message
        assert "MLRUN_HOME" in hint
        subprocess.run(["mount", "-o", f"remount,size={60 + 60 * number}m", disk], check=True)
        assert mlrun("wait", "latest", **home).code == 0
        assert len(mlrun("logs", "latest", **home).ok().out) == (0 if number else 15187500)
        subprocess.run(["sh", "-c", f"rm -rf {disk}/*; mount -o remount,size=6m {disk}"], check=True)


def test_the_workers_files_may_go_while_a_run_goes_on_and_are_brought_again(
    mlrun: Mlrun, project: Project, machine, shut: Path
):
    made = "mkdir $MLRUN_RUN_DIR/artifacts; echo picture > $MLRUN_RUN_DIR/artifacts/plot; echo up; " + WAIT
    project.write("MLproject", f"entry_points:\n  main: {{command: '{made}; exit 7'}}\n")
    process = mlrun.popen("run", project.path, "--env-manager", "local", "--on", "lab")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    clean(machine, lambda _: True)
    shut.unlink()
    process.communicate(timeout=60)
    assert process.returncode == 7
    assert (mlrun.directory() / "artifacts" / "plot").read_text() == "picture\n"
    for name in ("cancel", "attend", "execute"):
        clean(machine, lambda path, name=name: path.name.startswith(f"{name}."))
        assert mlrun("run", project.path, "--env-manager", "local", "--on", "lab").code == 7


@pytest.mark.parametrize("count", [3, 600])
def test_source_that_was_cleaned_away_there_is_sent_again(mlrun: Mlrun, project: Project, machine, count: int):
    for number in range(count):
        project.write(f"source/{number}.txt", f"{number} of {count}\n")
    project.write("MLproject", "entry_points:\n  main: {command: 'cat source/*.txt | wc -l'}\n")
    objects = ".local/share/mlrun/objects/sha256"
    for name in ("1.txt", "2.txt"):
        assert mlrun("run", project.path, "--env-manager", "local", "--on", "lab").ok().out == f"{count}\n"
        sha256 = sha256_of((project.path / "source" / name).read_bytes())
        clean(machine, lambda path, sha256=sha256: path.name == sha256[2:], objects)
    assert mlrun("run", project.path, "--env-manager", "local", "--on", "lab").ok().out == f"{count}\n"


def test_outputs_that_were_cleaned_away_there_are_not_said_to_be_brought(mlrun: Mlrun, project: Project, machine):
    project.write("MLproject", "outputs: [a, b]\nentry_points:\n  main: {command: 'date +%N > a; date +%N-%s > b'}\n")
    mlrun("run", project.path, "--env-manager", "local", "--on", "lab", "--no-fetch").ok()
    digests = {item["path"]: item["digest"]["sha256"] for item in mlrun.show()["outputs"]}
    clean(machine, lambda path: path.name == digests["a"][2:], ".local/share/mlrun/objects/sha256")
    said = mlrun("fetch", "latest")
    assert said.code == 125
    assert "does not have its output 'a' any more" in said.err
    assert "mlrun rerun" in said.err
    mlrun("artifacts", "latest", "b", "-o", project.path / "brought").ok()


def clean(machine: Machine, is_old, place: str = ".cache/mlrun/workers") -> None:
    """Remove files there, as those do who clean scratch disks by the age of files."""
    for path in (machine.home / place).rglob("*"):
        if path.is_file() and is_old(path):
            path.unlink()


def test_a_machine_that_was_rebooted_has_lost_its_runs(mlrun: Mlrun, heavy: Project, machine):
    identity = mlrun(
        "run", heavy.path, "-e", "forever", "--env-manager", "local", "--on", "lab", "-d"
    ).ok().out.strip()  # fmt: skip
    until(lambda: listed(mlrun) == "running", 60)
    machine.halt()
    machine.disconnect()
    assert listed(mlrun) == "unreachable"
    said = mlrun("list").ok()
    assert "it was running at 20" in said.err
    machine.boot()
    assert listed(mlrun) == "lost"
    assert mlrun.show(identity)["run"]["status"] == "lost"
    assert mlrun("logs", identity).ok().out == "up\n"


def test_a_machine_that_is_away_takes_no_run(mlrun: Mlrun, heavy: Project, machine):
    machine.halt()
    try:
        began = time.monotonic()
        said = mlrun("run", heavy.path, "-e", "long", "--env-manager", "local", "--on", "lab")
        assert said.code == 125
        assert "lab cannot be reached" in said.err
        assert time.monotonic() - began < 60
        assert mlrun("list", "--json").ok().json["runs"] == []
    finally:
        machine.boot()


def test_a_login_refused_after_a_cut_says_nothing_of_the_run(mlrun: Mlrun, heavy: Project, machine, shut: Path, home):
    shells = [*machine.enter, "sh", "-c"]
    process, talk = begin(mlrun, heavy, "long", "stuck")
    until(lambda: list((home / "store" / "runs").glob("*/ticket.json")), 60)
    time.sleep(1)  # the machine has been told of the run, and is at its `setup`
    subprocess.run([*shells, "mv /mnt/authorized /mnt/barred"], check=True, timeout=60)
    try:
        machine.disconnect()
        until(lambda: spoken(talk, "lets nobody in"), 60)
    finally:
        subprocess.run([*shells, "mv /mnt/barred /mnt/authorized"], check=True, timeout=60)
    assert "it is tried again" in talk.read_text()
    shut.unlink()
    assert process.wait(60) == 125
    assert "Slurm" in talk.read_text()  # which is not set up there: the machine itself says how the run ended


def test_a_machine_that_takes_its_time_does_not_hold_up_a_list(mlrun: Mlrun, heavy: Project, shut: Path, home: Path):
    process, _ = begin(mlrun, heavy, "long", "stuck")
    until(lambda: list((home / "store" / "runs").glob("*/ticket.json")), 60)
    kill(process)
    began = time.monotonic()
    [run] = mlrun("list", "--json").ok().json["runs"]
    assert time.monotonic() - began < 15
    assert run["status"] == "unreachable"
    shut.unlink()
    # ssh may first have to find out that the shared connection is dead
    ended = until(lambda: (now := listed(mlrun)) in ("lost", "failed") and now, 180)
    if ended == "failed":  # all had been said before the kill: there it went on, and found no Slurm
        assert "Slurm" in mlrun("show", "latest").ok().out


def test_a_name_that_leads_elsewhere_now_loses_no_run(mlrun: Mlrun, heavy: Project, machine, home: Path):
    identity = mlrun(
        "run", heavy.path, "-e", "forever", "--env-manager", "local", "--on", "lab", "-d"
    ).ok().out.strip()  # fmt: skip
    until(lambda: listed(mlrun) == "running", 60)
    hosts = home / ".config" / "mlrun" / "hosts.toml"
    before = hosts.read_text()
    hosts.write_text(before.replace('[hosts.lab]\naddress = "lab"', '[hosts.lab]\naddress = "lab-sh"'))
    assert listed(mlrun) == "unreachable"
    assert "is it another machine?" in mlrun("list").err
    hosts.write_text(before)
    assert listed(mlrun) == "running"
    mlrun("cancel", identity).ok()
    assert listed(mlrun) == "killed"
