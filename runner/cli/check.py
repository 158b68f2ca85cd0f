"""`mlrun check`: what is wrong in a project, what may surprise, and what MLflow would do with it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from runner.cli.options import common
from runner.cli.session import Session, printable

_COLORS = {"error": "red", "warning": "yellow", "note": "blue"}


@click.command(short_help="Find what is wrong in a project.")
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@common
@click.pass_obj
def check(session: Session, directory: Path) -> None:
    """Print every error and warning of a project with file, line and key; exit 1 where there are errors.

    \b
    Example:
      mlrun check ./project
    """
    from runner.project.check import check as findings_of

    findings = findings_of(directory)
    errors, warnings = (sum(each.severity == severity for each in findings) for severity in ("error", "warning"))
    if session.json:
        session.emit(
            findings=[{k: os.fspath(v) if isinstance(v, Path) else v for k, v in asdict(f).items()} for f in findings]
        )
        sys.exit(1 if errors else 0)
    for finding in findings:
        color = _COLORS[finding.severity]
        where = "".join(f"{part}:" for part in (finding.file, finding.line) if part)
        key = f" {finding.key}:" if finding.key else ""
        severity = click.style(finding.severity, fg=color, bold=True)
        place = f"{printable(where)} " if where else ""
        click.echo(f"{place}{severity}:{printable(key)} {printable(finding.message)} [{finding.code}]")
        for label, text in (("hint", finding.hint), ("MLflow", finding.mlflow)):
            if text:
                click.echo(f"  {click.style(label, fg='cyan')}: {printable(text)}")
    session.say(f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}")
    sys.exit(1 if errors else 0)
