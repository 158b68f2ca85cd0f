"""Builds a project's image: from its Dockerfile and its snapshot, else as MLflow does, the project upon `image`."""

from __future__ import annotations

import re
from pathlib import Path

from runner.errors import EnvironmentBuildError
from runner.worker.containers.engines import APPTAINER, PODMAN, Engine
from runner.worker.containers.image import Image
from runner.worker.containers.images import EngineImages, last_line
from runner.worker.containers.inside import PROJECT
from runner.worker.environment.site import Site
from runner.worker.execution.workplace import tear_down
from runner.worker.hashing import sha256_of
from runner.worker.manifest import decode_manifest, materialise
from runner.worker.tools import stream

_RECIPES = ("Dockerfile", "Containerfile")
_ABSENT = re.compile(r"(COPY|ADD)\b.*(no such file|not found|no items matching)|stat .*no such file", re.IGNORECASE)
_UPON = f"FROM {{image}}\nCOPY . {PROJECT}\nWORKDIR {PROJECT}\n"


def build(site: Site, engine: Engine) -> tuple[Image, str]:
    """Return the image of a project, built where the same source has none yet, and why it was or was not built.

    The context is the snapshot: what git ignores gets into no image, and `.dockerignore` keeps out more.
    """
    if engine.kind == APPTAINER:
        message = f"{engine.version} builds no image from a Dockerfile"
        raise EnvironmentBuildError(message, hint="build it with podman or docker, or leave --build-image out")
    images, tag = EngineImages(engine, site.cache), tag_of(site)
    known = None if site.placement.upgrade else images.look_up(tag)
    if known is not None:
        return known, "built before from the same source"
    context = site.scratch / "context"
    context.mkdir(parents=True)
    try:
        materialise(decode_manifest(site.objects.read(site.spec.snapshot.manifest)), site.objects, context)
        _build(site, engine, context / site.spec.snapshot.subdirectory, tag)
    finally:
        tear_down(context)
    built = images.look_up(tag)
    if built is None:
        message = f"{engine.version} built the image {tag}, and does not have it"
        raise EnvironmentBuildError(message, hint=f"see `{engine.kind} images`")
    return built, "built from the project"


def tag_of(site: Site) -> str:
    """Return the name of the image that a project's source makes upon its `image`."""
    project = re.sub(r"[^a-z0-9]+", "-", site.spec.project.lower()).strip("-") or "project"
    deciding = f"{site.spec.snapshot.manifest} {site.spec.snapshot.subdirectory} {site.wanted.image}"
    return f"localhost/mlrun/{project}:{sha256_of(deciding.encode())[:16]}"


def _build(site: Site, engine: Engine, context: Path, tag: str) -> None:
    recipe = next((context / name for name in _RECIPES if (context / name).is_file()), None)
    if recipe is None:
        recipe = site.scratch / "Dockerfile"
        recipe.write_text(_UPON.format(image=site.wanted.image), encoding="utf-8")
    origin = recipe.name if recipe.parent == context else site.wanted.image
    site.say(f"building the image {tag} from {origin}")
    words = ["--tag", tag, "--file", str(recipe), str(context)]
    for anew in _anew(engine) if site.placement.upgrade else ((),):
        done = stream([engine.program, "build", *anew, *words], site.say)
        if done.code == 0:
            return
    reason = last_line(done.complaint)
    hint = "`mlrun run --verbose` shows all that the build says"
    if _ABSENT.search(reason):
        hint = "what git ignores, and what `.dockerignore` names, is not there for a build to copy"
    raise EnvironmentBuildError(f"the image cannot be built from {origin}: {reason}", hint=hint)


def _anew(engine: Engine) -> "tuple[tuple[str, ...], ...]":
    """Return the words that build from newer base images, where a registry has any: docker takes two calls for it."""
    if engine.kind == PODMAN:
        return (("--pull=newer", "--no-cache"),)
    return (("--pull", "--no-cache"), ("--no-cache",))
