"""`mlrun compare`: metrics of groups of runs, with mean, spread and confidence, and a gate for CI."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import common, complete_runs
from runner.cli.session import Session
from runner.cli.table import table
from runner.errors import MlrunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.records.gate import Gate
    from runner.records.statistics import Contrast, Group, Sample


@click.command(short_help="Compare metrics of groups of runs.")
@click.argument("runs", metavar="[ID]...", nargs=-1, shell_complete=complete_runs)
@click.option("-g", "--group", "groups", multiple=True, metavar="NAME=CONDITION", help="A group of runs; repeatable.")
@click.option("--by", metavar="KEY", help="Put runs together by params.NAME, tags.NAME, name, entry_point, host.")
@click.option("--where", metavar="CONDITION", help="Only runs for which this holds, as in `mlrun list`.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only these metrics; repeatable.")
@click.option("--baseline", metavar="NAME", help="The group that others are compared with.  [default: the first]")
@click.option(
    "--confidence", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95, show_default=True
)
@click.option(
    "--fail-if", "gates", multiple=True, metavar="CONDITION", help="Exit 1 where it holds for a group; repeatable."
)
@common
@click.pass_obj
def compare(session: Session, /, **options: Any) -> None:
    """Compare metrics: each run counts once, with its last value; runs that did not succeed are left out.

    --fail-if compares means: `rmse > 1.05 * @baseline`, where @NAME is the same metric in the group of that name, and
    @baseline the baseline. It is judged for every group but those that it names.

    \b
    Examples:
      mlrun compare --by params.alpha --where 'project = "diabetes"'
      mlrun compare 1a2b3c4d 5e6f7a8b --metric rmse
      mlrun compare -g baseline='tags.on = "main"' -g new='tags.on = "mine"' --fail-if 'rmse > 1.05 * @baseline'
    """
    from runner.flow.compare import Asked, gather
    from runner.records.gate import parse_gate
    from runner.records.statistics import has_scipy, metrics_of

    gates = [parse_gate(text) for text in options["gates"]]
    groups = tuple(_named(text) for text in options["groups"])
    found = gather(Asked(options["runs"], groups, options["by"], options["where"]), session.store)
    baseline = _baseline(found.groups, options["baseline"])
    metrics = list(options["metrics"]) or metrics_of(found.groups)
    sides = [_side(group, baseline, metrics, options["confidence"]) for group in found.groups]
    failed = [fault for gate in gates for fault in _judge(gate, found.groups, baseline)]
    if session.json:
        session.emit(compare=_as_json(sides, baseline, options["confidence"], failed))
    else:
        _print(session, sides, metrics, baseline)
    if found.left_out:
        runs = f"{found.left_out} run{'s' * (found.left_out != 1)}"
        session.say(f"left out: {runs} that did not succeed, or took over another's results")
    if not has_scipy():
        session.say("without confidence intervals and p-values: pip install 'mlproject-runner[stats]'")
    for fault in failed:
        session.say(click.style("✗ ", fg="red") + fault)
    sys.exit(1 if failed else 0)


class _Side:
    """A group with what is said of it."""

    def __init__(self, group: Group, samples: dict[str, Sample], contrasts: dict[str, Contrast]) -> None:
        self.group = group
        self.samples = samples
        self.contrasts = contrasts


def _side(group: Group, baseline: Group, metrics: Sequence[str], confidence: float) -> _Side:
    from runner.records.statistics import contrast, summarise

    samples = {metric: summarise(group, metric, confidence) for metric in metrics}
    contrasts = {metric: contrast(group, baseline, metric) for metric in metrics if group is not baseline}
    return _Side(
        group,
        {name: sample for name, sample in samples.items() if sample is not None},
        {name: each for name, each in contrasts.items() if each is not None},
    )


def _named(text: str) -> tuple[str, str]:
    name, sign, condition = text.partition("=")
    if not (name.strip() and sign and condition.strip()):
        message = f"a group is given as NAME=CONDITION, not as {text!r}"
        raise UsageError(message, hint="""write -g baseline='tags.branch = "main"'""")
    return name.strip(), condition.strip()


def _baseline(groups: Sequence[Group], name: str | None) -> Group:
    wanted = name or "baseline"
    found = next((group for group in groups if group.name == wanted), None)
    if found is None and name is not None:
        message = f"there is no group {name!r} to compare with"
        raise UsageError(message, hint=f"the groups are {', '.join(group.name for group in groups)}")
    return found or groups[0]


def _judge(gate: Gate, groups: Sequence[Group], baseline: Group) -> list[str]:
    """Return a line for each group that a gate holds back."""
    by_name = {**{group.name: group for group in groups}, "baseline": baseline}
    for name in gate.groups:
        if name not in by_name:
            message = f"--fail-if: there is no group {name!r}"
            raise UsageError(message, hint=f"the groups are {', '.join(group.name for group in groups)}")
    named = {by_name[name].name for name in gate.groups}
    judged = [group for group in groups if group.name not in named]
    return [f"{group.name}: {gate.text}" for group in judged if gate.holds(_means(group, by_name))]


def _means(judged: Group, by_name: dict[str, Group]) -> Any:
    import statistics

    def look_up(metric: str, name: str | None) -> float:
        group = judged if name is None else by_name[name]
        values = group.values.get(metric)
        if not values:
            message = f"--fail-if: no run of {group.name} has the metric {metric!r}"
            raise MlrunError(message, hint=f"it has {', '.join(sorted(group.values)) or 'no metrics'}")
        return statistics.fmean(values)

    return look_up


def _print(session: Session, sides: Sequence[_Side], metrics: Sequence[str], baseline: Group) -> None:
    columns = ("metric", "group", "runs", "mean", "sd", "min", "max", "interval", f"vs {baseline.name}")
    rows = [
        [metric, side.group.name, *_cells(side.samples[metric]), _versus(side.contrasts.get(metric))]
        for metric in metrics
        for side in sides
        if metric in side.samples
    ]
    if rows:
        click.echo(table(columns, rows))
    else:
        session.say(f"no run has {', '.join(metrics)}" if metrics else "the runs have no metrics")


def _cells(sample: Sample) -> list[str]:
    spread = "-" if sample.deviation is None else _number(sample.deviation)
    interval = "-" if sample.interval is None else " .. ".join(map(_number, sample.interval))
    return [str(sample.count), _number(sample.mean), spread, _number(sample.minimum), _number(sample.maximum), interval]


def _versus(contrast: Contrast | None) -> str:
    if contrast is None:
        return "-"
    change = _number(contrast.difference) if contrast.relative is None else f"{100 * contrast.relative:+.2f} %"
    return change if contrast.p_value is None else f"{change}  p={contrast.p_value:.2g}"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _as_json(sides: Sequence[_Side], baseline: Group, confidence: float, failed: list[str]) -> dict[str, Any]:
    from runner.worker.codec import encode

    return {
        "baseline": baseline.name,
        "confidence": confidence,
        "groups": [
            {
                "name": side.group.name,
                "runs": list(side.group.runs),
                "metrics": encode(tuple(side.samples.values())),
                "contrasts": encode(tuple(side.contrasts.values())),
            }
            for side in sides
        ],
        "failed": failed,
    }
