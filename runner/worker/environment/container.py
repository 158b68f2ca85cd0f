"""Gives a run its image: the very one of a lock, else the one that the name stands for; pulled or built if need be."""

from __future__ import annotations

import os
from typing import Optional

from runner.errors import EnvironmentBuildError
from runner.worker.containers import arguments
from runner.worker.containers.engines import APPTAINER, Engine, find
from runner.worker.containers.image import Image
from runner.worker.containers.images import EngineImages, Images, refuse_odd
from runner.worker.containers.lock import PROJECT_LOCK, ImageLock, of_project, read
from runner.worker.environment.mutex import locked
from runner.worker.environment.site import Site
from runner.worker.facts import Container, Gap, InstalledEnvironment
from runner.worker.hashing import sha256_of
from runner.worker.values import dataclass

_OWN = "the image's own, which its digest names with all else in it"


@dataclass(frozen=True)
class Taken:
    """An image, and how it came to be this one."""

    image: Image
    origin: str  # pinned, project, resolved, built
    why: str
    reused: bool = True


def container(site: Site) -> InstalledEnvironment:
    """Return the environment of a project with docker_env; EnvironmentBuildError says why there is none."""
    wanted = site.wanted
    arguments.refuse(wanted.arguments)
    refuse_odd(wanted.image or "")
    engine = find(site.placement.container_engine, os.environ, site.cache)
    taken = take(site, engine)
    image = taken.image
    lock = lock_of(wanted.image or "", image)
    return InstalledEnvironment(
        kind="container",
        prefix="",
        bin="",
        lock=site.objects.add(lock.object()),
        lock_origin=taken.origin,
        installed_digest=image.id,
        built_by=engine.version if taken.origin == "built" else "",
        installed_by=engine.version,
        reused=taken.reused,
        why=taken.why,
        variables=image.variables,
        container=Container(
            engine=engine.version,
            program=engine.program,
            image=lock.image,
            id=image.id,
            digests=image.digests,
            platform=image.platform,
            place=image.place,
            entrypoint=image.entrypoint,
        ),
        gaps=(Gap("environment.interpreter", f"it is {_OWN}"), Gap("environment.packages", f"they are {_OWN}")),
    )


def take(site: Site, engine: Engine) -> Taken:
    """Return the image of a run."""
    images = images_of(site, engine)
    wanted, offline, anew = site.wanted, site.placement.offline, site.placement.upgrade
    name = wanted.image or ""
    if wanted.lock is not None:
        lock = read(site.objects.read(wanted.lock), "the run's lock")
        return Taken(images.pinned(lock, site.say, offline=offline), "pinned", "the image of the run before")
    if wanted.build:
        return _built(site, engine)
    own = None if anew else of_project(site.project, name)
    if own is not None:
        return Taken(images.pinned(own, site.say, offline=offline), "project", "the image of the project's lock")
    image = None if anew else images.look_up(name)
    return _pulled(site, engine, images) if image is None else Taken(image, "resolved", "the image was here")


def known(site: Site) -> tuple[Optional[Taken], str]:
    """Return the image that a run would get as things are; None, and why, where it would have to be pulled."""
    engine, name = find(site.placement.container_engine, os.environ, site.cache), site.wanted.image or ""
    images, own = images_of(site, engine), of_project(site.project, name)
    if own is not None:
        try:
            return Taken(images.pinned(own, site.say, offline=True), "project", "the image of the project's lock"), ""
        except EnvironmentBuildError:
            return None, f"{engine.version} has not the image of {PROJECT_LOCK}: a run would pull it by its digest"
    image = images.look_up(name)
    if image is None:
        return None, f"{engine.version} has no image {name}: a run would pull it"
    return Taken(image, "resolved", f"{engine.version} has it as {name}"), ""


def lock_of(name: str, image: Image) -> ImageLock:
    """Return the lock that finds an image again."""
    return ImageLock(name, image.id, image.digests, image.platform)


def images_of(site: Site, engine: Engine) -> Images:
    """Return where an engine has its images."""
    if engine.kind == APPTAINER:
        from runner.worker.containers.sif import SifImages

        return SifImages(engine, site.cache, site.project)
    return EngineImages(engine, site.cache)


def _pulled(site: Site, engine: Engine, images: Images) -> Taken:
    name = site.wanted.image or ""
    if site.placement.offline:
        message = f"the image {name} is not here, and mlrun is offline"
        raise EnvironmentBuildError(message, hint=f"`{engine.kind} pull {name}` while there is a network")
    lock = site.cache / "images" / f"{sha256_of(name.encode())[:32]}.lock"
    with locked(lock, lambda: site.say(f"waiting for another run that pulls {name}")):
        image = None if site.placement.upgrade else images.look_up(name)
        image = image or images.pull(name, site.say)
    return Taken(image, "resolved", "it was pulled", reused=False)


def _built(site: Site, engine: Engine) -> Taken:
    from runner.worker.containers.build import build

    image, why = build(site, engine)
    return Taken(image, "built", why, reused=False)
