"""The images of docker and podman: looked up, pulled where they are absent, held to the digests of a lock."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Protocol

from runner.errors import EnvironmentBuildError
from runner.worker.containers import daemon, remembered
from runner.worker.containers.engines import DOCKER, PODMAN, START_IT, Engine
from runner.worker.containers.image import Image
from runner.worker.containers.lock import ImageLock
from runner.worker.tools import call, stream
from runner.worker.values import dataclass

Say = Callable[[str], None]

# Of an image's own variables, those that a record shows.
_SHOWN = ("PYTHONUNBUFFERED", "PYTHONHASHSEED", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
_DEBUG = re.compile(r"^time=\S+ level=(debug|info) .*\n?", re.MULTILINE)
_HELP = re.compile(r"Usage: |(Run|See) '\w+ \w+ --help'")
_ABSENT = re.compile(r"no such image|image not known|no such object|not found", re.IGNORECASE)


class Images(Protocol):
    """Where an engine has its images."""

    def look_up(self, name: str) -> Optional[Image]:
        """Return an image that is here, None where it is not."""

    def pull(self, name: str, say: Say) -> Image:
        """Bring an image here; EnvironmentBuildError says why it cannot be had."""

    def pinned(self, lock: ImageLock, say: Say, *, offline: bool) -> Image:
        """Return the very image of a lock; EnvironmentBuildError where it is not to be had."""


@dataclass(frozen=True)
class EngineImages:
    """The images that docker or podman keep."""

    engine: Engine
    cache: Path

    def look_up(self, name: str) -> Optional[Image]:
        """Return an image of the engine's store; EnvironmentBuildError where it does not answer."""
        return remembered.look_up(self.engine, self.cache, name, partial(self._ask, name))

    def _ask(self, name: str, *options: str) -> remembered.Answer:
        said = daemon.image(self.engine, name, os.environ) if self.engine.kind == DOCKER else None
        if said is not None:
            return _image(said), ""
        done = call([self.engine.program, *options, "image", "inspect", name])
        complaint = _DEBUG.sub("", done.complaint).strip()
        if done.code == 0:
            return _image(json.loads(done.stdout)[0]), done.complaint
        if _ABSENT.search(complaint):
            return None, ""
        message = f"{self.engine.version} cannot say whether it has the image {name}: {last_line(complaint)}"
        hint = START_IT if "docker daemon" in complaint else f"see what `{self.engine.kind} image inspect {name}` says"
        raise EnvironmentBuildError(message, hint=hint)

    def pull(self, name: str, say: Say) -> Image:
        """Have the engine pull it, with the logins the engine has."""
        say(f"pulling the image {name}")
        reason = ""
        for full in _names(self.engine, name):
            done = stream([self.engine.program, "pull", full], lambda _: None)
            image = self.look_up(full) if done.code == 0 else None
            if image is not None:
                return image
            reason = last_line(done.complaint)
            if "short-name" not in reason and "unqualified" not in reason:
                break
        absent = "is here as it was" if self.look_up(name) else "is not here"
        message = f"the image {name} {absent}, and {self.engine.version} cannot pull it: {reason}"
        raise EnvironmentBuildError(message, hint=_cure(reason, self.engine))

    def pinned(self, lock: ImageLock, say: Say, *, offline: bool) -> Image:
        """Return the image by its id or its digest, pulled by its digest where it is absent."""
        for name in (f"sha256:{lock.id}", *lock.digests):
            image = self.look_up(name)
            if image is not None and is_same(image, lock):
                return image
        reason = "mlrun is offline" if offline else "no registry is known to have it"
        for name in () if offline else _pullable(lock):
            try:
                image = self.pull(name, say)
            except EnvironmentBuildError as error:
                reason = error.message.rpartition("cannot pull it: ")[2]
                continue
            if is_same(image, lock):
                return image
            reason = "the registry answers with another one"
        raise gone(lock, reason, f"`{self.engine.kind} save` there, `{self.engine.kind} load` here")


def refuse_odd(name: str) -> None:
    """Raise EnvironmentBuildError for what an engine would take for an option, or for several words."""
    if name.startswith("-") or not name or any(letter.isspace() or not letter.isprintable() for letter in name):
        message = f"docker_env: {name!r} is no name of an image"
        raise EnvironmentBuildError(message, hint="write it as `image: python:3.12`, or with its registry before it")


def is_same(image: Image, lock: ImageLock) -> bool:
    """Whether an image is the one of a lock: by its configuration, or by its manifest."""
    return image.id == lock.id or not _hashes(image.digests).isdisjoint(_hashes(lock.digests))


def gone(lock: ImageLock, reason: str, how: str) -> EnvironmentBuildError:
    """Return the error that says that a locked image cannot be had."""
    message = f"the image {lock.image} as it was locked (sha256:{lock.id[:12]}) cannot be had on this host: {reason}"
    return EnvironmentBuildError(message, hint=f"bring it from a host that has it: {how}")


def last_line(text: str) -> str:
    """Return what a program said last, which is why it failed; where it tells of its help then, what it said before."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _HELP.match(line.strip())]
    last = lines[-1] if lines else "it does not say why"
    return re.sub(r"^(docker: )?(Error( response from daemon)?|FATAL|ERROR): *", "", last).rstrip(".")


def _image(data: Any) -> Image:
    config = data.get("Config") or {}
    pairs = (pair.partition("=") for pair in config.get("Env") or ())
    entrypoint = config.get("Entrypoint") or ()
    identity = str(data["Id"]).rpartition(":")[2]
    return Image(
        id=identity,
        place=f"sha256:{identity}",
        digests=tuple(data.get("RepoDigests") or ()),
        variables={name: value for name, _, value in pairs if name in _SHOWN},
        platform=f"{data.get('Os', '')}/{data.get('Architecture', '')}",
        entrypoint=tuple(entrypoint.split() if isinstance(entrypoint, str) else entrypoint),
    )


def _names(engine: Engine, name: str) -> Iterator[str]:
    """Yield a name, then as docker reads it: a project says `python:3.12`, which podman may take for no place."""
    yield name
    first, slash, _ = name.partition("/")
    if engine.kind == PODMAN and not (slash and (set(first) & set(".:") or first == "localhost")):
        yield f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _pullable(lock: ImageLock) -> Iterator[str]:
    return (name for name in lock.digests if not name.startswith("localhost/"))


def _hashes(digests: tuple[str, ...]) -> set[str]:
    return {digest.rpartition("@")[2] for digest in digests}


def _cure(reason: str, engine: Engine) -> str:
    text = reason.lower()
    if "no space left" in text:
        return f"free some space where the engine keeps its images (`{engine.kind} image prune`)"
    if "unauthorized" in text or "denied" in text or "authentication" in text:
        return f"log in with `{engine.kind} login`, correct `image:`, or build it: `mlrun run --build-image`"
    if "unknown" in text or "not found" in text:
        return "correct `image:` under docker_env, or build it from the project's Dockerfile: `mlrun run --build-image`"
    return "pulling needs the network; an image of your own is built with `mlrun run --build-image`, or by the engine"
