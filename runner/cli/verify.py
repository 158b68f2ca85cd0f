"""`mlrun verify`: whether runs are still what was sealed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import common, complete_runs
from runner.cli.session import Session, printable
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.flow.verify import Verified


_MOST = 5  # things of which the same is to be said


@click.command(short_help="Check that runs are still what was sealed.")
@click.argument("run_ids", metavar="[ID]...", nargs=-1, shell_complete=complete_runs)
@click.option("--all", "everything", is_flag=True, help="Every run, every object and the index.")
@click.option(
    "--allowed-signers",
    "allowed",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Who has to have signed; as `ssh-keygen` and git have it.",
)
@common
@click.pass_obj
def verify(session: Session, run_ids: tuple[str, ...], everything: bool, allowed: Path | None) -> None:
    """Check runs: the seal, every file of the run directory, every object and stored output, the lock, the index.

    What was changed is named, a line for each; the exit code is then 1.

    \b
    Examples:
      mlrun verify latest
      mlrun verify --all
      mlrun verify 1a2b3c4d --allowed-signers team.signers
    """
    from runner.flow.verify import verify as check
    from runner.store import settings

    if everything == bool(run_ids):
        message = "name the runs to verify, or --all"
        raise UsageError(message, hint="`mlrun verify latest` checks the newest run, `mlrun verify --all` the store")
    if allowed is None and (configured := settings.read().verify.allowed_signers):
        allowed = Path(configured).expanduser()
    store = session.store
    runs = list(store.runs()) if everything else store.find_each(run_ids)
    with session.status() as status:
        result = check(
            store,
            runs,
            everything=everything,
            allowed=allowed,
            progress=lambda done, count, what: status(f"{done:,} of {count:,} {what}"),
        )
    _print(session, result)
    sys.exit(0 if result.whole else 1)


def _print(session: Session, result: Verified) -> None:
    from runner.worker.codec import encode

    if session.json:
        session.emit(
            runs=list(result.runs), whole=result.whole, findings=encode(result.findings), signers=encode(result.signers)
        )
    for finding in result.findings:
        line = printable(f"{finding.file}: {finding.problem}")
        if finding.wrong and session.json:
            session.say(line)
        elif finding.wrong:
            click.echo(click.style(line, fg="red"))
    notes = ((finding.problem, f"note: {finding.file}") for finding in result.findings if not finding.wrong)
    signed = ((signer, run[-8:]) for run, signers in result.signers.items() for signer in signers)
    for what, files in _together(notes):
        _say_some(session, files, f": {what}")
    for who, runs in _together(signed):
        _say_some(session, runs, f" is signed by {who}")
    wrong = sum(finding.wrong for finding in result.findings)
    unsigned = sum(finding.unsigned for finding in result.findings)
    what = f"{len(result.runs):,} run{'s' * (len(result.runs) != 1)}"
    if unsigned and unsigned == wrong:
        allowed = f"{unsigned} run{'s are' if unsigned != 1 else ' is'} signed by nobody who may: nothing was changed"
        session.complain(allowed, "`mlrun sign ID` signs a run; the file has a line for each key that may")
    elif wrong:
        session.complain(f"{wrong} thing{'s are' if wrong != 1 else ' is'} not as sealed, in {what}", _hint(result))
    else:
        session.say(f"{what} verified: nothing was changed")


def _together(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found.items()


def _say_some(session: Session, things: list[str], of_each: str) -> None:
    """Say the same of several things: a line for each of the first, and one for the others."""
    for thing in things[:_MOST]:
        session.say(printable(thing + of_each))
    if len(things) > _MOST:
        session.say(printable(f"and {len(things) - _MOST:,} more{of_each}"))


def _hint(result: Verified) -> str:
    if all(finding.file == "index.sqlite" for finding in result.findings if finding.wrong):
        return "index.sqlite is derived from the runs: remove it, and it is made anew"
    return "restore these files from a backup; what a re-run needs of them cannot be trusted"
