"""A record is composed of whatever a run left behind; what is not there is a gap that says why."""

import json
from dataclasses import replace

import pytest

from runner.errors import FormatError
from runner.records.compose import compose
from runner.records.results import Input, Log, Output
from runner.store.index import Row
from runner.store.store import Store
from runner.worker.codec import encode
from runner.worker.facts import Actor, Gap, Gpu, HostFacts, InstalledEnvironment, Package, SourceFacts, Start, Submodule
from runner.worker.processes import myself
from runner.worker.results import Failure, FileFact, Files, Usage
from runner.worker.results import Log as SealedLog
from runner.worker.spec import EnvironmentSpec, Interpreter, Parameter, Resources, SpecFile
from tests.store.runs import a_run, a_spec, claim, end, seen, wrote

SHA = "ab" * 32
AT = "2026-11-23T10:00:00.000+00:00"
INTERPRETER = Interpreter("/usr/bin/python3", "3.11.7", "cpython", "cpython-311", "cp311", "main", "linux-x86_64", SHA)
HOST = HostFacts("lab1", "Linux", "6.1", "x86_64", "glibc 2.36", "Xeon", ("avx2",), 8, 2**34, (Gpu("A100", "550"),))


@pytest.fixture
def store() -> Store:
    return Store.open()


def begin(run, host=HOST, **changes) -> None:
    values = {
        "command": "python train.py 0.5",
        "argv": ("bash", "-c", "python train.py 0.5"),
        "cwd": "/home/ada/a b",
        "child": myself(),
        "worker": myself(),
        "at": AT,
        "host": host,
        "environ": {"PYTHONHASHSEED": "0"},
    }
    claim(run)
    run.write(Start(**{**values, **changes}))


def gaps(record) -> dict[str, str]:
    return {gap.field: gap.reason for gap in record.gaps}


def test_a_whole_run_is_recorded_whole(store):
    spec = a_spec(
        store,
        parameters=(Parameter("alpha", "float", "0.5", given="0.5", default="1.0", source="given"),),
        environment=EnvironmentSpec(
            "virtualenv", "python_env.yaml", (SpecFile("python_env.yaml", SHA),), "3.11", ("numpy",), ("pip",)
        ),
        secrets=("TOKEN",),
        resources=Resources(cpus=2),
    )
    source = SourceFacts(
        "git",
        "/home/ada/a b",
        url="https://host/x",
        commit="c" * 40,
        tree="d" * 40,
        branch="main",
        describe="v1-2",
        on_remote=True,
        dirty=True,
        modified=("train.py",),
        untracked=("new.py",),
        patch=SHA,
        submodules=(Submodule("lib", "e" * 40, "https://host/lib"),),
        files=3,
        bytes=99,
        not_stored=("big.bin",),
        project_file="MLproject",
        project_file_sha256=SHA,
    )
    producer = end(a_run(store))
    older = replace(store.index.get(producer.id), created="2020-01-01T00:00:00.000+00:00")
    store.index.put(Row(older, (("cd" * 32, "data.csv"),)))
    run = a_run(
        store,
        spec=spec,
        source=source,
        name="best",
        why="tries #12 and LAB-7, see https://host/issues/3.",
        tags={"team": "a"},
        experiment="exp",
        rerun_of=producer.id,
        parent=producer.id,
    )
    run.write(
        InstalledEnvironment(
            *("virtualenv", "/env", "/env/bin", INTERPRETER, "key", SHA, "resolved"),
            (Package("numpy", "2.0", (SHA,), "https://files/numpy.whl"),),
            *(SHA, "virtualenv 20", "uv 0.13", True, "all is there", 0.5),
        )
    )
    begin(run)
    seen(
        run,
        FileFact("data.csv", 5, "cd" * 32, "observed"),
        FileFact("/data/in put\udcff", 6, SHA, "parameter", parameter="table", name="table", changed=True),
    )
    wrote(run, store, {"model.bin": b"model"})
    run.metrics.write_text('{"name": "rmse", "value": 0.25, "step": 1}\n')
    usage = Usage(1.5, 1.0, 0.1, 1000)
    end(run, usage=usage, logs={"stdout": SealedLog(3, SHA), "stderr": SealedLog(0, SHA)}, left_behind=1)
    record = compose(run, store)

    assert (record.run.id, record.run.name, record.run.status, record.run.duration) == (
        run.id,
        "best",
        "succeeded",
        1.5,
    )
    assert (record.run.started, record.run.experiment) == (AT, "exp")
    assert record.actor == Actor("ada", "Ada Lovelace", "ada@example.org")
    assert record.why.refs == ("#12", "LAB-7", "https://host/issues/3")
    assert record.code.snapshot.sha256 == spec.snapshot.manifest
    assert record.code.root == "file:///home/ada/a%20b"
    assert (record.code.commit, record.code.dirty, record.code.patch.sha256) == ("c" * 40, True, SHA)
    assert (record.entry_point.template, record.entry_point.command) == (spec.command, "python train.py 0.5")
    assert record.entry_point.cwd == "file:///home/ada/a%20b"
    assert record.parameters == spec.parameters
    assert (record.environment.lock.sha256, record.environment.reused) == (SHA, True)
    assert record.environment.requirements == ("pip", "numpy")
    assert record.environment.packages[0].digests[0].sha256 == SHA
    assert record.environment.interpreter.path == "file:///usr/bin/python3"
    assert (record.platform.cpu, record.platform.gpus[0].model) == ("Xeon", "A100")
    assert (record.execution.host, record.execution.launcher) == ("lab1", "direct")
    assert (record.execution.secrets, record.execution.environ) == (("TOKEN",), {"PYTHONHASHSEED": "0"})
    first, second = record.inputs
    assert (first.path, first.produced_by, first.basis) == ("data.csv", (producer.id,), "observed")
    assert second.path == "file:///data/in%20put%FF"
    assert (second.basis, second.parameter, second.changed) == ("declared", "table", True)
    assert record.outputs == (
        Output("model.bin", 5, record.outputs[0].digest, "declared", stored=True, mode=record.outputs[0].mode),
    )
    assert record.logs["stdout"] == Log("stdout.log", 3, record.environment.lock)
    assert record.metrics.series[0].last == 0.25
    assert (record.result.exit_code, record.result.usage, record.result.left_behind) == (0, usage, 1)
    assert (record.relations.parent, record.relations.rerun_of) == (producer.id, producer.id)
    assert record.spec_digest.sha256 == spec.digest
    assert record.pinned_digest != record.spec_digest
    assert (record.tool.name, record.tool.version) == ("mlproject-runner", "0.1.0")
    assert [gap.field for gap in record.gaps] == ["code.not_stored"]  # big.bin
    json.dumps(encode(record), allow_nan=False)


