"""What preparing one run's environment works with: its spec, the host's directories and tools, and who listens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Callable, Optional

from runner.worker.environment.interpreters.discovery import Search
from runner.worker.environment.interpreters.identity import Interpreters
from runner.worker.environment.uv import AS_OF, Uv, find_uv
from runner.worker.facts import Placement
from runner.worker.objects import Objects
from runner.worker.spec import EnvironmentSpec, RunSpec
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Site:
    """One run's preparation on one host."""

    spec: RunSpec
    placement: Placement
    objects: Objects
    project: Path  # the project's directory on this host
    say: Callable[[str], None]
    scratch: Path  # a directory of this run alone
    installer: Mapping[str, str]

    @property
    def wanted(self) -> EnvironmentSpec:
        """What the environment has to hold."""
        return self.spec.environment

    @property
    def cache(self) -> Path:
        """MLRUN_CACHE on this host."""
        return Path(self.placement.cache)

    @property
    def search(self) -> Search:
        """Where this host's interpreters are looked for."""
        interpreters, placement = Interpreters(self.cache, os.environ), self.placement
        allowed = (placement.offline, placement.lenient)
        return Search(interpreters, placement.python, os.environ, self.say, lambda: self.uv, *allowed)

    def today(self) -> Site:
        """Return the same without a date that packages have to be older than."""
        return replace(self, installer={name: value for name, value in self.installer.items() if name != AS_OF})

    @cached_property
    def uv(self) -> Uv:
        """The host's uv; EnvironmentBuildError where there is none."""
        cache = _cache_of_uv(self.cache)
        netrc = self.scratch / "netrc"
        return Uv(find_uv(self.placement.uv), self.installer, self.say, self.placement.offline, cache, netrc)


def _cache_of_uv(ours: Path) -> Optional[Path]:
    """Return where uv's cache is to lie: in ours where that was given a place, as a home is small; else None."""
    bases = (os.environ.get("XDG_CACHE_HOME"), os.path.expanduser("~/.cache"))
    return None if any(base and ours == Path(base, "mlrun") for base in bases) else ours / "uv"
