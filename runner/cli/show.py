"""`mlrun show`: the record of a run, as JSON whole, or what a person looks for first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from runner.cli.logged import dataset_rows, registered_rows
from runner.cli.options import common, run_argument
from runner.cli.session import Session, printable
from runner.cli.sub_runs import sub_run_rows
from runner.cli.when import ago, amount, duration
from runner.errors import RunNotFoundError

if TYPE_CHECKING:
    from runner.store.store import Store
    from runner.worker.rundir import RunDirectory

_MOST = 8  # files of one kind, before the rest is counted
_COLORS = {"succeeded": "green", "failed": "red", "killed": "yellow", "lost": "red"}

Line = tuple[str, str]


@click.command(short_help="Show the record of a run.")
@run_argument
@common
@click.pass_obj
def show(session: Session, run_id: str) -> None:
    """Show the record of a run: code, parameters, environment, machine, inputs, outputs, metrics, and gaps.

    With --json it is the record itself, as `record.json` holds it; of a run that goes on, what is known so far.
    A sub-run, which a client of MLflow made inside of a run, is shown by itself.

    \b
    Examples:
      mlrun show latest
      mlrun show 1a2b3c4d --json | jq .environment.packages
    """
    from runner.flow.follow import record_and_state

    store = session.store
    run, sub_run = _find(store, run_id)
    found = record_and_state(run, store, brief=not session.json)
    record: Any = found[0]
    if sub_run is not None:
        _show_sub_run(session, record, sub_run)
        return
    if session.json:
        import json

        click.echo(json.dumps(record, indent=1))
        return
    for label, text in lines(record):
        color = _COLORS.get(record["run"]["status"]) if label == "status" else None
        click.echo(click.style(f"{label:12}", bold=True) + click.style(printable(text), fg=color))
    for number, text in enumerate(_inside(store, run.id, 0)):
        click.echo(click.style(f"{'runs inside' if number == 0 else '':12}", bold=True) + printable(text))
    if found[1] is not None and found[1].remark:
        session.say(f"note: {found[1].remark}")
    for label, text in _published(run):
        click.echo(click.style(f"{label:12}", bold=True) + printable(text))
    session.detail(f"the files are in {run.path}")


def _find(store: Store, text: str) -> tuple[RunDirectory, str | None]:
    """Return a run; or the one with a sub-run, and that one's id."""
    try:
        return store.find(text), None
    except RunNotFoundError:
        inside = store.find_sub_run(text)
        if inside is None:
            raise
        return inside


def _show_sub_run(session: Session, record: Any, identity: str) -> None:
    children = [] if record["tracking"] is None else record["tracking"]["children"]
    child = next((each for each in children if each["id"] == identity), None)
    if child is None:
        message = f"nothing is known yet of the sub-run {identity}"
        raise RunNotFoundError(message, hint=f"`mlrun show {record['run']['id'][-8:]}` shows the run that it is in")
    if session.json:
        session.emit(run=record["run"]["id"], sub_run=child)
        return
    inside = f"children/{identity}/"
    outputs = [item for item in record["outputs"] if item["path"].startswith(inside)]
    series = child["metrics"]["series"]
    for label, text in (
        ("sub-run", f"{identity} ({child['name']})" if child["name"] else identity),
        ("status", child["status"]),
        ("inside", f"the run {record['run']['id']}" + (f", below {child['parent']}" if child["parent"] else "")),
        *_logged({**child, "children": [each for each in children if each["parent"] == identity]}),
        *_files("outputs", outputs),
        *_pairs("metrics", [(item["name"], _number(item["last"]), _points(item)) for item in series]),
    ):
        click.echo(click.style(f"{label:12}", bold=True) + printable(text))


def _inside(store: Store, run: str, depth: int) -> Iterator[str]:
    """Yield a line for each run that was started from inside a run, those inside of it indented below."""
    for each in store.index.children_of(run):
        took = f" in {duration(each.duration)}" if each.duration is not None else ""
        yield f"{'  ' * depth}{each.id[-8:]}  {each.entry_point}  {each.status}{took}"
        yield from _inside(store, each.id, depth + 1)


def _published(run: RunDirectory) -> Iterator[Line]:
    """Yield the addresses of the run's pages at MLflow servers, and what is not there."""
    if not run.published.exists():
        return
    from runner.cli.publish import page
    from runner.publishing.published import every

    for index, each in enumerate(every(run)):
        note = "" if each.complete else "  (not all of it)"
        yield "published" if index == 0 else "", page(each) + note
        yield from (("", f"not there: {refused.what}: {refused.reason}") for refused in each.refused)


def lines(record: Any) -> Iterator[Line]:
    """Yield what to show, as (label, text); a label of "" goes on with the one above."""
    yield from _run(record)
    yield from _code(record["code"])
    yield from _pairs("parameters", [(p["name"], p["raw"], _origin(p)) for p in record["parameters"]])
    yield from _environment(record["environment"])
    yield from _machine(record)
    yield from _files("inputs", record["inputs"])
    yield from _files("outputs", record["outputs"])
    series = record["metrics"]["series"]
    yield from _pairs("metrics", [(item["name"], _number(item["last"]), _points(item)) for item in series])
    yield from _logged(record.get("tracking"))
    yield from _result(record["result"])
    yield from _pairs("gaps", [(gap["field"], gap["reason"], "") for gap in record["gaps"]])


