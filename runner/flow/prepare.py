"""From what is asked to what will run: fetch, load, snapshot, plan. What is wrong fails here, before a run exists."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from runner import planning
from runner.backends.backend import Launch
from runner.environments.locks import deciding, refuse_unusable
from runner.environments.plan import Planned
from runner.environments.plan import plan as plan_environment
from runner.errors import ProjectError, UsageError
from runner.flow.ask import Ask, Say
from runner.flow.containing import contained, copied_variables
from runner.project.load import find_entry_point, load
from runner.project.model import EntryPoint
from runner.project.parameters import Resolved, resolve
from runner.sources.fetch import Source, fetch
from runner.sources.snapshot import SIZE_CAP, Captured, take
from runner.store.store import Store
from runner.worker.execution.declared import reach
from runner.worker.execution.scan import bare, scan
from runner.worker.facts import SourceFacts
from runner.worker.globs import expand
from runner.worker.manifest import decode_manifest
from runner.worker.spec import Input, RunSpec
from runner.worker.stat_cache import StatCache
from runner.worker.values import dataclass

_NAMED = 5  # files that one line names


@dataclass(frozen=True)
class Prepared:
    """A planned run that exists nowhere yet, with what its backend needs to know of this host."""

    spec: RunSpec
    source: SourceFacts
    launch: Launch
    display: str  # the source's URI without userinfo
    project: Path  # the project's directory; it may be gone once the run is created
    remarks: tuple[str, ...] = ()  # lines to say before it runs
    products: tuple[str, ...] = ()  # what any entry point of the project is declared to write


@contextmanager
def prepare(ask: Ask, store: Store, say: Say) -> Iterator[Prepared]:
    """Plan a run; the fetched source lives as long as the context. Any MlrunError here leaves no trace of a run."""
    caller = Path.cwd()
    with fetch(ask.uri, version=ask.version, caller=caller, cache=store.cache, say=say) as source:
        project = load(source.project)
        entry = find_entry_point(project, ask.entry_point)
        resolved = _resolved(ask, entry, source, caller, store)
        refuse_missing(resolved.inputs, source.project)
        secrets = secret_values(entry.secrets, os.environ)
        environment = plan_environment(
            source.project, planning.choice_of(project, entry), manager=ask.env_manager, caller_environ=os.environ
        )
        environment.expect_set()
        environment = contained(environment, ask)
        refuse_unusable(source.project, environment.spec, store.cache, here=ask.backend == "local", upgrade=ask.upgrade)
        captured = _captured(ask, [entry, *project.entry_points.values()], source, store)
        spec = planning.plan(project, entry, resolved, captured.snapshot, environment.spec)
        in_place = source.in_place and not ask.isolated
        if not in_place:
            planning.refuse_inputs_outside(spec)
        launch = Launch(
            root=source.root if in_place else None,
            inputs=_places(spec, resolved.places, source),
            directories=() if in_place and ask.backend == "local" else _bare(spec, source, store),
            secrets={**copied_variables(spec.environment, os.environ), **secrets},
            installer=_installer(ask, environment, source.project),
            foreground=True,
            upgrade=ask.upgrade,
            upgrade_packages=ask.upgrade_packages,
            python=sys.executable,
            uv=find_uv(),
            keep_work=ask.keep_work,
            keep_outputs=ask.keep_outputs,
            trace=ask.trace,
            fetch=ask.fetch,
        )
        warnings = tuple(f"warning: {warning}" for warning in environment.warnings)
        remarks = (*warnings, *_too_large(captured.facts))
        products = _written([entry, *project.entry_points.values()])
        yield Prepared(spec, captured.facts, launch, source.display, source.project, remarks, products)


def _bare(spec: RunSpec, source: Source, store: Store) -> tuple[str, ...]:
    """Return the directories of the project that no snapshot brings: empty ones, and those that git ignores."""
    prefix = f"{spec.snapshot.subdirectory}/" if spec.snapshot.subdirectory else ""
    paths = (os.fsdecode(entry.path) for entry in decode_manifest(store.objects.read(spec.snapshot.manifest)))
    skip = {os.path.realpath(path) for path in (store.root, store.cache)}
    root = os.path.realpath(source.project)
    listing = reach(root, scan(root, skip), spec.written, skip)
    return bare(listing, [path[len(prefix) :] for path in paths if path.startswith(prefix)])


def _installer(ask: Ask, environment: Planned, project: Path) -> Mapping[str, str]:
    """Return variables for uv; UsageError where a date is given for what a lock decides."""
    if ask.exclude_newer is None:
        return environment.installer
    lock = "" if ask.upgrade else deciding(project, environment.spec)
    if lock:
        message = f"--exclude-newer: {lock} is the project's lock, and decides"
        raise UsageError(message, hint="`mlrun lock --upgrade --exclude-newer DATE` makes it anew as of a date")
    return {**environment.installer, "UV_EXCLUDE_NEWER": ask.exclude_newer}


def refuse_missing(inputs: Iterable[Input], project: Path) -> None:
    """Raise ProjectError, naming all of them, where declared inputs are not there; `path` values were looked for."""
    declared = [each.path for each in inputs if each.parameter is None]
    missing = [path for path in declared if not (project / path).exists() and not any(expand(project, path))]
    if missing:
        message = f"declared inputs are missing: {', '.join(missing)}"
        raise ProjectError(message, hint=f"they are looked for in {project}; bring them there, or correct `inputs:`")


def secret_values(names: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets' values from the caller's environment; ProjectError names all that are not set."""
    missing = [name for name in names if name not in environ]
    if missing:
        message = f"the project declares secrets that are not set here: {', '.join(missing)}"
        raise ProjectError(message, hint=f"export {missing[0]}=... before `mlrun run`; its value is never recorded")
    return {name: environ[name] for name in names}


