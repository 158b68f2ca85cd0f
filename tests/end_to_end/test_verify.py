"""A bit that is flipped anywhere in a run, its objects or the index is found, and the file is named."""

import contextlib
import os
import random
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest

from runner.flow import spread
from runner.flow.verify import verify
from runner.store.store import Store
from tests.end_to_end.conftest import MLRUN, Mlrun, Project


@pytest.fixture
def sealed(mlrun: Mlrun, project: Project) -> Path:
    """The directory of a run with a lock, a patch, an input, an output, metrics and logs."""
    project.write(
        "MLproject",
        "name: demo\ninputs: [data/*.txt]\noutputs: [out/*]\nentry_points:\n  main:\n    command: |\n"
        "      mkdir -p out; cat data/* > out/result; echo said; echo complained >&2\n"
        '      echo \'{{"name": "rmse", "value": 0.5}}\' >> "$MLRUN_METRICS"\n',
    )
    project.write("python_env.yaml", "dependencies: []\n")
    project.write(".gitignore", "data/\nout/\n")
    project.write("data/in.txt", "input\n")
    project.commit()
    project.write("MLproject", (project.path / "MLproject").read_text() + "# changed\n")
    mlrun("run", project.path, "-m", "because").ok()
    return mlrun.directory()


def flipped(path: Path, position: int) -> bytes:
    data = path.read_bytes()
    changed = bytearray(data)
    changed[position] ^= 1
    write(path, bytes(changed))
    return data


def write(path: Path, data: bytes) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(mode)


def found(run: Path) -> list[str]:
    store = Store.open()
    return [each.file for each in verify(store, [store.directory(run.name)], everything=True).findings if each.wrong]


def test_several_processes_find_the_same(mlrun: Mlrun, sealed: Path, monkeypatch: pytest.MonkeyPatch):
    mlrun("run", mlrun.cwd / "project").ok()
    store = Store.open()
    runs = list(store.runs())
    flipped(runs[0].stdout, 0)
    flipped(runs[1].path / "spec.json", -2)
    victim = store.objects.path(mlrun.show(sealed.name)["code"]["patch"]["sha256"])
    flipped(victim, 0)
    with sqlite3.connect(store.root / "index.sqlite") as database:
        database.execute("UPDATE run SET status = 'failed'")
    alone = verify(store, runs, everything=True)
    monkeypatch.setattr(spread, "_PART", 1)
    monkeypatch.setattr(spread, "processors", lambda: 2)
    told: list[tuple[int, int, str]] = []
    assert verify(store, runs, everything=True, progress=lambda *what: told.append(what)) == alone
    assert len({finding.file for finding in alone.findings if finding.wrong}) == 4
    assert [each for each in told if each[2] == "runs"] == [(1, 2, "runs"), (2, 2, "runs")]


def test_progress_is_a_line_of_a_terminal_that_goes_away(mlrun: Mlrun, sealed: Path):
    assert "of 1 runs" not in mlrun("verify", "--all").ok().err
    near, far = os.openpty()
    child = subprocess.Popen([*MLRUN, "verify", "--all"], stdin=subprocess.DEVNULL, stdout=far, stderr=far)
    os.close(far)
    said = b""
    with contextlib.suppress(OSError):  # the terminal goes with the child
        while data := os.read(near, 1000):
            said += data
    os.close(near)
    assert child.wait(60) == 0
    assert b"\r1 of 1 runs" in said
    assert b"\x1b[K1 run verified" in said


def test_what_is_whole_is_said_to_be(mlrun: Mlrun, sealed: Path):
    assert found(sealed) == []
    for argv in (["latest"], ["--all"], [sealed.name, "latest"]):
        assert "verified: nothing was changed" in mlrun("verify", *argv).ok().err
    said = mlrun("verify", "--all", "--json").ok().json
    assert (said["runs"], said["whole"], said["findings"]) == ([sealed.name], True, [])