def test_a_run_that_failed_while_it_was_prepared(store):
    run = a_run(store, spec=a_spec(store, environment=EnvironmentSpec("virtualenv")))
    claim(run)
    end(run, "failed", reason="prepare", exit_code=None, error=Failure("no numpy for this Python", "pin another"))
    record = compose(run, store)
    assert (record.run.status, record.result.reason) == ("failed", "prepare")
    assert record.result.error == Failure("no numpy for this Python", "pin another")
    said = gaps(record)
    assert said["environment.lock"] == "the environment was not made: the run failed: no numpy for this Python"
    assert said["platform"] == "the command did not begin: the run failed: no numpy for this Python"
    assert said.keys() == {
        *("code.commit", "environment.lock", "environment.interpreter", "environment.installed"),
        *("platform", "run.started", "result.usage", "inputs", "outputs", "logs"),
    }


def test_a_run_whose_worker_was_killed_is_lost_and_says_what_is_not_known(store):
    run = a_run(store)
    dead = replace(myself(), started="1")
    begin(run, worker=dead, child=dead)
    (run.path / "claim.json").unlink()
    claim(run, dead)
    record = compose(run, store)
    assert record.run.status == "lost"
    assert record.platform is not None
    assert gaps(record)["result.usage"] == "the worker did not see the command end"
    assert "outputs" in gaps(record)


def test_a_run_that_goes_on_has_the_status_of_this_moment_and_no_outcome(store):
    run = a_run(store)
    assert compose(run, store).run.status == "planned"
    run.ticket.write_text('{"run": "x", "backend": "slurm", "directory": "/", "data": {"launcher": "slurm", "job": 7}}')
    record = compose(run, store)
    assert (record.run.status, record.execution.launcher, record.execution.job_id) == ("submitted", "slurm", "7")
    begin(run)
    record = compose(run, store)
    assert (record.run.status, record.run.ended, record.run.duration) == ("running", None, None)
    assert gaps(record)["result.usage"] == "the run is running"
    assert not run.record.exists()


