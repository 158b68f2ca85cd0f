"""`mlrun env why`: why a run's environment was reused or built, or what a run of a project would get now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import common, complete_entry_points
from runner.cli.session import Session, printable
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.flow.environments import PastExplanation
    from runner.worker.environment.explain import Explanation
    from runner.worker.environment.nearness import Nearest

_SHORT = 8  # digits of a key that are shown
_MOST = 20  # differences, before the rest is counted


@click.command(short_help="Why an environment was reused or not.")
@click.argument("target", metavar="[ID|DIR]", default=".")
@click.option(
    "-e", "--entry-point", metavar="NAME", shell_complete=complete_entry_points, help="Of this entry point of DIR."
)
@click.option("--env-manager", metavar="NAME", help="As for `mlrun run`.")
@common
@click.pass_obj
def why(session: Session, target: str, entry_point: str | None, env_manager: str | None) -> None:
    """Explain why a run's environment was reused or built, or what a run of a project would get now.

    Names what differs from the nearest environment of the cache. Nothing is resolved and nothing is built.

    \b
    Examples:
      mlrun env why latest
      mlrun env why ./project
    """
    from runner.flow.environments import explain_project, explain_run

    if Path(target).is_dir():
        found = explain_project(Path(target), session.store, session.say, entry_point=entry_point, manager=env_manager)
        _show(session, _of_project(found), found.nearest, _json_of_project(found))
        return
    if os.sep in target:
        message = f"there is no directory {target}"
        raise UsageError(message, hint="name a project's directory, or a run of `mlrun list`")
    past = explain_run(session.store.find(target), session.store)
    _show(session, _of_run(past), past.nearest, _json_of_run(past))


def _show(session: Session, lines: Iterator[tuple[str, str]], nearest: Nearest | None, content: dict[str, Any]) -> None:
    if session.json:
        session.emit(environment={**content, "nearest": _json_of_nearest(nearest)})
        return
    kind = "nearest lock" if content.get("state") == "unlocked" else "nearest"
    for label, text in (*lines, *_of_nearest(kind, nearest)):
        click.echo(click.style(f"{label:14}", bold=True) + printable(text))


def _of_project(found: Explanation) -> Iterator[tuple[str, str]]:
    if found.interpreter is not None:
        yield "interpreter", f"{found.interpreter.implementation} {found.interpreter.version}, {found.interpreter.path}"
    if found.lock is not None:
        yield "lock", f"{found.lock[:12]} ({found.lock_origin})"
    key = f"{found.key[:_SHORT]}, " if found.key else ""
    yield "environment", f"{key}{found.state}: {found.why}"
    yield from (("", note) for note in found.notes)


def _of_run(found: PastExplanation) -> Iterator[tuple[str, str]]:
    yield "run", found.run
    if found.environment is None:
        yield "environment", f"none: {found.why}"
        return
    key = f"{found.environment.key[:_SHORT]}, " if found.environment.key else ""
    yield "environment", f"{key}{'reused' if found.environment.reused else 'built'}: {found.why}"
    if found.now:
        yield "now", found.now


def _of_nearest(label: str, nearest: Nearest | None) -> Iterator[tuple[str, str]]:
    if nearest is None:
        return
    differences = nearest.differences
    yield label, f"{nearest.key[:_SHORT]} has" + ("" if differences else " all the same")
    yield from (("", one) for one in differences[:_MOST])
    if len(differences) > _MOST:
        yield "", f"and {len(differences) - _MOST} more; --json has them all"


def _json_of_nearest(nearest: Nearest | None) -> dict[str, Any] | None:
    return None if nearest is None else {"key": nearest.key, "differences": list(nearest.differences)}


def _json_of_project(found: Explanation) -> dict[str, Any]:
    return {
        "state": found.state,
        "why": found.why,
        "interpreter": found.interpreter.path if found.interpreter else None,
        "key": found.key,
        "lock": found.lock,
        "lock_origin": found.lock_origin,
        "notes": list(found.notes),
    }


def _json_of_run(found: PastExplanation) -> dict[str, Any]:
    environment = found.environment
    return {
        "run": found.run,
        "key": environment.key if environment else None,
        "reused": environment.reused if environment else None,
        "why": found.why,
        "now": found.now,
    }
