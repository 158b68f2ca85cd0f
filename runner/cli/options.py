"""Options and arguments that several commands share, with what the shell can complete."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from runner.cli.session import Session
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.project.model import Project

_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
F = TypeVar("F", bound=Callable[..., Any])


def common(function: F) -> F:
    """Add --json, --verbose and -q to a command; they set the session, not parameters."""
    for decorator in (
        click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_setter("quiet"), help="Say less."),
        click.option("--verbose", is_flag=True, expose_value=False, callback=_setter("verbose"), help="Say more."),
        click.option(
            "--json", is_flag=True, expose_value=False, callback=_setter("json"), help="Print JSON to stdout."
        ),
    ):
        function = decorator(function)
    return function


def launching(function: F) -> F:
    """Add what can be said of any run that is about to be launched, a new one or a past one again."""
    for decorator in (
        click.option("--no-trace", is_flag=True, help="Do not note which files the command's Python opens."),
        click.option("--keep-outputs", is_flag=True, help="Store what the run writes undeclared, too; up to 1 GiB."),
        click.option("--keep-work", is_flag=True, help="Keep the fresh directory after success."),
        click.option(
            "--no-validate", is_flag=True, help="Take parameter values as they are, whatever their declared type."
        ),
        click.option(
            "--tracking-uri",
            metavar="URI",
            help="The team's MLflow server, where the run appears too; MLFLOW_TRACKING_URI if left out.",
        ),
        click.option("--run-name", default="", metavar="NAME", help="A name to find the run by."),
        click.option(
            "-m", "--message", "why", default="", metavar="WHY", help="Why this run is made; kept in its record."
        ),
        click.option("--no-fetch", is_flag=True, help="Leave outputs on the host; `mlrun fetch ID` brings them later."),
        click.option(
            "-c",
            "--backend-config",
            metavar="JSON",
            callback=_backend_config,
            help="Configuration of the backend: JSON, or a .json file.",
        ),
        click.option(
            "-b",
            "--backend",
            metavar="NAME",
            shell_complete=complete_backends,
            help="What carries the run out: local, ssh, slurm, ...; --on chooses it by the host.",
        ),
        click.option(
            "--on",
            "host",
            metavar="HOST",
            shell_complete=complete_hosts,
            help="The machine to run on: one that `mlrun host add` knows, user@machine, or `local`.",
        ),
    ):
        function = decorator(function)
    return function


class Upgrading(click.Command):
    """A command with `--upgrade [PACKAGE]`: a word that follows it is a package only where it cannot be a project."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, once it is settled what belongs to `--upgrade`."""
        return super().parse_args(ctx, list(_settled(args)))


def _settled(words: list[str]) -> Iterator[str]:
    end = words.index("--") if "--" in words else len(words)
    taken = False
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < end else ""
        if taken:  # it went with the `--upgrade` before
            taken = False
        elif word != "--upgrade" or index > end:
            yield word
        else:
            taken = _PACKAGE.fullmatch(following) is not None and not Path(following).is_dir()
            yield f"--upgrade={following if taken else ''}"


def upgradable(function: F) -> F:
    """Add --upgrade [PACKAGE] and --exclude-newer to a command of the class ``Upgrading``."""
    for decorator in (
        click.option(
            "--exclude-newer",
            metavar="DATE",
            help="Resolve as of a date, for what has no lock: 2026-05-01, 30d. Needs an index that tells upload times.",
        ),
        click.option(
            "--upgrade",
            "upgrades",
            multiple=True,
            metavar="[PACKAGE]",
            help="Resolve anew instead of keeping the lock's versions: all, or this package's; repeatable.",
        ),
    ):
        function = decorator(function)
    return function


def going_to(uri: str | None, experiment: str | None = None, experiment_id: str | None = None) -> dict[str, Any]:
    """Return the labels that say at which server a run appears too; UsageError where ``uri`` names none."""
    from dataclasses import fields

    from runner.publishing.destination import destination

    where = destination(uri, experiment, experiment_id)
    return {item.name: getattr(where, item.name) for item in fields(where)}


def complete_runs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return run names and short ids that begin as typed."""
    del ctx, parameter
    from runner.store.store import Store, short

    try:
        summaries = Store.open().recent(200)
    except Exception:  # noqa: BLE001 - a completion that fails is silent
        return []
    words = {"latest": "the newest run"}
    for summary in summaries:
        words[short(summary.id)] = f"{summary.project} {summary.entry_point} {summary.status}"
        if summary.name:
            words[summary.name] = short(summary.id)
    return [CompletionItem(word, help=text) for word, text in words.items() if word.startswith(incomplete)]


def complete_backends(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the backends' names."""
    del ctx, parameter
    from runner.backends import registry

    return [CompletionItem(name) for name in registry.names() if name.startswith(incomplete)]


def complete_hosts(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the user's hosts, with where they are."""
    del ctx, parameter
    from runner.backends import hosts

    try:
        known = {"local": "this machine", **{name: host.address for name, host in hosts.read().items()}}
    except Exception:  # noqa: BLE001 - a completion that fails is silent
        return []
    return [CompletionItem(name, help=where) for name, where in known.items() if name.startswith(incomplete)]


def complete_entry_points(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the entry points of the project that stands on the command line."""
    del parameter
    project = _project(ctx)
    names = [] if project is None else list(project.entry_points)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_parameters(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return `name=` for each parameter of the entry point that stands on the command line."""
    del parameter
    project = _project(ctx)
    entry = None if project is None else project.entry_points.get(ctx.params.get("entry_point") or "main")
    names = [] if entry is None else [f"{name}=" for name in entry.parameters]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _project(ctx: click.Context) -> Project | None:
    from runner.errors import MlrunError
    from runner.project.load import load

    words = ctx.args  # click has not come to the arguments where an option before still waits for its value

    try:
        return load(Path(next(iter(words), None) or ctx.params.get("uri") or ctx.params.get("directory") or "."))
    except (MlrunError, OSError):
        return None


run_argument = click.argument("run_id", metavar="ID", shell_complete=complete_runs)
run_arguments = click.argument("run_ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_runs)


def assignment(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Split NAME=VALUE at the first `=`; a usage error where there is none."""
    del ctx, parameter
    from runner.project.parameters import parse_assignments

    return parse_assignments(values)


def tag_assignment(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """As ``assignment``, for tags; a usage error also where a name comes twice."""
    del ctx, parameter
    pairs = [value.partition("=") for value in values]
    wrong = next((value for value, pair in zip(values, pairs, strict=True) if not (pair[0] and pair[1])), None)
    if wrong is not None:
        message = f"a tag is given as NAME=VALUE, not as {wrong!r}"
        raise UsageError(message, hint="write --tag NAME=VALUE")
    names = [name for name, _, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = f"the tag {twice!r} is given twice"
        raise UsageError(message, hint="give it once")
    return tuple((name, value) for name, _, value in pairs)


def _backend_config(ctx: click.Context, parameter: click.Parameter, text: str | None) -> dict[str, Any]:
    """Return the JSON object that `-c` gives, by itself or in a file."""
    del ctx, parameter
    if text is None:
        return {}
    from runner.backends.choice import read_config

    return read_config(text, "--backend-config")


def _setter(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def set_session(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        del parameter
        session = ctx.ensure_object(Session)
        setattr(session, name, getattr(session, name) or value)

    return set_session
