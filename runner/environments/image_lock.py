"""`mlrun lock` for a container: writes into the project which image its `docker_env` stands for, by digest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from runner.environments.locked import Locked, write
from runner.errors import MlrunError
from runner.worker.containers.image import Image
from runner.worker.containers.images import Images, refuse_odd
from runner.worker.containers.lock import PROJECT_LOCK, ImageLock, read
from runner.worker.environment.container import images_of, lock_of
from runner.worker.environment.site import Site
from runner.worker.facts import Placement
from runner.worker.objects import Objects
from runner.worker.spec import EnvironmentSpec, RunSpec, Snapshot


def lock_image(
    project: Path,
    environment: EnvironmentSpec,
    *,
    placement: Placement,
    objects: Objects,
    say: Callable[[str], None],
    upgrade: bool,
) -> Locked:
    """Lock the image that the engine has under the project's name for it; pulled where it has none, or to upgrade.

    Where the engine has none and the project is locked already, that very image is brought here.
    """
    from runner.worker.containers.engines import find

    spec = RunSpec("", "", (), "", Snapshot("", "directory"), environment)
    site = Site(spec, placement, objects, project, say, project, {})
    refuse_odd(environment.image or "")
    name, path = environment.image or "", project / PROJECT_LOCK
    before = path.read_bytes() if path.is_file() else None
    images = images_of(site, find(placement.container_engine, os.environ))
    made = lock_of(name, _image(images, name, None if upgrade else _earlier(before, name), say, upgrade=upgrade))
    if made.text() != before:
        write(path, made.text())
    return Locked(path, platform=made.platform, changed=made.text() != before, image=f"sha256:{made.id}")


def _image(images: Images, name: str, earlier: ImageLock | None, say: Callable[[str], None], *, upgrade: bool) -> Image:
    found = None if upgrade else images.look_up(name)
    if found is not None:
        return found
    return images.pull(name, say) if earlier is None else images.pinned(earlier, say, offline=False)


def _earlier(data: bytes | None, name: str) -> ImageLock | None:
    """Return the lock that is there, where it is whole and for the same image: any other is written anew."""
    if data is None:
        return None
    try:
        lock = read(data, PROJECT_LOCK)
    except MlrunError:
        return None
    return lock if lock.image == name else None
