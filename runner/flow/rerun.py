"""Run a past run again from its record alone, pinned to what was installed, and say whether the result is the same."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from runner.backends.backend import Backend, Launch
from runner.backends.warm import dismissed_on_error, expect, warmed
from runner.environments.installer import configured
from runner.errors import IntegrityError, ProjectError
from runner.flow import logged
from runner.flow.ask import Labels, Say
from runner.flow.away import ticket_of
from runner.flow.containing import copied_variables
from runner.flow.follow import record_of
from runner.flow.prepare import Prepared, find_uv, secret_values
from runner.flow.start import UNINTERRUPTED, Interrupts, Started, make, request_for, submit
from runner.planning import refuse_inputs_outside
from runner.project.load import find_entry_point, load
from runner.project.parameters import Values, resolve
from runner.records.origin import origin_of
from runner.records.rerun import InputCheck, check_inputs, pinned_spec
from runner.store.store import Store
from runner.worker.environment.uv import AS_OF
from runner.worker.execution.digests import Digests
from runner.worker.facts import Request, SourceFacts
from runner.worker.manifest import decode_manifest, materialise
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass


@dataclass(frozen=True)
class AskAgain:
    """A request to run a past run again."""

    overrides: tuple[tuple[str, str], ...] = ()
    allow_changed_inputs: bool = False
    validate: bool = True
    backend: str = "local"
    backend_config: Mapping[str, Any] = field(default_factory=dict)
    fetch: bool = True
    labels: Labels = field(default_factory=Labels)
    keep_work: bool = False
    keep_outputs: bool = False  # store undeclared outputs too
    trace: bool = True
    argv: tuple[str, ...] = ()


def prepare_again(past: RunDirectory, ask: AskAgain, store: Store) -> Prepared:
    """Plan a re-run; its remarks say of inputs that are not what they were.

    ProjectError where inputs changed or vanished, IntegrityError where the source is not whole.
    """
    record = record_of(past, store)
    spec = pinned_spec(past)
    if ask.overrides:
        spec = override(spec, ask.overrides, store, validate=ask.validate)
    refuse_inputs_outside(spec)
    refuse_lost_source(past, spec, store)
    inputs = check_inputs(past, record, spec, store.cache)
    refuse_changed(inputs, ask.allow_changed_inputs)
    if ask.allow_changed_inputs:
        spec = replace(spec, inputs=tuple(replace(item, sha256=None) for item in spec.inputs))
    before = past.read_files(past.inputs)
    launch = Launch(
        root=None,
        inputs={item.name: item.place for item in inputs if item.usable or item.changed},
        directories=() if before is None else before.directories,
        secrets={**copied_variables(spec.environment, os.environ), **secret_values(spec.secrets, os.environ)},
        installer=_installer(spec, past.read(Request)),
        foreground=True,
        python=sys.executable,
        uv=find_uv(),
        keep_work=ask.keep_work,
        keep_outputs=ask.keep_outputs,
        trace=ask.trace,
        fetch=ask.fetch,
        lenient=_is_elsewhere(past, ask),
    )
    request = past.read(Request)
    notes = (*_dated(spec, request), *(f"note: {item.note}" for item in inputs if item.note))
    return Prepared(spec, past.read(SourceFacts), launch, request.uri, Path(request.cwd), notes)


def _installer(spec: RunSpec, request: Request) -> Mapping[str, str]:
    """Return this machine's indexes for uv; and the day of a run that has left no lock, for packages as of then."""
    variables = dict(configured(os.environ))
    if spec.environment.kind == "virtualenv" and spec.environment.lock is None:
        variables[AS_OF] = request.created.replace("+00:00", "Z")
    return variables


def _dated(spec: RunSpec, request: Request) -> Iterator[str]:
    if AS_OF in _installer(spec, request):
        yield f"note: the run has left no lock; its packages are resolved as of its own date, {request.created}"


def start_again(
    past: RunDirectory,
    ask: AskAgain,
    store: Store,
    say: Say,
    *,
    foreground: bool = True,
    backend: Backend | None = None,
    interrupts: Interrupts = UNINTERRUPTED,
) -> Started:
    """Launch a re-run of ``past``; ``backend`` and ``interrupts`` are as in ``start``."""
    backend = backend or warmed(ask.backend, foreground=foreground, config=ask.backend_config)
    with dismissed_on_error(backend), store.writing():
        prepared = prepare_again(past, ask, store)
        expect(backend)
        labels, identity = _labels(past, ask), store.new_id()
        request = request_for(prepared, labels, ask.argv, identity, backend=ask.backend, rerun_of=past.id)
        run = make(prepared, request, store, say, interrupts)
    launch = replace(prepared.launch, foreground=foreground, say=say)
    return submit(run, store, backend, launch, prepared.spec, interrupts)


