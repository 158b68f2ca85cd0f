"""py-rattler, got once for all tests; a channel; and a host that prepares conda environments."""

import os
from pathlib import Path

import pytest

from runner.environments.installer import configured
from runner.errors import EnvironmentBuildError
from runner.worker.environment.conda import rattler
from runner.worker.environment.site import Site
from runner.worker.facts import InstalledEnvironment
from runner.worker.spec import EnvironmentSpec, RunSpec, Snapshot
from tests.conda.channel import Channel
from tests.needs import need
from tests.worker.environment.conftest import Host


class CondaHost(Host):
    """Prepares conda environments as a worker does."""

    @property
    def channel(self) -> Channel:
        return Channel(self.root / "channel")

    def conda(self, *packages: str, pip: tuple[str, ...] = (), placed: dict | None = None, **wishes):
        """Prepare an environment of some packages."""
        self.said.clear()
        return self.carry_out(self.asked(*packages, pip=pip, **wishes), **(placed or {}))

    def asked(self, *packages: str, pip: tuple[str, ...] = (), **wishes) -> RunSpec:
        wishes.setdefault("channels", (self.channel.url,))
        environment = EnvironmentSpec("conda", "conda.yaml", packages=packages, requirements=pip, **wishes)
        return RunSpec("p", "main", (), "true", Snapshot("0" * 64, "directory"), environment)

    def site(self, **wishes) -> Site:
        return Site(
            self.asked(**wishes),
            self.placement,
            self.objects,
            self.project,
            self.said.append,
            self.root / "scratch",
            self.installer,
        )

    def run(self, environment: InstalledEnvironment, code: str) -> str:
        """Run some Python in an environment."""
        import subprocess

        done = subprocess.run([f"{environment.bin}/python", "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache's tools, made once and shared by the tests of all workers."""
    return tmp_path_factory.getbasetemp().parent / "conda-tools"


@pytest.fixture
def host(tmp_path: Path, tools: Path) -> CondaHost:
    host = CondaHost(tmp_path)
    share(host.cache, tools, host)
    return host


@pytest.fixture
def shared_tools(home: Path, tools: Path, tmp_path: Path) -> None:
    """Give the command's cache the shared tools."""
    share(home / "cache", tools, CondaHost(tmp_path / "maker"))


def share(cache: Path, tools: Path, host: CondaHost) -> None:
    tools.mkdir(exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "tools").symlink_to(tools)
    own, host.installer = host.installer, configured(os.environ)
    if not (host.cache / "tools").exists():
        host.cache.mkdir(parents=True, exist_ok=True)
        (host.cache / "tools").symlink_to(tools)
    try:
        rattler.environment(host.site())
    except EnvironmentBuildError as error:
        need("conda", there=False, reason=error.message)
    host.installer = own
