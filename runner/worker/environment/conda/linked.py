"""Listens while packages are linked: removes what was extracted of one, and tells where a script of its own fails."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from runner.worker.environment.conda.refusals import RefusalError

Json = Any


@contextlib.contextmanager
def linking(extracted: Path, packages: "list[Json]") -> Iterator[Any]:
    """Give what py-rattler tells of each package that is linked; all that was to be removed is gone at the end.

    RefusalError where the script of a package failed: py-rattler goes on as if there had been none.
    """
    from rattler.install import InstallerReporter

    folders = {one["name"]: extracted / f"{one['name']}-{one['version']}-{one['build']}" for one in packages}

    class Reporter(InstallerReporter):  # type: ignore[misc] # py-rattler is not where mypy runs
        """Its methods are called from py-rattler's threads."""

        def on_link_start(self, operation: int, package_name: str) -> int:
            linked[operation] = package_name
            return operation

        def on_link_complete(self, index: int) -> None:
            folder = folders.get(linked.pop(index, ""))
            if folder is not None:
                pool.submit(shutil.rmtree, folder, ignore_errors=True)

        def on_post_link_start(self, package_name: str, script_path: str) -> int:
            scripts.append((package_name, script_path))
            return len(scripts) - 1

        def on_post_link_complete(self, index: int, success: bool) -> None:
            if not success:
                failed.append(scripts[index])

    linked: "dict[int, str]" = {}
    scripts: "list[tuple[str, str]]" = []
    failed: "list[tuple[str, str]]" = []
    with ThreadPoolExecutor(1) as pool:
        yield Reporter()
    if failed:
        name, script = failed[0]
        raise RefusalError(f"{script}, which {name} runs when it is installed, failed", kind="script")
