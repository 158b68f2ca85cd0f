"""`mlrun diff`: what differs between two runs, the most telling first, with the real patch of the source."""

import json

import pytest

from tests.end_to_end.conftest import Mlrun, Project

MAIN = (
    "name: demo\nentry_points:\n  main:\n    parameters: {word: {default: hello}}\n    command: echo {word} > out.txt\n"
)
LOCAL = ("--env-manager", "local")


@pytest.fixture
def two(mlrun: Mlrun, project: Project) -> tuple[str, str]:
    """Two runs, the second with another parameter, an uncommitted edit, a new binary file and another output."""
    project.write("MLproject", MAIN.replace("    command", "    outputs: [out.txt]\n    command"))
    project.write("notes.txt", "one\n")
    project.commit()
    mlrun("run", project.path, *LOCAL, "--run-name", "first").ok()
    project.write("notes.txt", "one\ntwo\n")
    (project.path / "blob").write_bytes(bytes(range(256)))
    mlrun("run", project.path, *LOCAL, "-P", "word=bye", "--run-name", "second").ok()
    return "first", "second"


def test_only_what_differs_is_told(mlrun: Mlrun, two: tuple[str, str]):
    said = mlrun("diff", *two)
    assert said.code == 1
    kinds = [line for line in said.out.split("\n\n")[0].splitlines() if not line.startswith(" ")]
    assert kinds == ["code", "parameter", "output"]
    assert "  word: hello -> bye" in said.out
    assert "uncommitted changes" in said.out


def test_the_patch_has_uncommitted_changes_and_can_be_applied(mlrun: Mlrun, project: Project, two: tuple[str, str]):
    patch = mlrun("diff", *two, "--json").json["diff"]["patch"]
    assert "\n+two\n" in patch
    assert "Binary files /dev/null and b/blob differ" in patch
    project.git("stash", "-q", "-u")
    (project.path.parent / "change.patch").write_text(patch[patch.index("diff --git a/notes.txt") :])
    project.git("apply", str(project.path.parent / "change.patch"))
    assert (project.path / "notes.txt").read_text() == "one\ntwo\n"


def test_no_patch(mlrun: Mlrun, two: tuple[str, str]):
    assert "+two" in mlrun("diff", *two).out
    assert "+two" not in mlrun("diff", *two, "--no-patch").out


def test_the_same_run_does_not_differ(mlrun: Mlrun, two: tuple[str, str]):
    said = mlrun("diff", "first", "first")
    assert (said.code, said.out) == (0, "")
    assert "do not differ" in said.err


def test_a_rerun_differs_in_its_directory_alone(mlrun: Mlrun, two: tuple[str, str]):
    mlrun("rerun", "first").ok()
    found = mlrun("diff", "first", "--json").json["diff"]["differences"]
    assert {(each["what"], each["name"]) for each in found} == {("execution", "directory")}


def test_a_failed_run_is_told_first(mlrun: Mlrun, project: Project):
    project.write("MLproject", MAIN)
    mlrun("run", project.path, *LOCAL).ok()
    project.write("MLproject", MAIN.replace("out.txt", "out.txt; exit 3"))
    mlrun("run", project.path, *LOCAL)
    [older, newer] = mlrun("list", "--json", "--reverse").json["runs"]
    said = mlrun("diff", older["id"], newer["id"])
    assert said.out.splitlines()[:2] == [
        "result",
        "  status: succeeded -> failed (exit code 3)  (the command exited with code 3)",
    ]


def test_a_hostile_configuration_runs_nothing(mlrun: Mlrun, project: Project, two: tuple[str, str], home):
    mark = home / "ran"
    (home / ".gitconfig").write_text(
        f'[diff]\n\texternal = touch {mark}\n[diff "x"]\n\ttextconv = touch {mark};\n[core]\n\tpager = touch {mark}\n'
    )
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "attributes").write_text("* diff=x\n")
    assert "+two" in mlrun("diff", *two).out
    assert not mark.exists()


def test_json_has_a_version(mlrun: Mlrun, two: tuple[str, str]):
    said = json.loads(mlrun("diff", *two, "--json").out)
    assert said["version"] == 1
    assert set(said["diff"]) == {"before", "after", "differences", "took", "patch"}
