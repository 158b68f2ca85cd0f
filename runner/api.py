"""The Python API, in the shape of `mlflow.projects`: `run`, `rerun`, `runs`, and the run that they return."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner import arguments
from runner.backends.choice import Choice, choose
from runner.errors import RunFailedError, RunNotFoundError
from runner.flow.ask import Ask, Containing, Labels
from runner.flow.follow import cancel, refresh, wait
from runner.flow.rerun import AskAgain, start_again
from runner.flow.start import Started, start
from runner.project.parameters import Values
from runner.store.index import Filter, Summary
from runner.store.store import Store
from runner.worker.results import Outcome

if TYPE_CHECKING:
    from runner.flow.judge import Judgement
    from runner.worker.rundir import RunDirectory

ParameterValue = str | int | float | bool | Sequence[str]


class SubmittedRun:
    """A run that was launched; it goes on whatever becomes of this process."""

    def __init__(self, run: RunDirectory, store: Store) -> None:
        """Name the run; `runner.run` and `runner.rerun` make these."""
        self._run = run
        self._store = store

    def __repr__(self) -> str:
        """Return the id, which finds the run anywhere."""
        return f"<SubmittedRun {self.run_id}>"

    @property
    def run_id(self) -> str:
        """The run's id (UUIDv7)."""
        return self._run.id

    @property
    def directory(self) -> Path:
        """The run directory, which holds the record and the logs."""
        return self._run.path

    def wait(self) -> bool:
        """Wait until the run has ended and its record is sealed; whether it succeeded."""
        wait(self._there(), self._store, _Silence())
        return self.get_status() == "succeeded"

    def get_status(self) -> str:
        """Return the state now: planned, submitted, preparing, running, orphaned, succeeded, failed, killed or lost."""
        return refresh(self._store, [self._there()])[self._run.id].name

    def cancel(self) -> None:
        """End the run (TERM, then KILL) and wait until it has ended."""
        cancel(self._there())
        wait(self._run, self._store, _Silence())

    def verdict(self) -> Judgement:
        """Compare this re-run, which has ended, with the run it repeats; MlrunError where it repeats none."""
        from runner.flow.judge import judge

        return judge(self._there(), self._store, {})

    def _there(self) -> RunDirectory:
        if not self._run.path.is_dir():
            message = f"the run {self.run_id} was removed"
            raise RunNotFoundError(message, hint="`mlrun list` shows the runs that are there")
        return self._run


def run(  # noqa: PLR0913 - the shape of mlflow.projects.run
    uri: str | os.PathLike[str],
    entry_point: str = "main",
    version: str | None = None,
    parameters: Mapping[str, ParameterValue] | None = None,
    *,
    env_manager: str | None = None,
    backend: str | None = None,
    backend_config: Mapping[str, object] | str | os.PathLike[str] | None = None,
    on: str | None = None,
    fetch: bool = True,
    storage_dir: str | None = None,
    synchronous: bool = True,
    run_name: str | None = None,
    experiment_name: str | None = None,
    experiment_id: str | None = None,
    tracking_uri: str | None = None,
    why: str = "",
    tags: Mapping[str, str] | None = None,
    isolated: bool = False,
    docker_args: Mapping[str, str | bool] | None = None,
    build_image: bool = False,
    reuse: bool | None = None,
) -> SubmittedRun:
    """Run an entry point of a project, as `mlflow.projects.run` does.

    Parameter values become text through ``str``; a sequence is a `list` parameter. The command's output goes to the
    run's logs. ``on`` names a host (`mlrun host add`), or user@machine, whose outputs come back unless ``fetch`` is
    False; ``backend`` and ``backend_config`` (a mapping, JSON, or a .json file) are for other backends. With
    ``reuse``, a past run's results are taken over where nothing has changed since (None: where $MLRUN_REUSE says so,
    as inside of `mlrun run --reuse`). With ``synchronous``, returns when the run has ended; RunFailedError is raised
    where it did not succeed. Raises another MlrunError, and leaves no run behind, where the project, a value or the
    source is wrong; UsageError for an argument of the wrong type.
    ``tracking_uri`` is a team's MLflow server, where the run appears too (MLFLOW_TRACKING_URI where left out).
    """
    from runner.publishing.destination import destination

    where = destination(
        arguments.text_or_none("tracking_uri", tracking_uri),
        arguments.text_or_none("experiment_name", experiment_name),
        arguments.text_or_none("experiment_id", experiment_id),
    )
    chosen = _chosen(on, backend, backend_config)
    uri = arguments.path("uri", uri)
    ask = Ask(
        uri=uri,
        entry_point=arguments.text("entry_point", entry_point),
        values=Values(arguments.parameters(parameters), {}),
        version=arguments.text_or_none("version", version),
        env_manager=arguments.text_or_none("env_manager", env_manager),
        backend=chosen.backend,
        backend_config=chosen.config,
        fetch=fetch,
        isolated=isolated,
        labels=Labels(
            name=arguments.run_name(run_name),
            why=arguments.text("why", why),
            tags=arguments.texts("tags", tags),
            experiment=where.experiment,
            experiment_id=where.experiment_id,
            tracking_uri=where.tracking_uri,
        ),
        storage_dir=None if storage_dir is None else Path(arguments.path("storage_dir", storage_dir)),
        reuse=bool(os.environ.get("MLRUN_REUSE")) if reuse is None else reuse,
        argv=("runner.run", uri),
        container=Containing(_flags(docker_args), build_image),
    )
    store = Store.open()
    return _submitted(start(ask, store, _ignore, foreground=False), store, synchronous)


