"""Removes what was extracted of a package once it is linked into its environment, while others are still extracted."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Json = Any


@contextlib.contextmanager
def removing(extracted: Path, packages: "list[Json]") -> Iterator[Any]:
    """Give what py-rattler tells of each package that is linked; all that was to be removed is gone at the end."""
    from rattler.install import InstallerReporter

    folders = {one["name"]: extracted / f"{one['name']}-{one['version']}-{one['build']}" for one in packages}

    class Reporter(InstallerReporter):  # type: ignore[misc] # py-rattler is not where mypy runs
        """Its methods are called from py-rattler's threads."""

        def on_link_start(self, operation: int, package_name: str) -> int:
            linking[operation] = package_name
            return operation

        def on_link_complete(self, index: int) -> None:
            folder = folders.get(linking.pop(index, ""))
            if folder is not None:
                pool.submit(shutil.rmtree, folder, ignore_errors=True)

    linking: "dict[int, str]" = {}
    with ThreadPoolExecutor(1) as pool:
        yield Reporter()
