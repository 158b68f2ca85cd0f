"""Write a run out as a standard of provenance: a document of text, or a crate with the run's files."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.errors import MlrunError, StoreError, UsageError
from runner.flow.share import collect
from runner.records.exports import ro_crate
from runner.records.exports.gather import LOGS
from runner.records.exports.ro_crate import Enclosed, Role
from runner.records.finish import finish
from runner.records.model import Record
from runner.records.results import Input, Output
from runner.records.seal import parse
from runner.store.settings import Identity
from runner.store.store import Store
from runner.worker.files import Json, canonical, pretty
from runner.worker.hashing import sha256_of_file
from runner.worker.look import look
from runner.worker.manifest import decode_manifest, materialise
from runner.worker.objects import clone_or_copy
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first day of zip


def document(run: RunDirectory, store: Store, form: str) -> bytes:
    """Return an ended run as `prov`, `slsa` or `openlineage`; MlrunError for one that goes on."""
    if not look(run).ended:
        message = f"the run {run.id} has not ended"
        raise MlrunError(message, hint=f"`mlrun wait {run.id}` waits until it has")
    return _FORMS[form](parse(finish(run, store)), run)


def _prov(record: Record, run: RunDirectory) -> bytes:
    from runner.records.exports.prov import export_prov

    del run
    return pretty(export_prov(record))


def _slsa(record: Record, run: RunDirectory) -> bytes:
    from runner.records.exports.slsa import export_slsa

    return pretty(export_slsa(record, sha256_of_file(run.record)))


def _openlineage(record: Record, run: RunDirectory) -> bytes:
    from runner.records.exports.openlineage import export_openlineage

    del run
    return b"".join(canonical(event) + b"\n" for event in export_openlineage(record))


_FORMS: dict[str, Callable[[Record, RunDirectory], bytes]] = {
    "prov": _prov,
    "slsa": _slsa,
    "openlineage": _openlineage,
}


def export_crate(
    run: RunDirectory, store: Store, target: Path, identity: Identity, *, logs: bool, observed: bool
) -> tuple[str, ...]:
    """Write a run's crate, a directory or, by its name, a `.zip`; return what to remark. Nothing is overwritten."""
    if os.path.lexists(target):
        message = f"{target} is there already"
        raise UsageError(message, hint="name another place with -o, or move that one away")
    with store.writing():
        gathered = collect(run, store, logs=logs, observed=observed)
        record = parse(finish(run, store))
        crate = _Crate(run, record, gathered.places)
        described = ro_crate.describe(record, crate.named(), crate.others(logs=logs), identity)
        aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            _fill(aside, crate, described, run, store)
            _pack(aside, target) if target.suffix == ".zip" else aside.rename(target)
        except OSError as error:
            message = f"cannot write {target}: {error.strerror}"
            raise StoreError(message, hint="free some space, or name another place with -o") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    lacks = [name for name, value in (("organisation", identity.organisation), ("orcid", identity.orcid)) if not value]
    missing = f"config.toml names no {' and no '.join(lacks)}: the crate recommends them" if lacks else ""
    return (*gathered.remarks, *([missing] if missing else []))


class _Crate:
    """Which files a crate has, and where their bytes are."""

    def __init__(self, run: RunDirectory, record: Record, places: dict[str, Path]) -> None:
        self._run, self._record, self._places = run, record, places
        self.sources: dict[str, Path] = {}  # place in the crate -> file

    def named(self) -> dict[Role, Enclosed]:
        """Return the files that the run read and wrote and whose bytes are here."""
        found: dict[Role, Enclosed] = {}
        items: list[Input | Output] = [*self._record.outputs, *self._record.inputs]
        for item in items:
            sha256 = "" if item.digest is None else item.digest.sha256
            origin = self._places.get(sha256)
            if origin is None or origin.stat().st_size != item.size:
                continue  # a directory's digest names a list of its files
            place = f"{'outputs' if isinstance(item, Output) else 'inputs'}/{_inside(item.path)}"
            if place not in self.sources:
                found[type(item), item.path] = self._enclose(place, origin, sha256)
        return found

    def others(self, *, logs: bool) -> list[Enclosed]:
        """Return the record and its seal, the lock, and, where they are asked for, the logs."""
        run, lock = self._run, self._record.environment.lock
        names = [run.record.name, run.seal.name, *(LOGS if logs else ())]
        files = [(name, run.path / name) for name in names if (run.path / name).is_file()]
        if lock is not None and lock.sha256 in self._places:
            files.append(("environment.lock", self._places[lock.sha256]))
        return [self._enclose(name, path, sha256_of_file(path)) for name, path in files]

    def _enclose(self, place: str, origin: Path, sha256: str) -> Enclosed:
        self.sources[place] = origin
        return Enclosed(place, origin.stat().st_size, sha256)


def _inside(path: str) -> str:
    """Return where an input or output lies in the crate: by its path, or its name where it came from elsewhere."""
    # Bytes that are no UTF-8 are written as URIs have them: a crate's metadata can name them no other way.
    text = "".join(f"%{ord(one) - 0xDC00:02X}" if "\udc80" <= one <= "\udcff" else one for one in path)
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    return parts[-1] if "://" in path or path.startswith("/") else "/".join(parts)


def _fill(aside: Path, crate: _Crate, described: Json, run: RunDirectory, store: Store) -> None:
    source = aside / ro_crate.SOURCE
    aside.mkdir()
    source.mkdir()
    entries = decode_manifest(store.objects.read(run.read(RunSpec).snapshot.manifest))
    materialise([entry for entry in entries if store.objects.has(entry.sha256)], store.objects, source)
    for place, origin in crate.sources.items():
        (aside / place).parent.mkdir(parents=True, exist_ok=True)
        clone_or_copy(origin, aside / place)
        (aside / place).chmod(0o644)
    (aside / ro_crate.METADATA).write_text(json.dumps(described, indent=1) + "\n")


def _pack(directory: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(directory):
            info = zipfile.ZipInfo(path.relative_to(directory).as_posix(), _EPOCH)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with path.open("rb") as origin, archive.open(info, "w", force_zip64=True) as member:
                shutil.copyfileobj(origin, member)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file() and not path.is_symlink())