def test_a_flipped_bit_in_any_file_of_the_run_is_found_and_named(mlrun: Mlrun, sealed: Path):
    files = [path for path in sealed.rglob("*") if path.is_file()]
    assert {"record.json", "record.json.sha256", "contents.sha256", "stdout.log", "metrics.jsonl", "ticket.json"} <= {
        path.name for path in files
    }
    for path in files:
        size = path.stat().st_size
        for position in sorted({0, size // 2, size - 1}) if size else ():
            data = flipped(path, position)
            name = path.relative_to(sealed).as_posix()
            wrong = found(sealed)
            expected = "record.json" if name == "record.json.sha256" else name
            assert f"runs/{sealed.name}/{expected}" in wrong, (name, position, wrong)
            write(path, data)
    assert found(sealed) == []


def test_a_flipped_bit_in_any_object_is_found_and_named(mlrun: Mlrun, sealed: Path):
    store = sealed.parent.parent
    objects = [path for path in (store / "objects/sha256").glob("??/*") if path.stat().st_size]
    record = mlrun.show()
    code, lock, output = record["code"], record["environment"]["lock"], record["outputs"][0]["digest"]
    named = {digest["sha256"] for digest in (code["snapshot"], code["patch"], lock, output)}
    assert named <= {path.parent.name + path.name for path in objects}
    for path in objects:
        data = flipped(path, path.stat().st_size // 2)
        assert path.relative_to(store).as_posix() in found(sealed)
        write(path, data)
    assert found(sealed) == []


def test_files_that_are_gone_cut_short_or_added_are_named(mlrun: Mlrun, sealed: Path):
    for name in ("stdout.log", "spec.json", "contents.sha256", "record.json.sha256"):
        data = (sealed / name).read_bytes()
        (sealed / name).unlink()
        assert [line for line in found(sealed) if name.removesuffix(".sha256") in line], name
        (sealed / name).write_bytes(data)
    (sealed / "added.txt").write_text("x")
    assert found(sealed) == [f"runs/{sealed.name}/added.txt"]


def test_symlinks_are_checked_by_what_they_say(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points: {main: {command: 'cd $(dirname $MLRUN_METRICS); mkdir artifacts; "
                  "echo 1 > artifacts/m1; ln -s m1 artifacts/latest'}}\n")  # fmt: skip
    mlrun("run", project.path, "--env-manager", "local").ok()
    run = mlrun.directory()
    assert found(run) == []
    for name, goal in (("artifacts/latest", "/etc/passwd"), ("artifacts/added", "m1x"), ("stdout.log", "stderr.log")):
        kept = run / "kept"
        if os.path.lexists(run / name):
            (run / name).rename(kept)
        (run / name).symlink_to(goal)
        wrong = found(run)
        assert f"runs/{run.name}/{name}" in wrong, name
        (run / name).unlink()
        if os.path.lexists(kept):
            kept.rename(run / name)
    assert found(run) == []


def test_what_may_come_later_is_no_finding(mlrun: Mlrun, sealed: Path):
    mlrun("note", "latest", "said later").ok()
    (sealed / "slurm.log").write_text("the launcher's last words")
    output = mlrun.show()["outputs"][0]
    (sealed / "artifacts").mkdir()
    mlrun("artifacts", "latest", output["path"], "-o", sealed / "artifacts").ok()
    assert found(sealed) == []
    mlrun("export", "latest", "-o", "x.tar.gz").ok()
    mlrun("import", "x.tar.gz", MLRUN_HOME=str(mlrun.cwd / "there")).ok()
    assert "said later" in (mlrun.cwd / "there/runs" / sealed.name / "notes.jsonl").read_text()


def test_the_command_line_says_what_was_changed_and_exits_1(mlrun: Mlrun, sealed: Path):
    flipped(sealed / "stdout.log", 0)
    said = mlrun("verify", "latest")
    assert said.code == 1
    assert said.out.startswith(f"runs/{sealed.name}/stdout.log: was changed: its sha256 is ")
    assert "error: 1 thing is not as sealed, in 1 run" in said.err
    assert mlrun("verify", "latest", "--json").json["findings"][0]["run"] == sealed.name


def test_what_the_index_says_is_compared_with_the_records(mlrun: Mlrun, sealed: Path):
    index = sealed.parent.parent / "index.sqlite"
    mlrun("list").ok()
    whole = index.read_bytes()
    for text in (b"because", b'"status":"succeeded"', b"out/result", b"rmse", sealed.name.encode()):
        position = whole.find(text)
        assert position > 0, text
        flipped(index, position + 1)
        assert "index.sqlite" in found(sealed), text
        index.write_bytes(whole)
    flipped(index, 0)
    assert found(sealed) == ["index.sqlite"]
    said = mlrun("verify", sealed.name)
    assert said.code == 1
    assert "remove it, and it is made anew" in said.err
    index.unlink()
    mlrun("list").ok()
    assert found(sealed) == []
    whole = index.read_bytes()
    with sqlite3.connect(index) as database:
        database.execute("UPDATE run SET id = replace(id, '-7', '-8')")
    assert found(sealed) == ["index.sqlite"]  # it has a run that is not there
    index.write_bytes(whole)
    with sqlite3.connect(index) as database:
        database.execute("DELETE FROM run")
    assert found(sealed) == ["index.sqlite"]
    (sealed.parent / "0").mkdir()  # directories that came or went by hand are found by the next question
    assert found(sealed) == []
    (sealed.parent / "0").rmdir()
    index.unlink()
    mlrun("list").ok()
    with sqlite3.connect(index) as database:
        database.execute("UPDATE run SET status = 'failed'")
    assert found(sealed) == ["index.sqlite"]


def test_what_is_not_found_in_the_index_says_nothing(mlrun: Mlrun, sealed: Path):
    mlrun("list").ok()
    index = sealed.parent.parent / "index.sqlite"
    whole = index.read_bytes()

    def said() -> list[list[tuple[object, ...]]]:
        with contextlib.closing(sqlite3.connect(index)) as database:
            return [
                database.execute(f"SELECT * FROM {each}").fetchall() for each in ("run", "label", "output", "input")
            ]

    truth, missed = said(), 0
    for position in random.Random(6).sample(range(len(whole)), 150):
        flipped(index, position)
        if found(sealed) == []:
            missed += 1
            assert said() == truth, position
        index.write_bytes(whole)
    assert 0 < missed < 150  # bytes that are in no use, and some that are


def test_nothing_named_and_a_run_that_goes_on(mlrun: Mlrun, project: Project):
    assert mlrun("verify").code == 2
    assert mlrun("verify", "x", "--all").code == 2
    project.write("MLproject", "entry_points: {main: {command: sleep 60}}\n")
    mlrun("run", project.path, "--env-manager", "local", "--detach").ok()
    assert "goes on: nothing of it is sealed yet" in mlrun("verify", "latest").ok().err
    mlrun("cancel", "latest").ok()
    assert (mlrun.directory() / "contents.sha256").exists()
    mlrun("verify", "latest").ok()
