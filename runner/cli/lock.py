"""`mlrun lock`: resolve a project's environment and write its lock into the project, to be committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import Upgrading, common, complete_entry_points, upgradable
from runner.cli.session import Session
from runner.cli.sink import TerminalSink
from runner.cli.when import as_of

if TYPE_CHECKING:
    from runner.environments.locked import Locked


@click.command(cls=Upgrading, short_help="Write the lock of a project into it.")
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@click.option(
    "-e",
    "--entry-point",
    metavar="NAME",
    shell_complete=complete_entry_points,
    help="The entry point whose environment is meant, where it has one of its own.",
)
@click.option("--env-manager", metavar="NAME", help="virtualenv, uv or conda.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="NAME",
    help="For another platform: linux-x86_64, linux-aarch64, macosx-arm64, macosx-x86_64; repeatable.",
)
@click.option("--python-version", "python", metavar="VERSION", help="For another Python than the one found here: 3.12.")
@upgradable
@common
@click.pass_obj
def lock(session: Session, /, **options: Any) -> None:
    """Write pylock.mlrun.toml: every package with its hash. Commit it, and every run of the project uses it.

    Of a conda project: condalock.mlrun.PLATFORM.json, with channels' archives and the pip part.

    Of a project with docker_env it is image.mlrun.json: the image by its digest.

    The lock of another platform or Python lies beside it, and is used there. Without --platform, those that are
    there are brought up to date too. Of an entry point's own environment (-e) it is pylock.mlrun-FILE.toml.

    \b
    Examples:
      mlrun lock
      mlrun lock ./project --upgrade
      mlrun lock --upgrade numpy
      mlrun lock --platform linux-x86_64 --platform macosx-arm64
    """
    from runner.environments.locked import LockAsk
    from runner.flow.lock import lock_project

    ask = LockAsk(
        manager=options["env_manager"],
        platforms=options["platforms"],
        python=options["python"],
        upgrade="" in options["upgrades"],
        upgrade_packages=tuple(filter(None, options["upgrades"])),
        exclude_newer=as_of(options["exclude_newer"]),
    )
    with TerminalSink(session) as sink:
        done = lock_project(options["directory"], session.store, sink.progress, ask, entry_point=options["entry_point"])
    for warning in done[0].warnings:
        session.say(f"warning: {warning}")
    if session.json:
        session.emit(lock=_as_json(done[0]), locks=[_as_json(one) for one in done])
    for one in done:
        verb = "wrote" if one.changed else "nothing new in"
        if one.image:
            session.say(f"{verb} {one.path}: the image {one.image[:19]} on {one.platform}")
            continue
        count = f"{one.packages} package{'s' * (one.packages != 1)}"
        place = f"Python {one.python} on {one.platform}" if one.python else one.platform
        session.say(f"{verb} {one.path}: {count} for {place}")


def _as_json(one: Locked) -> dict[str, Any]:
    return {
        "path": str(one.path),
        "packages": one.packages,
        "python": one.python,
        "platform": one.platform,
        "changed": one.changed,
        "image": one.image,
    }
