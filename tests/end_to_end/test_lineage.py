"""`mlrun lineage`: from a file to the run that made it, to that run's inputs, to commits and data from outside."""

import json
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project

LOCAL = ("--env-manager", "local")
STEPS = """\
name: pipeline
entry_points:
  prepare:
    parameters: {raw: path}
    outputs: [data]
    command: mkdir -p data && sort {raw} > data/sorted.txt && wc -l < {raw} > data/count.txt
  train:
    inputs: [data]
    outputs: [model.txt]
    parameters: {alpha: {default: 1}}
    command: cat data/sorted.txt > model.txt && echo {alpha} >> model.txt
  report:
    parameters: {model: path}
    outputs: [report.txt]
    command: wc {model} > report.txt
"""


@pytest.fixture
def pipeline(mlrun: Mlrun, project: Project, tmp_path: Path) -> Project:
    """Three steps that have run, from a file that lies outside of the project."""
    project.write("MLproject", STEPS)
    project.commit()
    (tmp_path / "raw.txt").write_text("b\na\n")
    for words in (
        ("-e", "prepare", "-P", f"raw={tmp_path / 'raw.txt'}", "-m", "the data of May"),
        ("-e", "train", "-P", "alpha=2", "--run-name", "best"),
        ("-e", "report", "-P", f"model={project.path / 'model.txt'}"),
    ):
        mlrun("run", project.path, *LOCAL, *words).ok()
    return project


def ids(mlrun: Mlrun) -> dict[str, str]:
    return {run["entry_point"]: run["id"] for run in mlrun("list", "--json", "--reverse").ok().json["runs"]}


def test_a_file_is_followed_to_where_it_is_from(mlrun: Mlrun, pipeline: Project, tmp_path: Path):
    runs = ids(mlrun)
    copy = shutil.copy(pipeline.path / "report.txt", tmp_path / "figure.txt")
    found = mlrun("lineage", copy, "--json").ok().json["lineage"]
    assert found["begins"] == [runs["report"]]
    assert set(found["steps"]) == set(runs.values())
    prepare = found["steps"][runs["prepare"]]
    assert prepare["why"] == "the data of May"
    assert prepare["code"]["commit"] == pipeline.git("rev-parse", "HEAD")
    assert prepare["links"][0]["path"] == (tmp_path / "raw.txt").as_uri()
    assert prepare["links"][0]["runs"] == []
    [data] = [link for link in found["steps"][runs["train"]]["links"] if link["path"] == "data"]
    assert data["runs"] == [runs["prepare"]]  # the directory, as a whole


def test_the_tree_says_who_when_why_and_from_what(mlrun: Mlrun, pipeline: Project):
    runs = ids(mlrun)
    mlrun("note", "best", "used for figure 3").ok()
    out = mlrun("lineage", pipeline.path / "model.txt").ok().out
    lines = [line.strip("│├└─ ") for line in out.splitlines()]
    assert lines[0].startswith(str(pipeline.path / "model.txt"))
    assert lines[1].startswith(f"{runs['train'][-8:]} best  pipeline train  succeeded")
    assert any(line.startswith("code ") and "uncommitted" not in line for line in lines)
    assert "alpha=2" in lines
    assert any(line.endswith("Ada Lovelace: used for figure 3") for line in lines)
    assert any(line.startswith(runs["prepare"][-8:]) and line.endswith('"the data of May"') for line in lines)
    assert any("raw.txt" in line and line.endswith("from outside") for line in lines)


def test_downwards_it_says_what_was_made_of_a_file(mlrun: Mlrun, pipeline: Project, tmp_path: Path):
    runs = ids(mlrun)
    found = mlrun("lineage", tmp_path / "raw.txt", "--down", "--json").ok().json["lineage"]
    assert found["begins"] == [runs["prepare"]]
    assert set(found["steps"]) == set(runs.values())
    assert "report.txt" in mlrun("lineage", tmp_path / "raw.txt", "--down").ok().out


