"""What differs between two runs and could explain that their results do: the most telling first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runner.errors import MlrunError
from runner.records.model import Record
from runner.records.seal import parse
from runner.records.verdict import Difference
from runner.worker.files import Json
from runner.worker.manifest import changed, decode_manifest
from runner.worker.objects import Objects

_MOST_FILES = 20  # source files that are named one by one


def explain(before: Record | Json, after: Record | Json, objects: Objects | None = None) -> tuple[Difference, ...]:
    """Return what differs in code, command, parameters, inputs, packages, interpreter, variables and machine.

    With ``objects`` the source files that differ are named.
    """
    first, second = parse(before), parse(after)
    if first.run.started is None or second.run.started is None:  # of a run that never began the rest is not known
        return (*_code(first, second, objects), *_parameters(first, second))
    return (
        *_code(first, second, objects),
        *_parameters(first, second),
        *_inputs(first, second),
        *_packages(first, second),
        *_interpreter(first, second),
        *_variables(first, second),
        *_machine(first, second),
        *_circumstances(first, second),
    )


def _code(first: Record, second: Record, objects: Objects | None) -> Iterator[Difference]:
    if first.code.snapshot != second.code.snapshot:
        yield Difference("code", "snapshot", _revision(first), _revision(second))
        if objects is not None:
            yield from _source_files(first, second, objects)
    yield from _fields(
        "code",
        ("subdirectory", first.code.subdirectory, second.code.subdirectory),
        ("entry point", first.entry_point.name, second.entry_point.name),
        ("command", first.entry_point.template, second.entry_point.template),
        ("strict shell", first.entry_point.strict_shell, second.entry_point.strict_shell),
    )


def _revision(record: Record) -> str:
    code = record.code
    if code.commit is None:
        return f"snapshot {code.snapshot.sha256[:12]}"
    return f"commit {code.commit[:12]}{' and uncommitted changes' if code.dirty else ''}"


def _source_files(first: Record, second: Record, objects: Objects) -> Iterator[Difference]:
    try:
        manifests = [objects.read(code.snapshot.sha256) for code in (first.code, second.code)]
        differing = changed(*map(decode_manifest, manifests))
    except MlrunError:
        return
    for path, (before, after) in list(differing.items())[:_MOST_FILES]:
        old, new = (None if entry is None else entry.sha256[:12] for entry in (before, after))
        note = "the mode changed" if before and after and before.sha256 == after.sha256 else ""
        yield Difference("code", os.fsdecode(path), old, new, note)
    if len(differing) > _MOST_FILES:
        yield Difference("code", f"{len(differing) - _MOST_FILES} more files")


def _parameters(first: Record, second: Record) -> Iterable[Difference]:
    old, new = ({item.name: item.raw for item in record.parameters} for record in (first, second))
    # A `path` value names a place; whether the bytes there differ is told by the inputs.
    paths = {item.name for record in (first, second) for item in record.parameters if item.input is not None}
    note = "the place; the input itself is compared by its digest"
    return (
        Difference(each.what, each.name, each.before, each.after, note if each.name in paths else "")
        for each in _mappings("parameter", old, new)
    )


def _inputs(first: Record, second: Record) -> Iterable[Difference]:
    old, new = (
        {item.parameter or item.path: item.digest.sha256[:12] for item in record.inputs if item.digest is not None}
        for record in (first, second)
    )
    return _mappings("input", old, new)


def _packages(first: Record, second: Record) -> Iterator[Difference]:
    yield from _fields("environment", ("kind", first.environment.kind, second.environment.kind))
    old, new = ({item.name: item for item in record.environment.packages} for record in (first, second))
    versions = [{name: item.version for name, item in packages.items()} for packages in (old, new)]
    yield from _mappings("package", *versions)
    for name in sorted(old.keys() & new.keys()):
        if old[name].version == new[name].version and not _overlap(old[name].digests, new[name].digests):
            yield Difference("package", name, old[name].version, new[name].version, "the same version of other bytes")
    if versions[0] == versions[1]:
        yield from _fields(
            "environment",
            ("image", first.environment.image, second.environment.image),
            (
                "the image itself" if first.environment.container else "installed files",
                _short(first.environment.installed),
                _short(second.environment.installed),
            ),
            ("container engine", _engine(first), _engine(second)),
        )


def _engine(record: Record) -> str | None:
    container = record.environment.container
    return None if container is None else container.engine


def _overlap(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return not first or not second or bool(set(first) & set(second))


def _interpreter(first: Record, second: Record) -> Iterator[Difference]:
    old, new = first.environment.interpreter, second.environment.interpreter
    if old is None or new is None:
        yield from _fields("interpreter", ("interpreter", old and old.version, new and new.version))
        return
    yield from _fields(
        "interpreter",
        ("version", old.version, new.version),
        ("implementation", old.implementation, new.implementation),
        ("abi", old.abi, new.abi),
        ("build", old.build, new.build),
        ("executable", _short(old.digest), _short(new.digest)),
    )


def _variables(first: Record, second: Record) -> Iterable[Difference]:
    return _mappings("variable", first.execution.environ, second.execution.environ)


def _machine(first: Record, second: Record) -> Iterator[Difference]:
    old, new = first.platform, second.platform
    if old is None or new is None:
        return
    yield from _fields(
        "machine",
        ("cpu", old.cpu, new.cpu),
        ("cpu features", " ".join(old.cpu_features), " ".join(new.cpu_features)),
        ("gpus", _gpus(first), _gpus(second)),
        ("architecture", old.machine, new.machine),
        ("libc", old.libc, new.libc),
        ("os", old.os, new.os),
        ("kernel", old.kernel, new.kernel),
        ("cpus", old.cpus, new.cpus),
        ("memory", old.memory, new.memory),
        ("container", old.container, new.container),
        ("host", first.execution.host, second.execution.host),
    )


def _gpus(record: Record) -> str:
    gpus = () if record.platform is None else record.platform.gpus
    return ", ".join(f"{gpu.model} (driver {gpu.driver})" if gpu.driver else gpu.model for gpu in gpus)


def _circumstances(first: Record, second: Record) -> Iterator[Difference]:
    yield from _fields("execution", ("directory", first.execution.mode, second.execution.mode))
    for record, which in ((first, "first"), (second, "second")):
        for what in record.result.ambiguous:
            yield Difference("execution", which + " run", note=what)


def _short(digest: Any) -> str | None:
    return None if digest is None else f"sha256 {digest.sha256[:12]}"


def _fields(what: str, *fields: tuple[str, Any, Any]) -> Iterator[Difference]:
    for name, before, after in fields:
        if before != after:
            yield Difference(what, name, _text(before), _text(after))


def _mappings(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Difference(what, name, before.get(name), after.get(name))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
