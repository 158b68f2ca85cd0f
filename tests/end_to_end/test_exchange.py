"""Teams share runs through a depot: pushed by one, pulled and run again by another who never saw the project."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from runner.flow.away import ticket_of
from runner.store.store import Store
from tests.end_to_end.conftest import MLRUN, Mlrun, Project
from tests.end_to_end.test_share import elsewhere

LOCAL = ("--env-manager", "local")


@pytest.fixture(params=["directory", "fsspec", "ssh"])
def remote(request, tmp_path: Path) -> str:
    if request.param == "ssh":
        request.getfixturevalue("machine")
        return f"lab:depots/{os.getpid()}-{tmp_path.name}"
    return f"{'local://' if request.param == 'fsspec' else ''}{tmp_path}/depot"


@pytest.fixture
def project(project: Project) -> Project:
    project.write(
        "MLproject",
        "name: demo\ninputs: [data]\noutputs: [out.txt]\nentry_points:\n  main:\n    parameters: {word: {default: a}}\n"
        "    command: cat data/* > out.txt; echo {word} >> out.txt; echo private\n",
    )
    project.write(".gitignore", "data/\nout.txt\n")
    project.write("data/in.txt", "in\n")
    project.commit()
    return project


def test_a_run_goes_through_a_depot_and_runs_again(mlrun: Mlrun, project: Project, remote: str, tmp_path: Path):
    mlrun("run", project.path, *LOCAL).ok()
    pushed = mlrun("push", remote, "latest", "--json").ok().json["pushed"][0]
    assert pushed["files"] > 10
    again = mlrun("push", remote, "latest").ok()
    assert "it is there already" in again.err
    shutil.rmtree(project.path)
    config = {"MLRUN_CONFIG": str(Path(os.environ["HOME"]) / ".config/mlrun")}
    with elsewhere(tmp_path) as there:
        there.update(config)
        listed = mlrun("pull", remote, "--dry-run", "--json", **there).ok().json["runs"]
        assert listed == [{"id": pushed["run"], "here": False}]
        pulled = mlrun("pull", remote, "--json", **there).ok().json["pulled"]
        assert [(one["run"], one["new"], one["without"]) for one in pulled] == [(pushed["run"], True, ["stdout.log"])]
        verdict = mlrun("rerun", "latest", "--check", "--json", **there).ok().json["verdict"]
        assert (verdict["kind"], verdict["compared"]) == ("identical", 1)
        mlrun("verify", "--all", **there).ok()
        said = mlrun("logs", pushed["run"], **there).ok()
        assert (said.out, said.err.count("note: stdout was left out when the run was shared")) == ("", 1)
        assert "0 new runs, 1 here already" in mlrun("pull", remote, **there).ok().err
        mlrun("push", remote, "--all", **there).ok()
    assert "1 new run, 1 here already" in mlrun("pull", remote).ok().err
    mlrun("verify", "--all").ok()


def test_two_people_who_push_at_once_lose_nothing(mlrun: Mlrun, project: Project, tmp_path: Path):
    remote = str(tmp_path / "depot")
    with elsewhere(tmp_path) as ada, elsewhere(tmp_path) as bob:
        for who, words in ((ada, "ab"), (bob, "cd")):
            for word in words:
                mlrun("run", project.path, *LOCAL, "-P", f"word={word}", **who).ok()
        argv = [*MLRUN, "push", remote, "--all"]
        at_once = [
            subprocess.Popen(argv, env={**os.environ, **who}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for who in (ada, bob, ada, bob)
        ]
        said = [process.communicate(timeout=120)[1] for process in at_once]
        assert [process.returncode for process in at_once] == [0] * 4, said
        with elsewhere(tmp_path) as carol:
            assert "4 new runs" in mlrun("pull", remote, **carol).ok().err
            mlrun("verify", "--all", **carol).ok()
            params = [run["params"]["word"] for run in mlrun("list", "--json", **carol).ok().json["runs"]]
            assert sorted(params) == ["a", "b", "c", "d"]
    for path in Path(remote).rglob("*"):
        if path.is_file() and "sha256" in path.parts:
            digest = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
            assert path.parent.name + path.name == digest


def test_logs_and_signatures_that_come_later_are_added(mlrun: Mlrun, project: Project, tmp_path: Path):
    remote = str(tmp_path / "depot")
    mlrun("run", project.path, *LOCAL).ok()
    mlrun("push", remote, "latest").ok()
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "signers").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    with elsewhere(tmp_path) as there:
        mlrun("pull", remote, **there).ok()
        mlrun("sign", "latest", "--key", key).ok()
        mlrun("push", remote, "latest", "--logs").ok()
        assert "here already" in mlrun("pull", remote, **there).ok().err
        assert "private" in mlrun("logs", "latest", **there).ok().out
        mlrun("verify", "latest", "--allowed-signers", tmp_path / "signers", **there).ok()
    assert len(list(Path(remote).glob("runs/*/*.json"))) == 2


def test_a_depot_that_was_tampered_with_is_refused(mlrun: Mlrun, project: Project, tmp_path: Path):
    remote = tmp_path / "depot"
    mlrun("run", project.path, *LOCAL).ok()
    mlrun("push", remote, "latest").ok()
    listing = next(remote.glob("runs/*/*.json"))
    names = {each["path"]: each["sha256"] for each in json.loads(listing.read_text())["files"]}
    victims = [
        listing,
        *(remote / "objects/sha256" / names[one][:2] / names[one][2:] for one in ("spec.json", "record.json")),
    ]
    for victim in victims:
        data = victim.read_bytes()
        victim.chmod(0o600)
        victim.write_bytes(data.replace(b"0", b"1", 1))
        with elsewhere(tmp_path) as there:
            said = mlrun("pull", remote, **there)
            assert said.code == 125
            assert "is not what its digest" in said.err
            assert mlrun("list", "--json", **there).ok().json["runs"] == []
        victim.write_bytes(data)
    with elsewhere(tmp_path) as there:
        mlrun("pull", remote, **there).ok()


def test_wrong_words_are_one_line(mlrun: Mlrun, project: Project, tmp_path: Path):
    mlrun("run", project.path, *LOCAL).ok()
    for argv, said in (
        (["push", tmp_path / "depot"], "name the runs to push, or --all"),
        (["pull", tmp_path / "nowhere"], "there is no depot at"),
        (["push", "nothing://x", "latest"], "is no address of a depot"),
        (["push", project.path, "latest"], "is a directory of something else"),
        (["push", project.path / "MLproject", "latest"], "is a file, and no depot"),
    ):
        answer = mlrun(*argv)
        assert answer.code in (2, 125)
        assert said in answer.err
    mlrun("push", tmp_path / "depot", "latest").ok()
    assert "no run of the depot answers to 'ffff" in mlrun("pull", tmp_path / "depot", "ffffffff-ffff").err


def test_a_run_that_came_from_elsewhere_is_asked_for_on_no_machine(mlrun: Mlrun, project: Project, tmp_path: Path):
    """Its ticket is somebody else's: to remove the copy here must not reach for the original there."""
    mlrun("run", project.path, *LOCAL).ok()
    mlrun("export", "latest", "-o", "x.tar.gz").ok()
    with elsewhere(tmp_path) as there:
        mlrun("import", "x.tar.gz", **there).ok()
        run = Store.open(Path(there["MLRUN_HOME"]), tmp_path / "cache").find("latest")
        ticket = json.loads(run.ticket.read_text())
        run.ticket.write_text(json.dumps({**ticket, "backend": "ssh", "data": {"host": "x", "address": "x.invalid"}}))
        assert ticket_of(run) is None
        said = mlrun("rm", "-y", "latest", **there).ok()
        assert "warning" not in said.err
