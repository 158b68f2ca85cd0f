"""The kinds of environment that are planned and not yet built: refused near, before there is a run, and far as well."""

from __future__ import annotations

from runner.errors import EnvironmentBuildError
from runner.worker.spec import EnvironmentSpec


def refuse_unsupported(environment: EnvironmentSpec) -> None:
    """Raise EnvironmentBuildError for a kind that this version cannot build."""
    if environment.kind == "conda":
        message = f"conda environments are not supported yet ({environment.source or 'conda.yaml'})"
        raise EnvironmentBuildError(message, hint="`--env-manager virtualenv` takes its Python and its pip packages")
