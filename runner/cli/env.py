"""`mlrun env`: the environments of the cache, who uses them, why one was built, and which may go."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from runner.cli.env_why import why
from runner.cli.options import common
from runner.cli.session import Session, printable
from runner.cli.table import table
from runner.cli.when import ago, amount, length, size

if TYPE_CHECKING:
    from runner.worker.environment.upkeep import Shelved

_COLUMNS = ("key", "state", "kind", "python", "packages", "size", "used", "by")
_COLORS = {"ready": "green", "in use": "cyan", "building": "cyan", "broken": "red"}
_SHORT = 8  # digits of a key that are shown


def complete_keys(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the keys that begin as typed."""
    del ctx, parameter
    from runner.store.home import cache
    from runner.worker.environment.cache.slot import slots

    return [CompletionItem(slot.key[:_SHORT]) for slot in slots(cache()) if slot.key.startswith(incomplete)]


_keys = click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=complete_keys)


@click.group("env", short_help="The environments of the cache.")
def env() -> None:
    """List, explain, check and remove the environments that runs have built.

    \b
    Examples:
      mlrun env list
      mlrun env why .
      mlrun env prune --older-than 30d --keep-size 20G
    """


@env.command("list", short_help="What is there, how large, and who uses it.")
@common
@click.pass_obj
def list_environments(session: Session) -> None:
    """List the environments of the cache, the last used first: interpreter, size, last use, and whose runs used it.

    \b
    Example:
      mlrun env list
    """
    from runner.worker.environment.provisions import provisions
    from runner.worker.environment.upkeep import shelved

    store = session.store
    found = shelved(store.cache, sizes=True)
    total, stock = sum(one.size for one in found), sum(one.size for one in provisions(store.cache))
    if session.json:
        session.emit(environments=[_as_json(one, store) for one in found], size=total, provisions=stock)
        return
    if found:
        click.echo(table(_COLUMNS, [_row(one, store) for one in found], _paint))
    many = f"{len(found)} environment{'s' * (len(found) != 1)}, {amount(total)}"
    none = "no environments; a run of a project builds its own"
    session.say((many if found else none) + (f"; {amount(stock)} of archives and the like" if stock else ""))


@env.command(short_help="Read every file, and say what was edited.")
@click.argument("keys", metavar="[KEY...]", nargs=-1, shell_complete=complete_keys)
@common
@click.pass_context
def verify(ctx: click.Context, keys: tuple[str, ...]) -> None:
    """Compare every file of environments with what was installed; all of them where none is named.

    Exit code 1 where one is not as it was built. Such a one is built again at its next use.

    \b
    Example:
      mlrun env verify
    """
    from runner.flow.environments import find
    from runner.worker.environment import upkeep

    session: Session = ctx.obj
    cache = session.store.cache
    chosen = [find(cache, key) for key in keys] or [one for one in upkeep.shelved(cache) if not _is_building(one)]
    faults = {one.key: upkeep.verify(cache, one.key) for one in chosen}
    if session.json:
        session.emit(environments=[{"key": key, "fault": fault} for key, fault in faults.items()])
    for key, fault in faults.items():
        session.say(f"{key[:_SHORT]}  {printable(fault) if fault else 'as it was built'}")
    bad = sum(fault is not None for fault in faults.values())
    session.say(f"{len(faults)} looked at, {bad or 'none'} damaged{'; built again at the next use' * bool(bad)}")
    ctx.exit(1 if bad else 0)


@env.command(short_help="Remove environments by key.")
@_keys
@common
@click.pass_obj
def rm(session: Session, keys: tuple[str, ...]) -> None:
    """Remove environments; a run that needs one builds it again. What a run uses now is refused.

    \b
    Example:
      mlrun env rm 1a2b3c4d
    """
    from runner.flow.environments import discard, find

    store = session.store
    chosen = {one.key: one for one in (find(store.cache, key) for key in keys)}
    for one in chosen.values():
        discard(one, store)
        session.say(f"removed {one.key[:_SHORT]}")
    if session.json:
        session.emit(removed=list(chosen))