def _chosen(on: object, backend: object, config: object) -> Choice:
    names = arguments.text_or_none("on", on), arguments.text_or_none("backend", backend)
    return choose(*names, arguments.backend_config(config))


def _flags(given: Mapping[str, str | bool] | None) -> tuple[str, ...]:
    """Return arguments for a container engine as `-A` has them: True is a flag, and False none."""
    values = arguments.texts("docker_args", given)
    return tuple(
        name if value is True else f"{name}={values[name]}"
        for name, value in (given or {}).items()
        if value is not False
    )


def rerun(  # noqa: PLR0913 - what `run` takes, as far as it can differ
    run_id: str,
    parameters: Mapping[str, ParameterValue] | None = None,
    *,
    allow_changed_inputs: bool = False,
    backend: str | None = None,
    backend_config: Mapping[str, object] | str | os.PathLike[str] | None = None,
    on: str | None = None,
    synchronous: bool = True,
    run_name: str | None = None,
    why: str = "",
) -> SubmittedRun:
    """Run a past run again from its record; `SubmittedRun.verdict` says whether the result is the same.

    Raises RunNotFoundError for an unknown id, ProjectError where inputs are not what they were.
    """
    chosen = _chosen(on, backend, backend_config)
    ask = AskAgain(
        overrides=arguments.parameters(parameters),
        backend=chosen.backend,
        backend_config=chosen.config,
        allow_changed_inputs=allow_changed_inputs,
        labels=Labels(name=arguments.run_name(run_name), why=arguments.text("why", why)),
        argv=("runner.rerun", arguments.text("run_id", run_id)),
    )
    store = Store.open()
    return _submitted(start_again(store.find(run_id), ask, store, _ignore, foreground=False), store, synchronous)


def runs(
    *,
    project: str | None = None,
    entry_point: str | None = None,
    status: str | None = None,
    parameters: Mapping[str, ParameterValue] | None = None,
    tags: Mapping[str, str] | None = None,
    where: str | None = None,
    limit: int | None = None,
) -> list[Summary]:
    """Return the runs of the store that fit, the newest first; ``where`` is a condition as `mlrun list` takes it."""
    from runner.store.expression import parse

    wanted = Filter(
        project=arguments.text_or_none("project", project),
        entry_point=arguments.text_or_none("entry_point", entry_point),
        status=arguments.status(status),
        params=arguments.texts("parameters", parameters),
        tags=arguments.texts("tags", tags),
        where=None if where is None else parse(arguments.text("where", where)),
    )
    most = arguments.limit(limit)
    store = Store.open()
    refresh(store)
    return store.index.query(wanted, limit=most)


def _submitted(started: Started, store: Store, synchronous: bool) -> SubmittedRun:
    submitted = SubmittedRun(started.run, store)
    if synchronous and not submitted.wait():
        outcome = started.run.find(Outcome)
        why = f": {outcome.error.message}" if outcome is not None and outcome.error is not None else ""
        message = f"run {started.run.id} {submitted.get_status()}{why}"
        raise RunFailedError(message, hint=f"`mlrun show {started.run.id}` and `mlrun logs {started.run.id}` say more")
    return submitted


def _ignore(text: str) -> None:
    del text


class _Silence:
    """A sink that shows nothing: the logs have it all."""

    def stdout(self, data: bytes) -> None:
        """Ignore."""

    def stderr(self, data: bytes) -> None:
        """Ignore."""

    def progress(self, text: str) -> None:
        """Ignore."""