def _labels(past: RunDirectory, ask: AskAgain) -> Labels:
    """Return what is said of the re-run; it belongs to the experiment of the run that it repeats."""
    if ask.labels.experiment is not None or ask.labels.experiment_id is not None:
        return ask.labels
    request = past.read(Request)
    same = ask.labels.tracking_uri in (None, request.tracking_uri)  # a number says nothing to another server
    identity = request.experiment_id if same else None
    return replace(ask.labels, experiment=request.experiment, experiment_id=identity)


def _is_elsewhere(past: RunDirectory, ask: AskAgain) -> bool:
    """Whether a run is repeated on another machine than that it was made on, as far as is known."""
    ticket = ticket_of(past)
    if ask.backend == "local" and ticket is None:
        return origin_of(past) is not None
    return ticket is None or ticket.backend != ask.backend or ticket.data.get("host") != ask.backend_config.get("host")


def refuse_lost_source(past: RunDirectory, spec: RunSpec, store: Store) -> None:
    """Raise IntegrityError, a line for each, where files too large to be stored are not what they were any more."""
    source = past.read(SourceFacts)
    if not source.not_stored:
        return
    entries = {
        os.fsdecode(entry.path): entry.sha256 for entry in decode_manifest(store.objects.read(spec.snapshot.manifest))
    }
    digests = Digests(store.cache)
    lost = []
    for path in source.not_stored:
        place = Path(source.root) / path
        try:
            same = store.objects.has(entries[path]) or digests.of(str(place), place.stat()) == entries[path]
        except (OSError, KeyError):
            lost.append(f"{path} is gone: it was at {place}")
        else:
            lost += [] if same else [f"{path} has changed, at {place}"]
    digests.save()
    if lost:
        message = "source files that were too large to be stored are not what they were:\n  " + "\n  ".join(lost)
        raise IntegrityError(message, hint="bring the old bytes back, or run again from the source")


def refuse_changed(inputs: tuple[InputCheck, ...], allowed: bool) -> None:
    """Raise ProjectError, a line for each, where inputs that stop a re-run are not what they were."""
    changed = [item.note for item in inputs if item.stops]
    if changed and not allowed:
        message = "inputs are not what they were:\n  " + "\n  ".join(changed)
        raise ProjectError(message, hint="restore them, or pass --allow-changed-inputs to run with what is there now")


def override(spec: RunSpec, overrides: tuple[tuple[str, str], ...], store: Store, *, validate: bool = True) -> RunSpec:
    """Return the spec with other values for some parameters, resolved as the project of that time declares them.

    Nothing is resolved anew of the others: where a default lay then is no matter of where we are now.
    """
    changed = {name for name, _ in overrides}
    with _project_of(spec, store) as directory:
        entry = find_entry_point(load(directory), spec.entry_point)
        declared = {name: one for name, one in entry.parameters.items() if name in changed}
        resolved = resolve(
            replace(entry, parameters=declared, inputs=()),
            Values(overrides, {}),
            caller=Path.cwd(),
            project=directory,
            downloads=store.cache / "downloads",
            logged=lambda name, uri: logged.locate(store, store.cache / "downloads", name, uri),
            validate=validate,
        )
    again = {parameter.name: parameter for parameter in resolved.parameters}
    kept = tuple(again.pop(parameter.name, parameter) for parameter in spec.parameters)
    return replace(
        spec,
        parameters=(*kept, *again.values()),
        inputs=(*(item for item in spec.inputs if item.parameter not in changed), *resolved.inputs),
    )


@contextmanager
def _project_of(spec: RunSpec, store: Store) -> Iterator[Path]:
    """Bring a run's source out into a directory for as long as the context lasts; what is not stored is left out."""
    entries = decode_manifest(store.objects.read(spec.snapshot.manifest))
    with tempfile.TemporaryDirectory(prefix="mlrun-") as name:
        tree = Path(name) / "tree"
        tree.mkdir()
        materialise([entry for entry in entries if store.objects.has(entry.sha256)], store.objects, tree)
        yield tree / spec.snapshot.subdirectory