@env.command(short_help="Remove what is old, or too much.")
@click.option("--older-than", metavar="TIME", help="Unused for so long: 12h, 30d, 8w.")
@click.option("--keep-size", metavar="SIZE", help="Keep so much, the last used first: 20G.")
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@common
@click.pass_obj
def prune(session: Session, older_than: str | None, keep_size: str | None, dry_run: bool) -> None:
    """Remove half-built and unusable environments, those unused for long, and the longest unused beyond a size.

    Archives of packages, clones of git repositories and whatever else environments and runs are made from count, and
    go, as environments do. What a run uses, and what was used in the last hour, stays.

    \b
    Examples:
      mlrun env prune --older-than 30d
      mlrun env prune --keep-size 20G --dry-run
    """
    from runner.flow.environments import prune as prune_cache

    age = None if older_than is None else length(older_than)
    keep = None if keep_size is None else size(keep_size)
    done = prune_cache(session.store, unused_for=age, keep=keep, dry_run=dry_run)
    stock = sum(one.size for one in done.provisions)
    freed = stock + sum(one.size for one in done.removed)
    if session.json:
        removed = [one.key for one in done.removed]
        session.emit(removed=removed, provisions=len(done.provisions), bytes=freed, left=done.left, dry_run=dry_run)
    for one in done.removed:
        session.say(f"{one.key[:_SHORT]}  {amount(one.size):>10}  {printable(one.fault or f'used {_used(one)}')}")
    if done.provisions:
        session.say(f"{'archives':{_SHORT}}  {amount(stock):>10}  {_counted(len(done.provisions))}")
    verb = "would free" if dry_run else "freed"
    session.say(f"{verb} {amount(freed)}; {amount(done.left)} left, {len(done.kept)} environments among it")
    if keep is not None and done.left > keep:
        session.say("more than asked stays: in use, or used in the last hour")
    if any(one.fault and not one.held for one in done.kept):
        session.say("what is broken was used in the last hour, and stays until that is over")
    elif age is keep is None and not freed:
        session.say("all can be used; `--older-than` and `--keep-size` say what may go all the same")


def _counted(number: int) -> str:
    return f"{number} file{'s' * (number != 1)} and the like"


def _is_building(one: Shelved) -> bool:
    return one.environment is None and one.held


def _state(one: Shelved) -> str:
    if one.environment is None:
        return "building" if one.held else "broken"
    return "in use" if one.held else "broken" if one.fault else "ready"


def _used(one: Shelved) -> str:
    return ago(_moment(one))


def _moment(one: Shelved) -> str:
    return datetime.fromtimestamp(one.used, timezone.utc).isoformat(timespec="milliseconds")


def _row(one: Shelved, store: Any) -> list[str]:
    from runner.flow.environments import running

    environment = one.environment
    interpreter = environment.interpreter if environment else None
    now = [f"{use.project} {use.run[-_SHORT:]} (running)" for use in running(one, store)]
    before = list(dict.fromkeys(use.project for use in one.uses))
    return [
        one.key[:_SHORT],
        _state(one),
        environment.kind if environment else "-",
        f"{interpreter.implementation} {interpreter.version}" if interpreter else "-",
        str(len(environment.packages)) if environment else "-",
        amount(one.size),
        _used(one),
        one.fault or ", ".join(now or before) or "-",
    ]


def _as_json(one: Shelved, store: Any) -> dict[str, Any]:
    from runner.flow.environments import running
    from runner.worker.codec import encode

    environment, now = one.environment, {use.run for use in running(one, store)}
    return {
        "key": one.key,
        "state": _state(one),
        "fault": one.fault,
        "kind": environment.kind if environment else None,
        "prefix": environment.prefix if environment else None,
        "interpreter": encode(environment.interpreter) if environment else None,
        "packages": {item.name: item.version for item in environment.packages} if environment else {},
        "lock": environment.lock if environment else None,
        "size": one.size,
        "used": _moment(one),
        "uses": [{"run": u.run, "project": u.project, "at": u.at, "running": u.run in now} for u in one.uses],
    }


def _paint(column: str, text: str) -> str:
    return click.style(text, fg=_COLORS.get(text.strip())) if column == "state" else text


env.add_command(why)
