"""What podman said of an image, taken for as long as its store is as it was: its start takes longer than all else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Callable, Optional

from runner.errors import FormatError, StoreError
from runner.worker.codec import decode, encode
from runner.worker.containers.engines import PODMAN, Engine, is_script
from runner.worker.containers.image import Image
from runner.worker.files import Json, canonical, read_json
from runner.worker.files import replace as rewrite
from runner.worker.hashing import sha256_of
from runner.worker.stat_cache import is_settled, stat_key
from runner.worker.values import dataclass

_DECIDING = ("CONTAINERS_", "CONTAINER_", "PODMAN_", "STORAGE_", "REGISTRIES_", "XDG_", "HOME")  # variables
_FILES = ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH")
_FOLDERS = ("/etc/containers", "/usr/share/containers")
_STORE = re.compile(r"\[([\w.-]+)@(/[^+\]\"\\\\]*)\+([^\]]*)\]@([0-9a-f]{64})")  # [DRIVER@ROOT+ELSE]@IMAGE
_DEPTH = 2  # of folders that hold settings: containers.conf.d and the like

Answer = tuple[Optional[Image], str]


@dataclass(frozen=True)
class Seen:
    """CACHE/images/<question>.json: an image that podman had, and the state of what its answer depends on."""

    image: Image
    store: str  # podman's list of its images: a file that it replaces with each change
    state: tuple[int, ...]  # of that file
    settings: str  # digest of the state of podman's own settings
    version: int = 1


def look_up(engine: Engine, cache: Path, name: str, ask: "Callable[..., Answer]") -> Optional[Image]:
    """Return the image of a name, as podman said it where nothing has changed since, else as it says now.

    ``ask`` takes options for podman and returns an image and all else that was said. Only what podman on this machine
    says of its own store is kept, and never that it has no such image.
    """
    if engine.kind != PODMAN or is_script(engine.program):  # which may be the podman of another user or machine
        return ask()[0]
    path, settings = cache / "images" / f"{_question(engine, name, os.environ)}.json", _settings(os.environ)
    known = _read(path)
    if known is not None and known.settings == settings and _is_as_it_was(known):
        return known.image
    began = time.time()
    image, said = ask("--log-level=debug")
    store = _store_in(said, image) if image else ""
    state = _state_of(store)
    if image is not None and state and is_settled(state, began) and _lists(store, image):
        with contextlib.suppress(OSError, StoreError):  # a cache that cannot be written costs time only
            path.parent.mkdir(parents=True, exist_ok=True)
            rewrite(path, canonical(encode(Seen(image, store, state, settings))))
    return image


def _read(path: Path) -> Optional[Seen]:
    try:
        found = decode(Seen, read_json(path))
    except (OSError, FormatError):
        return None
    return found if found.version == 1 else None


def _is_as_it_was(known: Seen) -> bool:
    folder = os.path.join(os.path.dirname(known.store), known.image.id)  # its configuration and manifest
    return _state_of(known.store) == known.state and os.path.isdir(folder)


def _question(engine: Engine, name: str, environ: Mapping[str, str]) -> str:
    program = os.path.realpath(engine.program)
    deciding: dict[str, Json] = {
        "name": name,
        "program": [os.fsencode(program).hex(), *stat_key(os.stat(program))],
        "user": os.geteuid(),
        "environ": {key: value for key, value in environ.items() if key.startswith(_DECIDING)},
    }
    return sha256_of(canonical(deciding))[:32]


def _settings(environ: Mapping[str, str]) -> str:
    """Return a digest of the state of each file that says where podman's store is and what a short name stands for."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    places = [*_FOLDERS, os.path.join(home, "containers"), *(environ[name] for name in _FILES if environ.get(name))]
    states: list[Json] = [[os.fsencode(path).hex(), *key] for place in places for path, key in _states(place, _DEPTH)]
    return sha256_of(canonical(states))


def _states(place: str, depth: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    with contextlib.suppress(OSError):
        status = os.stat(place)
        yield place, stat_key(status)
        if depth and os.path.isdir(place):
            for name in sorted(os.listdir(place)):
                yield from _states(os.path.join(place, name), depth - 1)


def _store_in(said: str, image: Image) -> str:
    """Return where podman lists its images, as it tells on the way; "" where it asks elsewhere, or many stores."""
    found = _STORE.search(said)
    if found is None or found[4] != image.id or "imagestore" in found[3]:
        return ""
    return os.path.join(found[2], f"{found[1]}-images", "images.json")


def _state_of(store: str) -> tuple[int, ...]:
    """Return the state of a file, () where there is none; it is opened, so that a network file system looks anew."""
    try:
        descriptor = os.open(store, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        return stat_key(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _lists(store: str, image: Image) -> bool:
    """Whether a list of images has this one: else it is not the list that the answer came from."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return any(one["id"] == image.id for one in json.loads(Path(store).read_bytes()))
    return False
