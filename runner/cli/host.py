"""`mlrun host`: the machines that `--on` knows."""

from __future__ import annotations

import sys
from typing import Any

import click

from runner.backends.host import ENGINES, LAUNCHERS
from runner.cli.options import common, complete_hosts
from runner.cli.session import Session, printable
from runner.cli.table import table


@click.group(short_help="The machines that `--on` knows: add, list, check, rm.")
def host() -> None:
    """Name the machines that runs can be carried out on; they are kept in hosts.toml, which you may edit.

    \b
    Examples:
      mlrun host add lab ada@lab.example.org
      mlrun host list
    """


@host.command(short_help="Make a machine known by a name.")
@click.argument("name")
@click.argument("address", metavar="[USER@]MACHINE")
@click.option("--port", type=int, help="Its port, where ssh's configuration does not say it.")
@click.option("--home", default="", metavar="DIR", help="Where runs lie there (~/.local/share/mlrun).")
@click.option("--cache", default="", metavar="DIR", help="Where environments lie there (~/.cache/mlrun).")
@click.option("--python", default="", metavar="PATH", help="The Python the worker runs with; 3.9 or newer.")
@click.option("--setup", default="", metavar="BASH", help="Lines of bash before each run: 'module load cuda'.")
@click.option("--launcher", type=click.Choice(LAUNCHERS), default="direct", help="How commands are started there.")
@click.option("--partition", default="", metavar="NAME", help="Of Slurm.")
@click.option("--account", default="", metavar="NAME", help="Of Slurm.")
@click.option("--qos", default="", metavar="NAME", help="Of Slurm.")
@click.option("--constraint", default="", metavar="TEXT", help="Of Slurm.")
@click.option("--option", "options", multiple=True, metavar="NAME[=VALUE]", help="Of sbatch: gres=gpu:a100:1.")
@click.option("--container-engine", type=click.Choice(ENGINES), default=None, help="Which to use, where several are.")
@click.option("--ship-packages", is_flag=True, help="Download packages here and send them: it reaches no index.")
@click.option("--fetch/--no-fetch", default=True, help="Whether outputs come back by themselves.")
@click.option("--force", is_flag=True, help="In place of the host that has the name.")
@common
@click.pass_obj
def add(session: Session, /, **options: Any) -> None:
    """Make a machine known: `local`, or where ssh goes, as on its command line or in ~/.ssh/config.

    \b
    Examples:
      mlrun host add lab ada@lab.example.org
      mlrun host add cluster ada@login.example.org --launcher slurm --partition gpu --home /scratch/ada/mlrun
    """
    from runner.backends import hosts
    from runner.backends.host import Host

    force = options.pop("force")
    options["container_engine"] = options["container_engine"] or ""
    made = Host(**options)
    hosts.add(made, instead=force)
    if session.json:
        session.emit(host=_plain(made))
    session.say(f"{made.name} is {made.address}; `mlrun host check {made.name}` looks at what it has")


@host.command("list", short_help="List the known machines.")
@common
@click.pass_obj
def list_hosts(session: Session) -> None:
    """List the known machines.

    \b
    Example:
      mlrun host list
    """
    from runner.backends import hosts

    known = sorted(hosts.read().values(), key=lambda one: one.name)
    if session.json:
        session.emit(hosts=[_plain(one) for one in known])
    elif known:
        rows = [[one.name, printable(one.address), one.launcher, one.home or "-", _notes(one)] for one in known]
        click.echo(table(("name", "address", "launcher", "home", "notes"), rows))
    else:
        session.say("no hosts yet; `mlrun host add NAME user@machine` makes one known")


@host.command(short_help="Look at what machines have, and lack.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_hosts)
@common
@click.pass_obj
def check(session: Session, names: tuple[str, ...]) -> None:
    """Look at machines: Python, disk, Slurm, GPUs, whether a package index is reached; each problem with its cure.

    Exit 1 where there are problems, 125 where a machine cannot be asked.

    \b
    Example:
      mlrun host check lab
    """
    from runner.backends.choice import named
    from runner.backends.ssh.inspection import inspect

    found = {name: inspect(named(name)) for name in names}
    if session.json:
        session.emit(hosts={name: [_plain(item) for item in items] for name, items in found.items()})
    else:
        for name, items in found.items():
            click.echo(click.style(name, bold=True))
            for item in items:
                mark = click.style("!", fg="red", bold=True) if item.is_problem else " "
                click.echo(f"{mark} {item.what:11} {printable(item.found)}")
                if item.cure:
                    click.echo(f"  {'':11} {click.style('hint:', fg='cyan')} {printable(item.cure)}")
    sys.exit(1 if any(item.is_problem for items in found.values() for item in items) else 0)


@host.command(short_help="Strike machines out.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_hosts)
@common
@click.pass_obj
def rm(session: Session, names: tuple[str, ...]) -> None:
    """Strike machines out. What lies on them stays; their runs are found as before.

    \b
    Example:
      mlrun host rm lab
    """
    from runner.backends import hosts

    for name in names:
        hosts.remove(name)
    if session.json:
        session.emit(removed=list(names))
    session.say(f"{', '.join(names)} struck out of {hosts.path()}")


def _plain(one: Any) -> Any:
    from runner.worker.codec import encode

    return encode(one)


def _notes(one: Any) -> str:
    notes = [f"port {one.port}"] if one.port else []
    notes += [f"{key} {value}" for key, value in one.launcher_options.items()]
    notes += ["ships packages"] * one.ship_packages + ["no fetch"] * (not one.fetch)
    return ", ".join(notes) or "-"
