"""What a run's environment will be made with on this machine: asked before packages are gathered for it elsewhere."""

from __future__ import annotations

from dataclasses import replace

from runner.worker.environment.prepare import requested
from runner.worker.environment.site import Site as Building
from runner.worker.libc import libc
from runner.worker.remote.accept import Submission
from runner.worker.remote.site import Site
from runner.worker.spec import Interpreter
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Survey:
    """An interpreter of this machine, and what its C library is: "glibc 2.36"; "" for another."""

    interpreter: Interpreter
    libc: str


def survey(asked: Submission, site: Site) -> Survey:
    """Return what a run will find here; EnvironmentBuildError where there is no such Python."""
    if asked.placement.setup:
        from runner.worker.execution.setup import apply

        apply(asked.placement.setup)
    run = site.run(asked.request.id)
    placement = replace(asked.placement, store=str(site.home), cache=str(site.cache))
    building = Building(asked.spec, placement, site.objects, run.work, lambda _: None, run.scratch, {})
    found = building.search.find(requested(building))
    return Survey(found.interpreter, libc())
