"""`mlrun run`: run an entry point of a project, follow it, and exit as it does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import (
    Upgrading,
    assignment,
    common,
    complete_entry_points,
    complete_parameters,
    going_to,
    launching,
    tag_assignment,
    upgradable,
)
from runner.cli.session import Session
from runner.cli.when import as_of, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.backends.choice import Choice


@click.command(cls=Upgrading, short_help="Run an entry point of a project.")
@click.argument("uri", default=".", type=click.Path(path_type=str))
@click.option(
    "-e",
    "--entry-point",
    default="main",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_entry_points,
    help="Entry point; an .py, .sh or .R file of the project works too.",
)
@click.option(
    "-P",
    "--param-list",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    callback=assignment,
    shell_complete=complete_parameters,
    help="A parameter; undeclared ones become --NAME VALUE.",
)
@click.option(
    "--params-file", type=click.Path(path_type=Path), help="Parameters from a YAML or JSON file, or - ; -P wins."
)
@click.option("-v", "--version", metavar="REV", help="Branch, tag or commit of a git project.")
@click.option(
    "--env-manager", metavar="NAME", help="local, virtualenv, uv or conda; chosen by the project if left out."
)
@click.option("--isolated", is_flag=True, help="Work in a fresh directory made from the snapshot, not in place.")
@click.option(
    "--tag", "tags", multiple=True, metavar="NAME=VALUE", callback=tag_assignment, help="A label; repeatable."
)
@click.option("--experiment-name", metavar="NAME", help="The experiment the run belongs to.")
@click.option("--experiment-id", metavar="ID", help="The same, by id.")
@click.option("-A", "--docker-args", multiple=True, metavar="NAME[=VALUE]", help="Argument for the container engine.")
@click.option("--build-image", is_flag=True, help="Build the image of a docker project first.")
@click.option(
    "--storage-dir", type=click.Path(path_type=Path), help="Where remote `path` parameters are downloaded to."
)
@upgradable
@click.option("--max-file-size", metavar="SIZE", help="Source files above this are recorded, not stored (100M).")
@click.option("--dry-run", is_flag=True, help="Plan and print what would run; nothing is made.")
@click.option(
    "--reuse",
    is_flag=True,
    envvar="MLRUN_REUSE",
    help="Where a past run came to the same already, take its results; runs inside this one do so too.",
)
@click.option("-d", "--detach", is_flag=True, help="Return when the run is launched; `mlrun logs -f` follows it.")
@launching
@common
@click.pass_obj
def run(session: Session, /, **options: Any) -> None:
    """Run an entry point of a project: a directory, a git or zip URI, with `#sub/directory` where it lies deeper.

    The exit code is the command's own; 124 past its time limit, 125 where mlrun failed, 130 after Ctrl-C.

    \b
    Examples:
      mlrun run . -P alpha=0.5
      mlrun run git@example.org:lab/model.git#train -v v1.2 -m "the figures of section 3"
      mlrun run . -e sweep --params-file grid.yaml --detach
    """
    from runner.backends.choice import choose

    if options["reuse"]:
        os.environ["MLRUN_REUSE"] = "1"  # for the runs that this one starts
    chosen, backend = choose(options["host"], options["backend"], options["backend_config"]), None
    if not options["dry_run"]:
        from runner.backends.warm import warmed

        backend = warmed(chosen.backend, foreground=not options["detach"], config=chosen.config)
    from runner.flow.prepare import prepare

    ask = _ask(options, chosen, lambda text: session.say(f"warning: {text}"))
    store = session.store
    if options["dry_run"]:
        with prepare(ask, store, session.say) as prepared:
            session.emit(spec=prepared.spec.to_json(), digest=prepared.spec.digest)
        return
    from runner.cli.live import Signals, carry_through, launched
    from runner.flow.start import start

    foreground = not options["detach"]
    with Signals(session) as signals:
        started = start(ask, store, session.say, foreground=foreground, backend=backend, interrupts=signals)
        signals.end(started.run)
        if options["detach"] and not signals.received:
            launched(session, started)
            return
        ended = carry_through(session, store, started)
    sys.exit(ended.exit_code)


def _ask(options: dict[str, Any], chosen: Choice, warn: Callable[[str], None]) -> Any:
    from runner.flow.ask import Ask, Containing, Labels, run_name
    from runner.project.parameters import Values, read_params_file

    values = read_params_file(options["params_file"], warn) if options["params_file"] else {}
    labels = Labels(
        name=run_name(options["run_name"]),
        why=options["why"],
        tags=dict(options["tags"]),
        **going_to(options["tracking_uri"], options["experiment_name"], options["experiment_id"]),
    )
    return Ask(
        uri=options["uri"],
        entry_point=options["entry_point"],
        values=Values(options["given"], values),
        version=options["version"],
        env_manager=options["env_manager"],
        backend=chosen.backend,
        backend_config=chosen.config,
        fetch=not options["no_fetch"],
        isolated=options["isolated"],
        validate=not options["no_validate"],
        upgrade="" in options["upgrades"],
        upgrade_packages=tuple(filter(None, options["upgrades"])),
        exclude_newer=as_of(options["exclude_newer"]),
        labels=labels,
        storage_dir=options["storage_dir"],
        size_cap=None if options["max_file_size"] is None else size(options["max_file_size"]),
        keep_work=options["keep_work"],
        keep_outputs=options["keep_outputs"],
        trace=not options["no_trace"],
        reuse=options["reuse"],
        argv=tuple(sys.argv),
        container=Containing(options["docker_args"], options["build_image"]),
    )
