"""Runs the corpus through MLflow and through mlrun, and compares what stub programs received."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.errors import ProjectError, UsageError
from runner.project.load import find_entry_point, load
from runner.project.parameters import Values, parse_assignments, resolve
from runner.worker.command import render, shell_argv
from tests.clients import ENVIRON, install
from tests.differential.corpus import CASES, DIFFERENT, SAME
from tests.needs import need

HERE = Path(__file__).parent
STUB = """#!{python} -IS
import json, os, sys
name = os.path.basename(sys.argv[0])
if sys.argv[1:3] == ["-I", "-c"]:  # mlrun asks the interpreter who it is
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
with open(os.environ["STUB_LOG"], "a") as log:
    log.write(json.dumps([os.getcwd(), os.environ.get("VAR"), [name, *sys.argv[1:]]]) + "\\n")
print("printed by", name)
"""


@dataclass(frozen=True)
class Outcome:
    """How a call ended, and the calls of stubs: directory, $VAR, argv."""

    status: str
    calls: tuple[tuple[str, str | None, tuple[str, ...]], ...]
    reason: str = ""

    @property
    def argvs(self):
        return [list(argv) for _, _, argv in self.calls]


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Directories for each case, and stubs to put on PATH."""
    root = tmp_path_factory.mktemp("differential")
    (root / "bin").mkdir()
    for name in ("stub", "python", "Rscript", "shell"):
        (root / "bin" / name).write_text(STUB.format(python=sys.executable))
        (root / "bin" / name).chmod(0o755)
    for index, case in enumerate(CASES):
        project, caller = root / str(index) / "project", root / str(index) / "caller"
        for directory in (project / case.subdirectory, caller):
            directory.mkdir(parents=True)
        if case.text is not None:
            (project / case.subdirectory / case.file).write_bytes(case.text.encode())
        for directory, names in ((project, case.project_files), (caller, case.caller_files)):
            for name in names:
                (directory / name).parent.mkdir(exist_ok=True)
                (directory / name).touch()
    return root


def calls(log):
    lines = log.read_text().splitlines() if log.exists() else ()
    # The halves of a pipe start in any order.
    # MLflow downloads into a directory with a random name.
    lines = [re.sub(re.escape(str(log.parent / "storage")) + "/tmp[a-z0-9_]+", "STORAGE", line) for line in lines]
    return tuple(sorted((cwd, var, tuple(argv)) for cwd, var, argv in map(json.loads, lines)))


