"""What a project says of its environment, before any file is read."""

from __future__ import annotations

from runner.worker.values import dataclass


@dataclass(frozen=True)
class Choice:
    """The environment key of an MLproject or of one of its entry points; ``key`` is "" where nothing is named."""

    key: str = ""  # python_env, conda_env, docker_env, ""
    path: str = ""  # of the environment file, as written, relative to the project
    image: str = ""  # docker_env
    volumes: tuple[str, ...] = ()
    variables: tuple[tuple[str, str | None], ...] = ()  # (name, value); None: copied from the caller

    @property
    def blank(self) -> dict[str, str]:
        """The variables that are copied from the caller, empty: they are asked for when a container runs, no sooner."""
        return dict.fromkeys((name for name, value in self.variables if value is None), "")