def find_uv() -> str | None:
    """Return where the uv that came with mlrun lies; None where there is none, and PATH has to do."""
    import uv

    try:
        return os.fspath(uv.find_uv_bin())
    except FileNotFoundError:
        return None


def _resolved(ask: Ask, entry: EntryPoint, source: Source, caller: Path, store: Store) -> Resolved:
    downloads = ask.storage_dir or store.cache / "downloads"
    resolved = resolve(
        entry,
        ask.values,
        caller=caller,
        project=source.project,
        downloads=downloads,
        logged=lambda name, uri: _logged(store, downloads, name, uri),
        validate=ask.validate,
    )
    return resolved if source.in_place else _relative(resolved)


def _logged(store: Store, downloads: Path, name: str, uri: str) -> str:
    from runner.flow import logged

    return logged.locate(store, downloads, name, uri)


def _too_large(facts: SourceFacts) -> tuple[str, ...]:
    """Say which source files are recorded by digest alone."""
    if not facts.not_stored:
        return ()
    more = f" and {len(facts.not_stored) - _NAMED} more" if len(facts.not_stored) > _NAMED else ""
    names = ", ".join(facts.not_stored[:_NAMED])
    return (f"note: above the size cap, so recorded by digest and not stored: {names}{more}",)


def _written(entries: Iterable[EntryPoint]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for entry in entries for path in (*entry.outputs, *entry.metrics)))


def _captured(ask: Ask, entries: Iterable[EntryPoint], source: Source, store: Store) -> Captured:
    """Take the snapshot. What any entry point is declared to write is no source, where git does not track it."""
    cache = StatCache(store.cache / "stat.sqlite")
    captured = take(
        source,
        store.objects,
        cache,
        outputs=_written(entries),
        skip=(store.root, store.cache),
        size_cap=SIZE_CAP if ask.size_cap is None else ask.size_cap,
    )
    cache.save()
    return captured


def _places(spec: RunSpec, places: Mapping[str, str], source: Source) -> dict[str, str]:
    """Where each input lies on this host: a `path` value where the user has it, a declared one in the project."""
    declared = {item.name: os.fspath(source.project / item.path) for item in spec.inputs if item.parameter is None}
    return {**declared, **places}


def _relative(resolved: Resolved) -> Resolved:
    """Name the `path` values inside a fetched source by their place in it: the directory it lies in now will go."""
    inside = {item.name: item.path for item in resolved.inputs if not item.path.startswith("/")}
    parameters = tuple(
        replace(parameter, raw=inside[parameter.input]) if parameter.input in inside else parameter
        for parameter in resolved.parameters
    )
    return replace(resolved, parameters=parameters)
