"""Apptainer's images: files of their own, in the cache by the name they were pulled by, or where the project says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.containers.engines import Engine
from runner.worker.containers.image import Image
from runner.worker.containers.images import Say, gone, last_line
from runner.worker.containers.lock import ImageLock
from runner.worker.hashing import sha256_of
from runner.worker.stat_cache import StatCache
from runner.worker.tools import stream
from runner.worker.values import dataclass


@dataclass(frozen=True)
class SifImages:
    """Files that apptainer made of a registry's images, and those that a project names by their path."""

    engine: Engine
    cache: Path
    project: Path

    def look_up(self, name: str) -> Optional[Image]:
        """Return the file of a name; it is hashed where its state is new."""
        place = self._place(name)
        try:
            status = os.stat(place)
        except FileNotFoundError:
            return None
        known = StatCache(self.cache / "stat.sqlite")
        sha256 = known.digest(str(place), status)
        known.save()
        digests = (name.partition("://")[2] or name,) if "@sha256:" in name else ()
        return Image(sha256, str(place), digests, platform=f"linux/{os.uname().machine}")

    def pull(self, name: str, say: Say) -> Image:
        """Have apptainer make a file of a registry's image, aside first."""
        place = self._place(name)
        if _is_path(name):
            message = f"the image {name} is not there ({place})"
            raise EnvironmentBuildError(message, hint="correct `image:` under docker_env")
        say(f"pulling the image {name}")
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = place.with_name(f".{place.stem}.{os.getpid()}.sif")
        try:
            done = stream([self.engine.program, "pull", "--force", str(aside), _source(name)], lambda _: None)
            if done.code != 0:
                message = f"the image {name} is not here, and {self.engine.version} cannot pull it: "
                raise EnvironmentBuildError(message + last_line(done.complaint), hint="pulling needs the network")
            aside.replace(place)
        finally:
            aside.unlink(missing_ok=True)
        image = self.look_up(name)
        assert image is not None
        return image

    def pinned(self, lock: ImageLock, say: Say, *, offline: bool) -> Image:
        """Return the file of a lock; pulled again by a registry's digest, where the lock has one."""
        image = self.look_up(lock.image)
        if image is not None and image.id == lock.id:
            return image
        for name in lock.digests:  # docker or podman may have locked it: the digest is the registry's
            image = self.look_up(name) or (None if offline else self.pull(name, say))
            if image is not None:
                return image
        reason = "the file here is another one" if image is not None else "the file is not here"
        raise gone(lock, reason, "copy the .sif file, and name it as `image:`")

    def _place(self, name: str) -> Path:
        if _is_path(name):
            return self.project / os.path.expanduser(name)
        return self.cache / "images" / f"{sha256_of(name.encode())[:32]}.sif"


def _is_path(name: str) -> bool:
    return name.endswith(".sif") or name.startswith(("/", "./", "../", "~/"))


def _source(name: str) -> str:
    return name if "://" in name else f"docker://{name}"
