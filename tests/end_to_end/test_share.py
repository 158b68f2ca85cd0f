"""A run goes to a machine that never saw its project, and runs there again with the same result."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import runner.api
from runner.flow.ask import Ask
from runner.flow.follow import wait
from runner.flow.start import start
from runner.store.store import Store
from tests.end_to_end.conftest import Mlrun, Project
from tests.environments.wheels import make_wheel

LOCAL = ("--env-manager", "local")


@contextmanager
def elsewhere(base: Path) -> Iterator[dict[str, str]]:
    """The environment of a user of another machine: another home, store and cache."""
    with tempfile.TemporaryDirectory(dir=base, prefix="elsewhere-") as name:
        yield {"HOME": name, "MLRUN_HOME": f"{name}/store", "MLRUN_CACHE": f"{name}/cache"}


@pytest.fixture
def reader(project: Project, tmp_path: Path) -> Project:
    """A project that reads a glob, a directory, a file beside it, and what git ignores."""
    project.write(
        "MLproject",
        "name: reader\ninputs: [data/*.txt, folder, run.sh]\noutputs: [out.txt]\nentry_points:\n  main:\n"
        "    parameters: {table: path}\n    command: sh run.sh {table} > out.txt\n",
    )
    project.write("run.sh", 'cat data/*.txt folder/*/* "$1"\n').chmod(0o755)
    project.write(".gitignore", "data/\nfolder/\nout.txt\n.env\n")
    project.write("data/a.txt", "a\n")
    project.write("data/b.txt", "b\n")
    project.write("folder/deep/c", "c\n")
    project.write(".env", "TOKEN=observed-and-private\n")
    (tmp_path / "table.csv").write_text("1,2\n")
    project.commit()
    return project


def test_a_bundle_runs_again_where_the_project_never_was(mlrun: Mlrun, reader: Project, tmp_path: Path):
    mlrun("run", reader.path, *LOCAL, "-P", f"table={tmp_path / 'table.csv'}").ok()
    said = mlrun("export", "latest", "-o", "run.mlrun.tar.gz").ok()
    assert "left out, for they were lying there undeclared: .env" in said.err
    shutil.rmtree(reader.path)
    (tmp_path / "table.csv").unlink()
    with elsewhere(tmp_path) as there:
        took = mlrun("import", "run.mlrun.tar.gz", "--json", **there).ok().json
        again = mlrun("rerun", took["run"], "--check", "--json", **there).ok().json
        assert again["verdict"]["kind"] == "identical"
        assert again["verdict"]["compared"] == 1
        assert "note: stderr was left out" not in mlrun("logs", took["run"], **there).ok().err  # it was empty
        assert again["run"]["relations"]["rerun_of"] == took["run"]
        mlrun("verify", "--all", **there).ok()
        mlrun("gc", **there).ok()
        assert mlrun("rerun", took["run"], "--check", **there).code == 0
        mlrun("artifacts", took["run"], "-o", str(tmp_path / "got"), **there).ok()
        assert (tmp_path / "got/out.txt").read_text() == "a\nb\nc\n1,2\n"
        assert "it is here already" in mlrun("import", "run.mlrun.tar.gz", **there).ok().err


def test_a_place_here_with_other_bytes_does_not_stand_in_for_what_came(mlrun: Mlrun, reader: Project, tmp_path: Path):
    mlrun("run", reader.path, *LOCAL, "-P", f"table={tmp_path / 'table.csv'}").ok()
    mlrun("export", "latest", "-o", "run.mlrun.tar.gz", "--observed").ok()
    for name in ("data/a.txt", "folder/deep/c", ".env"):
        reader.write(name, "another machine's\n")
    (tmp_path / "table.csv").write_text("another machine's\n")
    with elsewhere(tmp_path) as there:
        mlrun("import", "run.mlrun.tar.gz", **there).ok()
        assert mlrun("rerun", "latest", "--check", **there).ok().err.count("note:") == 0
        seen = {item["path"]: item["basis"] for item in mlrun("show", "latest", "--json", **there).json["inputs"]}
        assert seen[".env"] == "observed"


def test_an_input_that_changed_since_is_not_taken_for_what_it_was(mlrun: Mlrun, reader: Project, tmp_path: Path):
    mlrun("run", reader.path, *LOCAL, "-P", f"table={tmp_path / 'table.csv'}").ok()
    reader.write("folder/deep/c", "changed\n")
    said = mlrun("export", "latest", "-o", "run.mlrun.tar.gz").ok()
    assert "the input folder is not what it was, or gone" in said.err
    shutil.rmtree(reader.path)
    with elsewhere(tmp_path) as there:
        mlrun("import", "run.mlrun.tar.gz", **there).ok()
        again = mlrun("rerun", "latest", **there)
        assert again.code == 125
        assert "folder is missing" in again.err


def test_a_source_file_too_large_for_the_store_comes_along(mlrun: Mlrun, project: Project, tmp_path: Path):
    project.write("MLproject", "entry_points: {main: {outputs: [n], command: wc -c large > n}}\n")
    project.write("large", "x" * 5000)
    project.commit()
    store = Store.open()
    started = start(Ask(uri=str(project.path), env_manager="local", size_cap=1000), store, print, foreground=False)
    assert wait(started.run, store, runner.api._Silence()).exit_code == 0
    mlrun("export", "latest", "-o", "run.mlrun.tar.gz").ok()
    shutil.move(project.path, tmp_path / "gone")
    with elsewhere(tmp_path) as there:
        mlrun("import", "run.mlrun.tar.gz", **there).ok()
        assert mlrun("rerun", "latest", "--check", **there).code == 0


def test_a_failed_export_leaves_no_file_and_a_running_one_has_none(mlrun: Mlrun, project: Project, tmp_path: Path):
    project.write("MLproject", "entry_points: {main: {command: sleep 60}}\n")
    mlrun("run", project.path, *LOCAL, "--detach").ok()
    said = mlrun("export", "latest", "-o", "x.tar.gz")
    assert (said.code, "has not ended" in said.err) == (125, True)
    mlrun("cancel", "latest").ok()
    objects = Path(os.environ["MLRUN_HOME"]) / "objects/sha256"
    victim = next(path for path in objects.glob("??/*") if path.read_bytes().startswith(b"entry_points"))
    victim.chmod(0o600)
    victim.write_bytes(b"x" + victim.read_bytes()[1:])
    said = mlrun("export", "latest", "-o", "x.tar.gz")
    assert said.code == 125
    assert "is not what its digest" in said.err
    assert not list(tmp_path.glob("*x.tar.gz*"))
    assert mlrun("export", "latest", "-o", "no/such/x.tar.gz").code == 125


NAMES = st.from_regex(r"[a-z][a-z ._'é-]{0,6}[a-z]", fullmatch=True)
PROJECTS = st.fixed_dictionaries(
    {
        "word": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
        "sources": st.dictionaries(NAMES, st.binary(max_size=40), max_size=3),
        "data": st.dictionaries(NAMES, st.binary(max_size=40), min_size=1, max_size=3),
        "code": st.sampled_from([0, 3]),
    }
)


@settings(
    max_examples=5,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(made=PROJECTS)
def test_export_import_rerun_is_identical(mlrun: Mlrun, tmp_path: Path, made):
    with tempfile.TemporaryDirectory(dir=tmp_path) as name, elsewhere(tmp_path) as here, elsewhere(tmp_path) as there:
        project = Project(Path(name) / "project")
        project.write(
            "MLproject",
            "inputs: [data]\noutputs: [out]\nentry_points:\n  main:\n    parameters: {word: string}\n    command: |\n"
            "      mkdir out; cp -r sources out/; printf %s {word} > out/word; "
            "find data -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum > out/digests; "  # inputs are no outputs
            f'echo \'{{{{"name": "n", "value": 1}}}}\' >> $MLRUN_METRICS; exit {made["code"]}\n',
        )
        for folder in ("sources", "data"):
            project.write(f"{folder}/.keep", "")
            for file, content in made[folder].items():
                (project.path / folder / file).write_bytes(content)
        project.write(".gitignore", "data/\nout/\n")
        project.commit()
        assert mlrun("run", project.path, *LOCAL, "-P", f"word={made['word']}", **here).code == made["code"]
        mlrun("export", "latest", "-o", f"{name}/x.tar.gz", **here).ok()
        shutil.rmtree(project.path)
        mlrun("import", f"{name}/x.tar.gz", **there).ok()
        verdict = mlrun("rerun", "latest", "--json", **there).json["verdict"]
        assert verdict["kind"] == "identical", json.dumps(verdict)
        assert verdict["compared"] == len(made["sources"]) + 4


def test_standards_are_written_to_stdout_or_a_file_and_overwrite_nothing(
    mlrun: Mlrun, project: Project, tmp_path: Path
):
    mlrun("run", project.path, *LOCAL).ok()
    said = mlrun("export", "latest", "--format", "prov").ok()
    assert said.json["activity"]
    assert [
        json.loads(line)["eventType"] for line in mlrun("export", "latest", "--format", "openlineage").out.splitlines()
    ]
    mlrun("export", "latest", "--format", "slsa", "-o", "x.json").ok()
    again = mlrun("export", "latest", "--format", "slsa", "-o", "x.json")
    assert (again.code, "is there already" in again.err) == (2, True)
    none = mlrun("export", "latest", "--format", "ro-crate")
    assert (none.code, "an RO-Crate needs a licence" in none.err) == (2, True)
    crate = mlrun("export", "latest", "--format", "ro-crate", "--license", "MIT", "-o", "crate", "--json").ok()
    assert "config.toml names no organisation and no orcid" in crate.json["remarks"][0]
    assert (tmp_path / "crate/ro-crate-metadata.json").exists()
    assert mlrun("export", "latest", "--format", "nonsense").code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "-"), "-o names a file"),
        (("-o", "x.zip"), "a bundle is a tar"),
        (("--license", "MIT"), "--license means nothing to bundle"),
        (("--format", "prov", "--wheels", "--logs"), "--logs and --wheels mean nothing to prov"),
        (("--format", "ro-crate", "--license", "mine alone"), "'mine alone' is no name of a licence"),
    ],
)
def test_words_that_an_export_does_not_know(mlrun: Mlrun, project: Project, words: tuple[str, ...], message: str):
    mlrun("run", project.path, *LOCAL).ok()
    said = mlrun("export", "latest", *words)
    assert (said.code, message in said.err) == (2, True), said.err
    assert "hint: " in said.err
    assert [path.name for path in mlrun.cwd.iterdir()] == ["project"]


def test_with_its_wheels_a_run_is_built_where_no_index_is_reached(
    mlrun: Mlrun, project: Project, tmp_path: Path, monkeypatch
):
    make_wheel(tmp_path / "wheels", "tiny", text="print('imported')")
    project.write("MLproject", "entry_points: {main: {outputs: [out], command: 'python -c \"import tiny\" > out'}}\n")
    project.write("python_env.yaml", "dependencies: [tiny]\n")
    project.commit()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    mlrun("run", project.path, PIP_FIND_LINKS=str(tmp_path / "wheels")).ok()
    mlrun("export", "latest", "-o", "without.tar.gz").ok()
    mlrun("export", "latest", "-o", "with.tar.gz", "--wheels").ok()
    for path in (project.path, tmp_path / "wheels"):
        shutil.rmtree(path)
    with elsewhere(tmp_path) as there:
        there["UV_CACHE_DIR"] = f"{there['HOME']}/uv"
        mlrun("import", "with.tar.gz", **there).ok()
        assert mlrun("rerun", "latest", "--check", **there).code == 0
        mlrun("verify", "--all", **there).ok()
    with elsewhere(tmp_path) as there:
        there["UV_CACHE_DIR"] = f"{there['HOME']}/uv"
        mlrun("import", "without.tar.gz", **there).ok()
        said = mlrun("rerun", "latest", "--check", **there)
        assert said.code == 3
        assert "the packages cannot be installed" in said.err
