"""`mlrun lineage`: which run made a file, from what, by whom and why; or what became of it. `mlrun note`: say more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from runner.cli.options import common, complete_runs, run_argument
from runner.cli.session import Session, printable
from runner.cli.tree import Branch, draw
from runner.errors import UsageError
from runner.store.ids import short

if TYPE_CHECKING:
    from runner.records.lineage import Lineage, Link, Step

_COLORS = {"succeeded": "green", "failed": "red", "killed": "yellow", "lost": "red"}
_MOST_FILES = 12  # of one run, before the rest is counted
_MOST_NAMED = 5  # runs named in one line
_MOST_DEEP = 100


@click.command(short_help="Show which run made a file, and from what.")
@click.argument("subject", metavar="FILE|DIGEST|ID", shell_complete=complete_runs)
@click.option("--up", is_flag=True, help="Where it is from.  [default]")
@click.option("--down", is_flag=True, help="What was made of it.")
@click.option("--dot", is_flag=True, help="Print a graph for Graphviz.")
@click.option("--mermaid", is_flag=True, help="Print a graph for Markdown.")
@common
@click.pass_obj
def lineage(session: Session, subject: str, *, up: bool, down: bool, dot: bool, mermaid: bool) -> None:
    """Show which run made a file, its inputs, the runs that made those, up to commits and data from outside.

    A file is known by its bytes, wherever it lies and whatever it is called now. The exit code is 1 where no run of
    this store made it (with --down: read it).

    \b
    Examples:
      mlrun lineage paper/figure3.csv
      mlrun lineage data/clean.csv --down
      mlrun lineage latest --mermaid >> README.md
    """
    from runner.flow.lineage import find_subject
    from runner.records.lineage import trace
    from runner.records.lineage_formats import to_dot, to_mermaid

    if (up and down) or dot + mermaid + session.json > 1:
        message = "--up and --down are two questions, --dot, --mermaid and --json three forms"
        raise UsageError(message, hint="choose one of each")
    store, direction = session.store, "down" if down else "up"
    found = trace(find_subject(subject, store), store, direction)
    if session.json:
        session.emit(lineage=found.to_json())
    elif dot or mermaid:
        click.echo(to_dot(found) if dot else to_mermaid(found))
    else:
        for line in draw(_Drawing(found).root()):
            click.echo(line)
    if not found.complete:
        session.say(f"there is more: the first {len(found.steps):,} runs are followed")
    if not found.begins:
        session.say(f"no run of this store {'made' if direction == 'up' else 'read'} it")
        raise SystemExit(1)


@click.command(short_help="Say more of a run, beside its record.")
@run_argument
@click.argument("words", metavar="[TEXT]", nargs=-1)
@common
@click.pass_obj
def note(session: Session, run_id: str, words: tuple[str, ...]) -> None:
    """Add a note to a run, or without TEXT print those it has. The sealed record stays as it is.

    \b
    Examples:
      mlrun note 1a2b3c4d "used for figure 3"
      mlrun note 1a2b3c4d
    """
    from runner.flow.notes import add
    from runner.records.notes import read_notes
    from runner.worker.codec import encode

    run = session.store.find(run_id)
    if words:
        add(run, " ".join(words))
    notes = read_notes(run)
    if session.json:
        session.emit(run=run.id, notes=encode(notes))
    elif words:
        session.say(f"noted of {short(run.id)}")
    else:
        if not notes:
            session.say(f"{short(run.id)} has no notes")
        for each in notes:
            click.echo(f"{each.at[:16].replace('T', ' ')}  {printable(each.by)}: {printable(each.text)}")


class _Drawing:
    """A lineage becoming a tree: each run is drawn once, and named where it comes again."""

    def __init__(self, found: Lineage) -> None:
        self._found = found
        self._drawn: set[str] = set()

    def root(self) -> Branch:
        subject = self._found.subject
        if subject.run is not None:
            return self._run(subject.run, 0)
        name = subject.path or "sha256"
        return Branch(
            f"{click.style(printable(name), bold=True)}  {(subject.sha256 or '')[:12]}",
            self._runs(self._found.begins, 0),
        )

    def _runs(self, runs: Sequence[str], depth: int) -> list[Branch]:
        """Draw the runs at the end of a link: all that read it; of its possible makers one, the others named."""
        if self._found.direction == "down":
            return [self._run(run, depth) for run in runs]
        if not runs:
            return []
        chosen = next((run for run in reversed(runs) if self._is_original(run)), runs[-1])
        others = [self._named(run) for run in runs if run != chosen]
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        also = [Branch(_dim(f"the same bytes were made by {', '.join(others[:_MOST_NAMED])}{more}"))] if others else []
        return [self._run(chosen, depth), *also]

    def _is_original(self, run: str) -> bool:
        step = self._found.steps.get(run)
        return step is not None and step.known and step.rerun_of is None and step.reused is None

    def _named(self, run: str) -> str:
        step = self._found.steps.get(run)
        if step is None or not (step.rerun_of or step.reused):
            return short(run)
        return short(run) + (" (a re-run)" if step.rerun_of else " (reused)")

    def _run(self, run: str, depth: int) -> Branch:
        step = self._found.steps.get(run)
        if step is None or not step.known:
            return Branch(f"{short(run)}  {_dim('not in this store any more' if step else 'not followed')}")
        if run in self._drawn or depth > _MOST_DEEP:
            return Branch(f"{_headline(step)}  {_dim('(see above)')}")
        self._drawn.add(run)
        facts = [Branch(text) for text in _facts(step)] if self._found.direction == "up" else []
        return Branch(_headline(step), [*facts, *self._links(step, depth + 1)])

    def _links(self, step: Step, depth: int) -> Iterator[Branch]:
        up = self._found.direction == "up"
        shown = [link for link in step.links if link.runs or link.basis != "observed" or not up]
        shown.sort(key=lambda link: not link.runs)
        for link in shown[:_MOST_FILES]:
            how = "  from outside" if not link.runs else "  lay there" if link.basis == "observed" else ""
            outside = _dim(how) if up else ""
            yield Branch(f"{_file(link)}{outside}", self._runs(link.runs, depth))
        rest = len(step.links) - min(len(shown), _MOST_FILES)
        if rest:
            yield Branch(_dim(f"{rest} more file{'s' * (rest != 1)}{' that lay there' if up else ''}"))


def _headline(step: Step) -> str:
    name = f" {printable(step.name)}" if step.name else ""
    status = click.style(step.status, fg=_COLORS.get(step.status))
    why = f'  "{printable(step.why)}"' if step.why else ""
    when = step.created[:16].replace("T", " ")
    what = printable(f"{step.project} {step.entry_point}".strip())
    return f"{click.style(short(step.run) + name, bold=True)}  {what}  {status}  {when}  {printable(step.who)}{why}"


def _facts(step: Step) -> Iterator[str]:
    code = step.code
    if code is not None and code.commit:
        dirty = " and uncommitted changes" if code.dirty else ""
        place = f"  {code.url}" if code.url else ""
        yield f"code {code.commit[:12]}{f' on {code.branch}' if code.branch else ''}{dirty}{printable(place)}"
    elif code is not None:
        yield f"code of no commit, snapshot {code.snapshot[:12]}"
    if step.parameters:
        yield " ".join(f"{printable(name)}={printable(value)}" for name, value in step.parameters.items())
    if step.parent:
        yield f"part of {short(step.parent)}"
    if step.rerun_of:
        yield f"a re-run of {short(step.rerun_of)}"
    if step.reused:
        yield f"nothing was executed: the results of {short(step.reused)}"
    for each in step.notes:
        yield f"note of {each.at[:10]}, {printable(each.by)}: {printable(each.text)}"


def _file(link: Link) -> str:
    return f"{click.style(printable(link.path), fg='cyan')}  {_dim((link.sha256 or 'not hashed')[:12])}"


def _dim(text: str) -> str:
    return click.style(text, dim=True)
