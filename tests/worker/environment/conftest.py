"""A host with a project, a store, a cache and a few wheels, for the preparing of environments."""

import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from runner.worker.environment.prepare import prepare
from runner.worker.facts import InstalledEnvironment, Placement
from runner.worker.objects import Objects
from runner.worker.spec import EnvironmentSpec, RunSpec, Snapshot
from tests.environments.wheels import make_wheel


@dataclass
class Host:
    """Prepares environments as a worker does, and keeps what was said."""

    root: Path
    said: list[str] = field(default_factory=list)
    installer: dict[str, str] = field(default_factory=dict)
    placement: Placement = field(init=False)

    def __post_init__(self) -> None:
        self.project.mkdir(parents=True)
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
        self.installer.update(UV_FIND_LINKS=str(self.wheels), MLRUN_NO_INDEX="1")
        self.placement = Placement(
            store=str(self.root / "store"), cache=str(self.cache), root=str(self.project), uv=uv, python=sys.executable
        )
        make_wheel(self.wheels, "red", requires=("blue",))
        make_wheel(self.wheels, "blue")

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def wheels(self) -> Path:
        return self.root / "wheels"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def objects(self) -> Objects:
        return Objects(self.root / "store" / "objects")

    def spec(self, *requirements: str, **wishes) -> RunSpec:
        environment = EnvironmentSpec("virtualenv", requirements=requirements)
        snapshot = Snapshot(wishes.pop("manifest", "0" * 64), "directory")
        return RunSpec("p", "main", (), "true", snapshot, replace(environment, **wishes))

    def prepare(self, *requirements: str, placed: dict | None = None, **wishes) -> InstalledEnvironment:
        self.said.clear()
        return self.carry_out(self.spec(*requirements, **wishes), **(placed or {}))

    def carry_out(self, spec: RunSpec, **placed) -> InstalledEnvironment:
        return prepare(
            spec,
            replace(self.placement, **placed),
            self.objects,
            self.project,
            self.said.append,
            scratch=self.root / "scratch",
            installer=self.installer,
        )

    def names(self, environment: InstalledEnvironment) -> set[str]:
        return {package.name for package in environment.packages} - {"pip", "setuptools", "wheel"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def module_of(environment: InstalledEnvironment, name: str) -> Path:
    """Return the file of an installed module."""
    return next(Path(environment.prefix).glob(f"lib/*/site-packages/{name}/__init__.py"))
