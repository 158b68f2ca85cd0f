"""`mlrun lock`: resolve a project's environment and write its lock into the project, to be committed."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.options import common, complete_entry_points
from runner.cli.session import Session
from runner.cli.sink import TerminalSink


@click.command(short_help="Write the lock of a project into it.")
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@click.option(
    "-e",
    "--entry-point",
    metavar="NAME",
    shell_complete=complete_entry_points,
    help="The entry point whose environment is meant, where it has one of its own.",
)
@click.option("--env-manager", metavar="NAME", help="virtualenv or uv; also for a conda project's Python and pip part.")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit, not those of the lock that is there.")
@common
@click.pass_obj
def lock(session: Session, directory: Path, entry_point: str | None, env_manager: str | None, upgrade: bool) -> None:
    """Write pylock.mlrun.toml: every package with its hash. Commit it, and every run of the project uses it.

    Of a project with docker_env it is image.mlrun.json: the image by its digest.

    \b
    Examples:
      mlrun lock
      mlrun lock ./project --upgrade
    """
    from runner.flow.lock import lock_project

    with TerminalSink(session) as sink:
        locked = lock_project(
            directory, session.store, sink.progress, entry_point=entry_point, manager=env_manager, upgrade=upgrade
        )
    for warning in locked.warnings:
        session.say(f"warning: {warning}")
    if session.json:
        session.emit(
            lock={
                "path": str(locked.path),
                "packages": locked.packages,
                "python": locked.python,
                "platform": locked.platform,
                "changed": locked.changed,
                "image": locked.image,
            }
        )
    verb = "wrote" if locked.changed else "nothing new in"
    if locked.image:
        session.say(f"{verb} {locked.path}: the image {locked.image[:19]} on {locked.platform}")
        return
    count = f"{locked.packages} package{'s' * (locked.packages != 1)}"
    session.say(f"{verb} {locked.path}: {count} for Python {locked.python} on {locked.platform}")
