"""Who asks for a run, and how that is known."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from runner.worker.facts import Actor
from runner.worker.tools import call

# Exact names, never prefixes: what each service documents for telling itself apart.
_AGENTS = {
    "GITHUB_ACTIONS": "GitHub Actions",
    "GITLAB_CI": "GitLab CI",
    "JENKINS_URL": "Jenkins",
    "BUILDKITE": "Buildkite",
    "CIRCLECI": "CircleCI",
    "TF_BUILD": "Azure Pipelines",
    "SLURM_JOB_ID": "Slurm job",
    "CI": "CI",
}


def actor(directory: Path) -> Actor:
    """Return who is at the keyboard: the login name, and the identity that git would commit with in ``directory``."""
    name, email = os.environ.get("GIT_AUTHOR_NAME"), os.environ.get("GIT_AUTHOR_EMAIL")
    if not (name and email):
        configured = _git_identity(directory)
        name, email = name or configured.get("user.name"), email or configured.get("user.email")
    return Actor(user=_login(), name=name, email=email, basis="observed", agent=_agent())


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _agent() -> str | None:
    return next((agent for variable, agent in _AGENTS.items() if os.environ.get(variable)), None)


def _git_identity(directory: Path) -> dict[str, str]:
    try:
        done = call(["git", "config", "-z", "--get-regexp", r"^user\.(name|email)$"], cwd=directory)
    except OSError:
        return {}
    pairs = (item.partition("\n") for item in done.text.split("\0") if item)
    return {key: value for key, _, value in pairs}
