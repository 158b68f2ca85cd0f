"""The user's logins for private channels: a file that only the user can read, while py-rattler runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from runner.worker.files import replace as rewrite

if TYPE_CHECKING:
    from runner.worker.environment.site import Site  # the near side needs the variable's name alone

VARIABLE = "MLRUN_CONDA_LOGINS"  # in the run's installer variables: JSON, as rattler keeps its credentials


@contextlib.contextmanager
def kept(site: Site) -> Iterator[Mapping[str, str]]:
    """Give the variable that names the logins; without logins of the run's own the host's are used."""
    logins = site.installer.get(VARIABLE)
    if not logins:
        yield {}
        return
    path = site.scratch / "conda-logins.json"
    rewrite(path, logins.encode())
    try:
        yield {"RATTLER_AUTH_FILE": str(path)}
    finally:
        path.unlink(missing_ok=True)
