"""`mlrun rerun`: a past run again, and a verdict on whether the result is the same."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import assignment, common, going_to, launching, run_argument
from runner.cli.session import Session, printable

if TYPE_CHECKING:
    from runner.backends.choice import Choice
    from runner.flow.judge import Judgement
    from runner.records.verdict import Difference, Verdict

_COLORS = {"identical": "green", "within-tolerance": "green", "different": "red", "unverifiable": "yellow"}
_MOST = 20  # lines of one kind, before the rest is counted


@click.command(short_help="Run a past run again, exactly, and compare.")
@run_argument
@click.option(
    "-P",
    "--param-list",
    "overrides",
    multiple=True,
    metavar="NAME=VALUE",
    callback=assignment,
    help="Another value for a parameter.",
)
@click.option(
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="METRIC=EPS",
    help="How far a metric may be off: 0.01, or 1% of its value; repeatable.",
)
@click.option("--check", is_flag=True, help="Exit 0 for the same result, 1 for another one, 3 where none can be told.")
@click.option(
    "--allow-changed-inputs",
    is_flag=True,
    help="Run with changed inputs as they are today; those that lie in the snapshot stay what they were.",
)
@click.option("--dry-run", is_flag=True, help="Check the inputs and print what would run; nothing is made.")
@click.option("-d", "--detach", is_flag=True, help="Return when the run is launched.")
@launching
@common
@click.pass_obj
def rerun(session: Session, /, **options: Any) -> None:
    """Run a past run again, exactly: its source, parameters, interpreter and packages, from its record alone.

    It works in a fresh directory. The exit code is the command's own, or with --check the verdict's.

    \b
    Examples:
      mlrun rerun latest
      mlrun rerun 1a2b3c4d --check --tolerance rmse=1%
      mlrun rerun 1a2b3c4d -P alpha=0.7
    """
    from runner.backends.choice import choose
    from runner.cli.live import Signals, carry_through, launched
    from runner.flow.judge import judge
    from runner.flow.rerun import prepare_again, start_again
    from runner.records.verdict import parse_tolerance

    tolerances = dict(parse_tolerance(text) for text in options["tolerances"])
    ask = _ask(options, choose(options["host"], options["backend"], options["backend_config"]))
    store = session.store
    past = store.find(options["run_id"])
    if options["dry_run"]:
        prepared = prepare_again(past, ask, store)
        session.emit(spec=prepared.spec.to_json(), digest=prepared.spec.digest)
        return
    with Signals(session) as signals:
        foreground = not options["detach"]
        started = start_again(past, ask, store, session.say, foreground=foreground, interrupts=signals)
        signals.end(started.run)
        if options["detach"] and not signals.received:
            launched(session, started)
            return
        ended = carry_through(session, store, started, emit=False)
    judgement = judge(started.run, store, tolerances)
    if session.json:
        session.emit(run=ended.record, verdict=judgement.to_json())
    say_verdict(session, judgement)
    sys.exit(judgement.verdict.exit_code if options["check"] else ended.exit_code)


def say_verdict(session: Session, judgement: Judgement) -> None:
    """Say the verdict in words: the result's differences, then what could explain them."""
    from runner.store.store import short

    verdict = judgement.verdict
    kind = click.style(verdict.kind, fg=_COLORS[verdict.kind], bold=True)
    session.say(f"{kind}: {_words(verdict, short(judgement.before))}")
    _say_differences(session, verdict.differences or verdict.within)
    if verdict.kind != "unverifiable" and judgement.causes:
        session.say("what else differs:")
        _say_differences(session, judgement.causes)


def _words(verdict: Verdict, past: str) -> str:
    things = f"{verdict.compared} result{'s' * (verdict.compared != 1)} (outputs, values of metrics)"
    if verdict.kind == "identical":
        return f"{things} compared with {past}, all the same"
    if verdict.kind == "within-tolerance":
        return f"{things} compared with {past}; {len(verdict.within)} near enough, the rest the same"
    if verdict.kind == "different":
        return f"{things} compared with {past}; {len(verdict.differences)} not the same"
    return "; ".join(verdict.reasons)


def _say_differences(session: Session, differences: tuple[Difference, ...]) -> None:
    for each in differences[:_MOST]:
        values = "" if each.before is each.after is None else f": {each.before or '-'} -> {each.after or '-'}"
        note = f" ({each.note})" if each.note else ""
        session.say(f"  {printable(f'{each.what} {each.name}{values}{note}')}")
    if len(differences) > _MOST:
        session.say(f"  and {len(differences) - _MOST} more; --json has them all")


def _ask(options: dict[str, Any], chosen: Choice) -> Any:
    from runner.flow.ask import Labels, run_name
    from runner.flow.rerun import AskAgain

    return AskAgain(
        overrides=options["overrides"],
        allow_changed_inputs=options["allow_changed_inputs"],
        validate=not options["no_validate"],
        backend=chosen.backend,
        backend_config=chosen.config,
        fetch=not options["no_fetch"],
        labels=Labels(name=run_name(options["run_name"]), why=options["why"], **going_to(options["tracking_uri"])),
        keep_work=options["keep_work"],
        keep_outputs=options["keep_outputs"],
        trace=not options["no_trace"],
        argv=tuple(sys.argv),
    )
