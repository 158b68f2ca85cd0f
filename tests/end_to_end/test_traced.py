"""Traced inputs: what the command's Python really opened is told from what was merely lying there."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project

MAIN = """\
name: reader
python_env: env.yaml
entry_points:
  main:
    command: python read.py
  shell: {command: cat data/used.csv}
"""
READ = """\
import os, pathlib, subprocess, sys, threading
pathlib.Path("data/used.csv").read_text()
open(b"data/bytes.csv", "rb").read()
os.close(os.open("data/low.csv", os.O_RDONLY))
open("data/link/behind.csv").read()
directory = os.open("data", os.O_RDONLY)
os.close(os.open("in_directory.csv", os.O_RDONLY, dir_fd=directory)); os.close(directory)
open(os.path.join(os.environ["OTHER_WAY"], "data", "other_way.csv")).read()
open("README").read()
open("made.txt", "w").write("x"); open("made.txt").read()
subprocess.run([sys.executable, "-c", "open('data/child.csv').read()"], check=True)
if os.fork() == 0:
    open("data/forked.csv").read(); os._exit(0)
os.wait()
worker = threading.Thread(target=lambda: open("data/thread.csv").read()); worker.start(); worker.join()
os.closerange(3, 20)  # as daemons do: the hook must not write where another file is then opened
with open("out.bin", "wb", buffering=0) as out:
    open("data/late.csv").read()
    out.write(b"whole")
"""
READ_FILES = ("used", "bytes", "low", "child", "forked", "thread", "late", "in_directory", "other_way")


@pytest.fixture
def reader(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.write("MLproject", MAIN)
    project.write("env.yaml", "dependencies: []\n")
    project.write("read.py", READ)
    project.write("README", "of the source")
    project.write(".gitignore", "data\nout.bin\nmade.txt\n")
    project.commit()
    for name in (*READ_FILES, "unused"):
        project.write(f"data/{name}.csv", name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "behind.csv").write_text("far")
    (project.path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "way").symlink_to(project.path)
    monkeypatch.setenv("OTHER_WAY", str(tmp_path / "way"))
    return project


def bases(mlrun: Mlrun) -> dict[str, str]:
    return {item["path"]: item["basis"] for item in mlrun.show()["inputs"]}


def test_what_python_opened_is_told_from_what_lay_there(mlrun: Mlrun, reader: Project):
    said = mlrun("run", reader.path).ok()
    found = bases(mlrun)
    assert {path for path, basis in found.items() if basis == "traced"} == {
        *(f"data/{name}.csv" for name in READ_FILES),
        "data/link/behind.csv",
    }
    assert found["data/unused.csv"] == "observed"
    assert (reader.path / "out.bin").read_bytes() == b"whole"
    assert "neither in git nor declared" in said.err
    assert "inputs: [data]" in said.err
    assert any(gap["field"] == "inputs" and "opens files by itself" in gap["reason"] for gap in mlrun.show()["gaps"])


def test_what_is_declared_is_not_asked_for_again(mlrun: Mlrun, reader: Project):
    reader.write("MLproject", MAIN.replace("    command: python", "    inputs: [data]\n    command: python"))
    reader.git("commit", "-qam", "declare")
    said = mlrun("run", reader.path).ok()
    assert "traced" not in bases(mlrun).values()
    assert "neither in git" not in said.err


def test_no_trace(mlrun: Mlrun, reader: Project):
    mlrun("run", reader.path, "--no-trace").ok()
    assert "traced" not in bases(mlrun).values()


def test_what_is_no_python_is_not_traced(mlrun: Mlrun, reader: Project):
    mlrun("run", reader.path, "-e", "shell").ok()
    assert bases(mlrun)["data/used.csv"] == "observed"


def test_a_traced_input_that_changed_stops_a_rerun_and_an_unread_one_does_not(mlrun: Mlrun, reader: Project):
    mlrun("run", reader.path, "--run-name", "first").ok()
    reader.write("data/unused.csv", "other")
    assert mlrun("rerun", "first").ok()
    reader.write("data/used.csv", "other")
    said = mlrun("rerun", "first")
    assert said.code == 125
    assert "data/used.csv has changed" in said.err


def test_the_hook_does_not_change_what_is_installed(mlrun: Mlrun, reader: Project, home: Path):
    mlrun("run", reader.path).ok()
    mlrun("run", reader.path).ok()
    record = mlrun.show()
    assert record["environment"]["reused"] is True
    [marker] = (home / "cache" / "envs").glob("*/environment.json")
    assert "_mlrun_opened" not in json.dumps(record["environment"])
    assert marker.exists()
