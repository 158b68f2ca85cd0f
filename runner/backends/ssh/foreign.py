"""uv for a machine on which the one of here does not run: of the same version, out of a wheel from the user's index."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from runner.backends.ssh.downloading import download, manylinux, musllinux
from runner.backends.ssh.seed import shelf_of_uvs, short
from runner.environments.installer import configured
from runner.errors import EnvironmentBuildError, IntegrityError, StoreError
from runner.worker.environment.uv import unfit, version_of
from runner.worker.remote.kit import Machine

_PROCESSORS = {"i386": "i686", "i486": "i686", "i586": "i686", "armv8l": "armv7l"}  # as the tags of wheels have them
_KERNEL_OF_11 = 20  # of macOS
_BLOCK = 1 << 20


def fetch(uv: str, own: str, machine: Machine, cache: Path) -> None:
    """Fetch a uv of the version of here that runs on a machine; ``own`` is the digest of the one of here.

    EnvironmentBuildError where no index has one, IntegrityError where its bytes are not what the wheel promises.
    """
    reason = unfit(uv)
    if reason:
        message = f"which version is wanted cannot be told: {uv} {reason}"
        raise EnvironmentBuildError(message)
    version = version_of(uv).rpartition(" ")[2]
    directory = shelf_of_uvs(cache) / f"{version}_{short(own)}_{machine.family}"
    aside = directory.with_name(f".{directory.name}.{os.getpid()}")
    try:
        aside.mkdir(parents=True)
        try:
            _extract(_wheel(version, machine, aside), aside / "uv")
            if not directory.exists():
                aside.rename(directory)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        message = f"cannot write {error.filename or directory}: {error.strerror}"
        raise StoreError(message, hint="free some space, or point MLRUN_CACHE elsewhere") from error


def _wheel(version: str, machine: Machine, directory: Path) -> Path:
    platforms = [word for tag in _tags(machine) for word in ("--platform", tag)]
    if not platforms:
        message = f"there are no wheels for {machine.family}"
        raise EnvironmentBuildError(message)
    reason = download([f"uv=={version}", *platforms], configured(os.environ), directory)
    if reason:
        message = f"uv {version} cannot be fetched for {machine.family}: {reason}"
        raise EnvironmentBuildError(message)
    (wheel,) = directory.glob("uv-*.whl")
    return wheel


def _tags(machine: Machine) -> Iterator[str]:
    """Yield the platform tags of wheels whose uv runs on a machine: first those that bring along their libraries."""
    processor = _PROCESSORS.get(machine.processor, machine.processor)
    if machine.system == "Linux":
        yield from musllinux(processor)
        yield f"linux_{processor}"
        if "." in machine.release:
            yield from manylinux(processor, machine.release)
    elif machine.system == "Darwin":
        kernel = int(machine.release.partition(".")[0])  # that of macOS 10.15 is 19.6, that of macOS 11 is 20.1
        yield f"macosx_{f'{kernel - 9}_0' if kernel >= _KERNEL_OF_11 else f'10_{kernel - 4}'}_{processor}"


def _extract(wheel: Path, target: Path) -> None:
    """Take uv alone out of its wheel, checked against the wheel's own list; IntegrityError where it is damaged."""
    distribution = "-".join(wheel.name.split("-")[:2])
    member = f"{distribution}.data/scripts/uv"
    try:
        with zipfile.ZipFile(wheel) as archive:
            listed = archive.read(f"{distribution}.dist-info/RECORD").decode().splitlines()
            digest, size = next((row[1], int(row[2])) for row in csv.reader(listed) if row[0] == member)
            found, left = hashlib.sha256(), size
            with archive.open(member) as stream, target.open("wb") as file:
                while (block := stream.read(min(_BLOCK, left + 1))) and left >= 0:
                    found.update(block)
                    file.write(block)
                    left -= len(block)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
        ValueError,
        IndexError,
        StopIteration,
        RuntimeError,
    ) as error:
        message = f"{wheel.name} is damaged, or holds no uv: {error or type(error).__name__}"
        raise IntegrityError(message, hint="see what your package index gives out") from error
    if left or digest != "sha256=" + base64.urlsafe_b64encode(found.digest()).rstrip(b"=").decode():
        message = f"{wheel.name} is damaged: its uv is not the one that it lists"
        raise IntegrityError(message, hint="see what your package index gives out")
    wheel.unlink()
    target.chmod(0o755)