@pytest.fixture(scope="session")
def mlflow_outcomes(bench):
    """What MLflow makes of every case, in one process."""
    python, reason = install()
    need("mlflow", python, reason)
    requests = []
    for index, case in enumerate(CASES):
        place = bench / str(index)
        (place / "storage").mkdir()
        requests.append(
            {
                "log": str(place / "mlflow.log"),
                "caller": str(place / "caller"),
                "uri": str(place / "project") + (f"#{case.subdirectory}" if case.subdirectory else ""),
                "entry_point": case.entry_point,
                "given": case.given,
                "storage": str(place / "storage"),
                "store": str(place / "mlruns"),
            }
        )
    environ = {
        **ENVIRON,
        "PATH": f"{bench / 'bin'}:{ENVIRON['PATH']}",
        "HOME": str(bench),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    for name in ("MLFLOW_TRACKING_URI", "VAR", "PYTHONPATH"):
        environ.pop(name, None)
    (bench / "requests.json").write_text(json.dumps(requests))
    done = subprocess.run(
        [python, HERE / "driver.py", bench / "requests.json", bench / "answers.json"],
        env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads((bench / "answers.json").read_text())
    return {
        case.name: (Outcome(status, calls(bench / str(index) / "mlflow.log"), reason), left)
        for index, (case, (status, reason, left)) in enumerate(zip(CASES, answers, strict=True))
    }


def ours(case, place, bench, monkeypatch):
    """What mlrun makes of a case: planned here, and run by bash as the worker does."""
    monkeypatch.chdir(place / "caller")
    monkeypatch.setenv("SHELL", "shell")
    directory = place / "project" / case.subdirectory
    log = place / "mlrun.log"
    try:
        project = load(directory)
        entry = find_entry_point(project, case.entry_point)
        values = Values(parse_assignments(case.given))
        resolved = resolve(entry, values, caller=place / "caller", project=directory, downloads=place / "downloads")
        command = render(entry.command, resolved.parameters, resolved.places)
    except UsageError as error:
        return Outcome("usage", calls(log), error.message)
    except ProjectError as error:
        return Outcome("refused", calls(log), error.message)
    environ = {**ENVIRON, "PATH": f"{bench / 'bin'}:{ENVIRON['PATH']}", "STUB_LOG": str(log), "HOME": str(bench)}
    environ.pop("VAR", None)
    done = subprocess.run(
        shell_argv(command, entry.strict_shell), cwd=directory, env=environ, capture_output=True, check=False
    )
    return Outcome("done" if done.returncode == 0 else "failed", calls(log), done.stderr.decode())


@pytest.fixture
def both(request, bench, mlflow_outcomes, monkeypatch):
    """The outcomes of a case by MLflow and by mlrun."""
    case = request.param
    place = bench / str(CASES.index(case))
    return case, place, mlflow_outcomes[case.name][0], ours(case, place, bench, monkeypatch)


@pytest.mark.parametrize("both", SAME, indirect=True, ids=lambda case: case.name)
def test_both_do_the_same(both):
    case, _, theirs, own = both
    assert (own.status, own.calls) == (theirs.status, theirs.calls), (theirs.reason, own.reason)
    assert len(own.calls) >= case.least


@pytest.mark.parametrize("case", [case for case in SAME if case.least], ids=lambda case: case.name)
def test_the_command_line_does_the_same(case, bench, mlflow_outcomes, home):
    place = bench / str(CASES.index(case))
    log = place / "cli.log"
    uri = str(place / "project") + (f"#{case.subdirectory}" if case.subdirectory else "")
    given = [word for pair in case.given for word in ("-P", pair)]
    argv = [sys.executable, "-m", "runner", "run", uri, "-e", case.entry_point, "--env-manager", "local", *given]
    environ = {**ENVIRON, **{name: os.environ[name] for name in ("MLRUN_HOME", "MLRUN_CACHE")}, "HOME": str(bench)}
    environ |= {"PATH": f"{bench / 'bin'}:{ENVIRON['PATH']}", "STUB_LOG": str(log), "SHELL": "shell"}
    environ.pop("VAR", None)
    done = subprocess.run(argv, cwd=place / "caller", env=environ, capture_output=True, text=True, check=False)
    theirs = mlflow_outcomes[case.name][0]
    assert calls(log) == theirs.calls, done.stderr
    assert (done.returncode == 0) == (theirs.status == "done"), done.stderr


@pytest.mark.parametrize("both", DIFFERENT, indirect=True, ids=lambda case: case.name)
def test_each_does_what_is_said_where_they_differ(both):
    case, place, theirs, own = both

    def placed(expected):
        names = {"PROJECT": str(place / "project"), "CALLER": str(place / "caller")}
        return [[_replaced(word, names) for word in argv] for argv in expected]

    assert case.differs
    assert (theirs.status, theirs.argvs) == (case.mlflow[0], placed(case.mlflow[1])), theirs.reason
    assert (own.status, own.argvs) == (case.ours[0], placed(case.ours[1])), own.reason


def _replaced(word, names):
    for name, path in names.items():
        word = word.replace(name, path)
    return word


def test_mlflow_leaves_a_run_behind_where_mlrun_refuses_before_there_is_one(mlflow_outcomes):
    _, left = mlflow_outcomes["undeclared placeholder"]
    assert left == ["RUNNING"]