def test_the_hosts_own_environment_has_no_lock_and_says_so(store):
    run = a_run(store)
    run.write(InstalledEnvironment("host", "", "", INTERPRETER))
    said = gaps(compose(end(run), store))
    assert said["environment.lock"] == "the host's own environment was used as it was: it has no lock"
    assert "environment.interpreter" not in said


def test_a_gap_that_was_noted_while_the_run_went_on_is_kept_and_not_doubled(store):
    source = SourceFacts("git", "/x", gaps=(Gap("commit", "dubious ownership"), Gap("code.lfs", "not installed")))
    run = a_run(store, source=source)
    begin(run, host=replace(HOST, gaps=(Gap("memory", "no /proc"),)))
    run.write_files(run.outputs, Files(gaps=(Gap("outputs", "too many"),), ambiguous=("train.py",)))
    run.write_files(run.inputs, Files(ambiguous=("train.py", "another run")))
    record = compose(end(run, gaps=(Gap("usage", "no rusage"),)), store)
    said = [gap.field for gap in record.gaps]
    assert len(said) == len(set(said))
    assert gaps(record)["code.commit"] == "dubious ownership"
    assert gaps(record)["result.usage"] == "no rusage"
    assert {"code.lfs", "platform.memory", "outputs"} <= set(said)
    assert record.result.ambiguous == ("train.py", "another run")


@pytest.mark.parametrize("name", ["environment.json", "start.json", "inputs.json", "outputs.json", "ticket.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"unknown": 1}', b"\xff"])
def test_a_damaged_file_is_a_gap_and_the_rest_is_recorded(store, name, content):
    run = end(a_run(store))
    (run.path / name).write_bytes(content)
    record = compose(run, store)
    assert record.run.status == "succeeded"
    if name != "ticket.json":
        assert any("cannot be read" in gap.reason for gap in record.gaps)


@pytest.mark.parametrize("name", ["request.json", "spec.json", "source.json", "outcome.json"])
def test_without_its_plan_a_run_has_no_record(store, name):
    run = end(a_run(store))
    (run.path / name).write_bytes(b"{")
    with pytest.raises(FormatError, match=name):
        compose(run, store)


def test_producers_are_earlier_runs_the_newest_first_and_not_the_run_itself(store):
    digest = "cd" * 32
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for day in range(1, 30):
        made = end(a_run(store))
        summary = replace(store.index.get(made.id), created=f"2026-01-{day:02}T00:00:00.000+00:00")
        store.index.put(Row(summary, ((digest, "a"), (digest, "b"), (empty, "c"))))
    run = a_run(store, created="2026-01-15T00:00:00.000+00:00")
    seen(
        run, FileFact("x", 1, digest, "observed"), FileFact("y", 0, empty, "observed"), FileFact("z", 9, None, "traced")
    )
    store.index.put(Row(store.index.get(run.id), ((digest, "x"),)))
    record = compose(end(run), store)
    assert len(record.inputs[0].produced_by) == 14
    assert record.inputs[0].produced_by[0] == next(
        each.id for each in store.index.query() if each.created < record.run.created
    )
    assert record.inputs[1].produced_by == ()
    assert record.inputs[2] == Input("z", 9, None, "traced")
    later = a_run(store)
    seen(later, FileFact("x", 1, digest, "observed"))
    record = compose(end(later), store)
    assert len(record.inputs[0].produced_by) == 20
    assert "x was written by more than 20 runs" in gaps(record)["inputs"]


def test_nothing_of_a_urls_userinfo_reaches_the_record(store):
    url = "https://ada:hunter2@host/x"
    environment = EnvironmentSpec("virtualenv", requirements=(f"--index-url {url}",), image=url)
    source = SourceFacts("git", url, url=url, submodules=(Submodule("lib", "e" * 40, url),))
    run = a_run(
        store, spec=a_spec(store, environment=environment), source=source, uri=url, argv=("mlrun", "run", url), why=url
    )
    run.write(InstalledEnvironment("virtualenv", "/e", "/e/bin", INTERPRETER, packages=(Package("p", "1", (), url),)))
    begin(run, environ={"DATABASE": url})
    text = json.dumps(encode(compose(end(run), store)))
    assert "hunter2" not in text
    assert text.count("https://host/x") >= 9


def test_a_command_that_ran_past_its_time(store):
    record = compose(end(a_run(store), "failed", reason="timeout", signal=15, exit_code=None), store)
    assert (record.result.timed_out, record.result.signal, record.result.exit_code) == (True, 15, None)
