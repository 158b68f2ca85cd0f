"""What is asked of Slurm, in which words, and whose words are believed."""

from pathlib import Path

import pytest

from runner.worker.clock import now
from runner.worker.facts import Claim, Launched, Launching
from runner.worker.look import look
from runner.worker.processes import myself
from runner.worker.rundir import RunDirectory
from runner.worker.slurm import options, queue, submit
from runner.worker.spec import Resources
from runner.worker.state import UNREACHABLE


def test_resources_become_words_and_the_users_come_last():
    asked = Resources(cpus=2, memory=(1 << 20) + 1, gpus=1, time=90)
    assert options.words(asked, {"partition": "gpu", "exclusive": "", "mem": "9G"}, None) == [
        "--nodes=1", "--ntasks=1", "--cpus-per-task=2", "--mem=2M", "--gres=gpu:1", "--time=5",
        "--exclusive", "--mem=9G", "--partition=gpu",
    ]  # fmt: skip
    assert "--time=7" in options.words(asked, {"time": "7"}, None)


@pytest.mark.parametrize(
    ("time", "most", "minutes"), [(0.3, None, 4), (3600, None, 63), (3600, 3600, 60), (3600, 3700, 61), (3600, 60, 60)]
)
def test_a_limit_leaves_room_where_the_partition_does(time: float, most: float | None, minutes: int):
    assert options.minutes(time, most) == minutes


def test_what_squeue_says_is_read_whatever_others_call_their_jobs():
    line = "12|PENDING|Resources||debug|a|name|with bars"
    job = queue._parse(line)
    assert job is not None
    assert (job.id, job.reason, job.name, job.is_pending) == ("12", "Resources", "a|name|with bars", True)
    assert queue._parse("CLUSTER: other") is None


def test_a_script_names_the_worker_and_the_directory_and_nothing_else(tmp_path: Path):
    run = RunDirectory(tmp_path / "it's $HOME `id`")
    text = submit.script(run).decode()
    assert text.startswith("#!/bin/sh\ntrap '' USR1\nexec ")
    assert text.endswith(f" execute '{tmp_path}/it'\"'\"'s $HOME `id`'\n")


def test_what_lies_in_the_store_is_neither_run_nor_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A bundle, or another machine, may have brought the whole directory."""
    run = RunDirectory(tmp_path / "store" / "runs" / "one")
    run.artifacts.mkdir(parents=True)
    for name in ("squeue", "scontrol"):
        trap = run.artifacts / name
        trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
        trap.chmod(0o755)
    link = tmp_path / "store" / "link"
    link.symlink_to(run.artifacts)
    monkeypatch.setenv("PATH", "/nowhere")
    run.write(Claim(replaced_pid(), now()))
    run.write(Launching("slurm", now(), "lab", programs=str(link), configuration=str(run.artifacts / "slurm.conf")))
    run.write(Launched("slurm", "1", now(), "lab"))
    state = look(run)
    assert state.name == UNREACHABLE
    assert "cannot be asked" in state.remark
    assert not (tmp_path / "sprung").exists()
    assert submit.access_of(run) == Launching("slurm", submit.access_of(run).at, "lab")


def replaced_pid():
    from dataclasses import replace

    return replace(myself(), started="0")