def test_all_that_may_have_made_a_file_are_named(mlrun: Mlrun, pipeline: Project):
    mlrun("rerun", "best").ok()
    again = mlrun.show()["run"]["id"]
    found = mlrun("lineage", pipeline.path / "model.txt", "--json").ok().json["lineage"]
    assert found["begins"] == [again, ids(mlrun)["train"]] or set(found["begins"]) >= {again}
    assert len(found["begins"]) == 2
    assert f"the same bytes were made by {again[-8:]} (a re-run)" in mlrun("lineage", pipeline.path / "model.txt").out


def test_a_digest_or_its_beginning_will_do(mlrun: Mlrun, pipeline: Project):
    [item] = [each for each in mlrun("artifacts", "best", "--json").json["artifacts"] if each["path"] == "model.txt"]
    for text in (item["sha256"], f"sha256:{item['sha256']}", item["sha256"][:12]):
        assert mlrun("lineage", text, "--json").ok().json["lineage"]["begins"] == [ids(mlrun)["train"]]


def test_what_no_run_made(mlrun: Mlrun, pipeline: Project, tmp_path: Path):
    said = mlrun("lineage", tmp_path / "raw.txt")
    assert said.code == 1
    assert "no run of this store made it" in said.err
    said = mlrun("lineage", "nothing-of-that-name")
    assert said.code == 125
    assert "is no file that is there" in said.err
    (tmp_path / "empty").touch()
    assert mlrun("lineage", tmp_path / "empty").code == 1
    for words in (("--up", "--down"), ("--dot", "--json"), ("--dot", "--mermaid")):
        said = mlrun("lineage", "best", *words)
        assert (said.code, "choose one of each" in said.err + said.out) == (2, True), words


def test_a_run_that_was_removed_is_still_named(mlrun: Mlrun, pipeline: Project):
    runs = ids(mlrun)
    mlrun("rm", "--yes", runs["prepare"]).ok()
    out = mlrun("lineage", pipeline.path / "model.txt").ok().out
    assert f"{runs['prepare'][-8:]}  not in this store any more" in out


def test_graphs_for_other_programs(mlrun: Mlrun, pipeline: Project):
    dot = mlrun("lineage", pipeline.path / "report.txt", "--dot").ok().out
    assert dot.startswith("digraph lineage {")
    assert dot.count("shape=box") == 3
    mermaid = mlrun("lineage", pipeline.path / "report.txt", "--mermaid").ok().out
    assert mermaid.startswith("flowchart LR\n")
    arrows = [line.split(" --> ") for line in mermaid.splitlines() if " --> " in line]
    runs = ids(mlrun)
    train = f"run_{runs['train'].replace('-', '')}"
    assert any(target.strip() == train for _, target in arrows)
    assert any(origin.strip() == train for origin, _ in arrows)


def test_notes_stay_outside_of_the_sealed_record(mlrun: Mlrun, pipeline: Project):
    before = (mlrun.directory("best") / "record.json").read_bytes()
    mlrun("note", "best", "see https://me:secret@example.org/x").ok()
    mlrun("note", "best", "again").ok()
    assert (mlrun.directory("best") / "record.json").read_bytes() == before
    notes = mlrun("note", "best", "--json").ok().json["notes"]
    assert [note["text"] for note in notes] == ["see https://example.org/x", "again"]
    assert {note["by"] for note in notes} == {"Ada Lovelace"}
    assert mlrun("note", "best", " ").code == 2
    assert mlrun("note", "best", " ", "").code == 2
    assert "has no notes" in mlrun("note", "latest").ok().err
    mlrun("note", "latest", "without", "quotes").ok()
    assert "Ada Lovelace: without quotes" in mlrun("note", "latest").ok().out
    assert json.loads((mlrun.directory("best") / "notes.jsonl").read_text().splitlines()[0])["version"] == 1
    with (mlrun.directory("best") / "notes.jsonl").open("a") as stream:
        stream.write("{broken\n")
    assert len(mlrun("note", "best", "--json").ok().json["notes"]) == 2
    assert (mlrun.directory("best") / "notes.jsonl").stat().st_mode & 0o777 == 0o600
