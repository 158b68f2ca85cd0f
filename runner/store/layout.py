"""A store's directories on disk: made on first use, private, with a README that says what they are."""

from __future__ import annotations

import os
from pathlib import Path

from runner.errors import StoreError
from runner.worker.files import write_once

VERSION = 1
ASIDE = "tmp"  # runs on their way in and out: in `runs` itself they would change its mtime

_README = b"""\
This directory is the store of mlrun. It holds the runs of this user; it is never deleted from without being asked.

  runs/<id>/    a run: what was asked, what ran, what came out, and the sealed record of it (record.json)
  objects/      source files, declared outputs and locks, named by their sha256 and shared by all runs; read-only
  index.sqlite  derived from runs/; it may be deleted, and is made anew

`mlrun rm ID` removes a run, `mlrun gc` the objects that no run needs any more. A copy of this directory is a backup.
"""


def make(root: Path) -> None:
    """Make what is missing of a store; StoreError where that cannot be, or where a newer mlrun has made it."""
    version = root / "VERSION"
    try:
        found = version.read_bytes()
    except FileNotFoundError:
        _begin(root, version)
        found = _read(version)
    except OSError as error:
        raise _refused(root, error) from None
    if found.strip() != str(VERSION).encode():
        _refuse_version(root, found)


def make_directory(path: Path) -> None:
    """Make a private directory and those above it; StoreError where that cannot be."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(path, error) from None


def _begin(root: Path, version: Path) -> None:
    make_directory(root)
    if os.access(root, os.W_OK):
        root.chmod(0o700)
    make_directory(root / "runs")
    make_directory(root / "objects")
    write_once(root / "README", _README)
    write_once(version, f"{VERSION}\n".encode())


def _read(version: Path) -> bytes:
    try:
        return version.read_bytes()
    except OSError as error:
        raise _refused(version.parent, error) from None


def _refused(path: Path, error: OSError) -> StoreError:
    message = f"cannot use {path}: {error.strerror}"
    return StoreError(message, hint="point MLRUN_HOME and MLRUN_CACHE at directories you can write to")


def _refuse_version(root: Path, found: bytes) -> None:
    number = found.strip().decode("ascii", "replace")
    if number.isdecimal() and int(number) > VERSION:
        message = f"the store at {root} is of version {number}, which a newer mlrun made; this one knows {VERSION}"
        raise StoreError(message, hint="upgrade mlrun, or point MLRUN_HOME at another directory")
    message = f"the store at {root} has no valid version: its VERSION file holds {number[:20]!r}"
    raise StoreError(message, hint=f"restore the file from a backup; a store of this mlrun has {VERSION}")