def _logged(tracking: Any) -> Iterator[Line]:
    """Yield what the command logged through MLflow's client."""
    if tracking is not None:
        yield from _pairs("logged", [(name, value, "") for name, value in tracking["params"].items()])
        tags = {name: value for name, value in tracking["tags"].items() if not name.startswith("mlflow.")}
        yield from _pairs("logged tags", [(name, value, "") for name, value in tags.items()])
        yield from _pairs("models", [(item["name"], item["path"], item["status"]) for item in tracking["models"]])
        yield from _pairs("registered", registered_rows(tracking.get("registered", [])))
        yield from _pairs("datasets", dataset_rows(tracking.get("datasets", [])))
        yield from _pairs("sub-runs", sub_run_rows(tracking["children"], _MOST))


def _run(record: Any) -> Iterator[Line]:
    run, entry = record["run"], record["entry_point"]
    name = f" ({run['name']})" if run["name"] else ""
    yield "run", f"{run['id']}{name}"
    code = record["result"]["exit_code"]
    ending = f", exit code {code}" if code is not None else ""
    yield "status", run["status"] + ending
    error = record["result"]["error"]
    if error:
        yield "error", error["message"] + (f" ({error['hint']})" if error["hint"] else "")
    yield "project", f"{entry['project']}, entry point {entry['name']}"
    if entry["command"]:
        first, *others = entry["command"].splitlines() or [""]
        yield "command", first
        yield from (("", line) for line in others)
    yield "when", f"{run['created']} ({ago(run['created'])}), took {duration(run['duration'])}"
    actor = record["actor"]
    person = f" ({actor['name']} <{actor['email']}>)" if actor["name"] else ""
    yield "who", f"{actor['user']}{person}{' by ' + actor['agent'] if actor['agent'] else ''}"
    if record["why"]["text"]:
        yield "why", record["why"]["text"]
    yield from _pairs("tags", [(key, value, "") for key, value in record["why"]["tags"].items()])
    for relation, other in record["relations"].items():
        if other:
            yield relation.replace("_", " "), other


def _code(code: Any) -> Iterator[Line]:
    if code["commit"]:
        branch = f" on {code['branch']}" if code["branch"] else ""
        yield "code", f"{code['commit'][:12]}{branch}  {code['url'] or code['root']}"
    else:
        yield "code", f"{code['kind']}  {code['root']}"
    if code["dirty"]:
        changes = f"{len(code['modified'])} modified, {len(code['untracked'])} untracked"
        yield "", f"with uncommitted changes, which are stored: {changes}"
    yield "", f"{code['files']} files, {amount(code['bytes'])}, snapshot {code['snapshot']['sha256'][:12]}"
    if code["not_stored"]:
        yield "", f"not stored, for their size: {', '.join(code['not_stored'])}"


def _environment(environment: Any) -> Iterator[Line]:
    interpreter = environment["interpreter"]
    python = f", {interpreter['implementation']} {interpreter['version']}" if interpreter else ""
    packages = f", {len(environment['packages'])} packages" if environment["packages"] else ""
    container = environment.get("container")
    image = (
        f" {environment['image']} (sha256:{container['id']['sha256'][:12]}), {container['engine']}" if container else ""
    )
    yield "environment", f"{environment['kind']}{image}{python}{packages}"
    if environment["lock"]:
        origin = f" ({environment['lock_origin']})" if environment["lock_origin"] else ""
        yield "", f"lock {environment['lock']['sha256'][:12]}{origin}, {environment['why'] or 'built'}"


def _machine(record: Any) -> Iterator[Line]:
    execution, platform = record["execution"], record["platform"]
    by = "" if execution["backend"] == "local" else f" ({execution['backend']})"
    yield "machine", execution["host"] + by + (f", {platform['os']}" if platform else "")
    if platform:
        gpus = "".join(f", {gpu['model']}" for gpu in platform["gpus"])
        yield "", f"{platform['cpus']} x {platform['cpu']}, {amount(platform['memory'])}{gpus}"
    if execution["job_id"]:
        yield "job", _job(execution)
    usage = record["result"]["usage"]
    if usage:
        cpu = usage["user"] + usage["system"]
        yield "used", f"{duration(cpu)} of CPU, at most {amount(usage['peak_memory'])} of memory"


def _job(execution: Any) -> str:
    where = [f"{key} {execution[key]}" for key in ("cluster", "partition", "node") if execution.get(key)]
    queued = execution.get("queued")
    waited = [] if queued is None else [f"queued for {duration(queued)}"]
    return ", ".join([f"{execution['launcher']} {execution['job_id']}", *where, *waited])


def _files(label: str, files: list[Any]) -> Iterator[Line]:
    for index, item in enumerate(files[:_MOST]):
        digest = item["digest"]["sha256"][:12] if item["digest"] else "-" * 12
        made = f"  from run {item['produced_by'][0]}" if item.get("produced_by") else ""
        yield (
            label if index == 0 else "",
            f"{digest}  {amount(item['size']):>10}  {item['path']}  ({item['basis']}){made}",
        )
    if len(files) > _MOST:
        yield "", f"and {len(files) - _MOST} more"


def _result(result: Any) -> Iterator[Line]:
    if result["ambiguous"]:
        yield "ambiguous", "; ".join(result["ambiguous"])
    if result["left_behind"]:
        yield "left behind", f"{result['left_behind']} processes outlived the command and were ended"


def _pairs(label: str, rows: list[tuple[str, str, str]]) -> Iterator[Line]:
    width = max((len(name) for name, _, _ in rows), default=0)
    for index, (name, value, note) in enumerate(rows):
        yield label if index == 0 else "", f"{name:{width}}  {value}" + (f"  ({note})" if note else "")


def _origin(parameter: Any) -> str:
    return "" if parameter["source"] == "given" else str(parameter["source"])


def _points(series: Any) -> str:
    return "" if series["count"] == 1 else f"last of {series['count']}"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
