"""Runs MLprojects through MLflow, many in one process: started by MLflow's interpreter, not by pytest."""

import json
import os
import sys
from pathlib import Path

import click
import mlflow
import mlflow.projects
from mlflow.cli import _user_args_to_dict


def run(case):
    """What became of a case (done, failed, refused or usage), why, and the states of the runs it left."""
    os.environ["STUB_LOG"] = case["log"]
    os.environ["SHELL"] = "shell"
    os.chdir(case["caller"])
    mlflow.set_tracking_uri(f"file://{case['store']}")
    status, reason = "done", ""
    try:
        mlflow.projects.run(
            case["uri"],
            entry_point=case["entry_point"],
            parameters=_user_args_to_dict(case["given"]),
            env_manager="local",
            storage_dir=case["storage"],
        )
    except click.UsageError as error:
        status, reason = "usage", str(error)
    except Exception as error:  # noqa: BLE001 - of any class: what MLflow raises is the result
        reason = f"{type(error).__name__}: {error}"
        status = "failed" if "Run (ID" in reason else "refused"
    left = [found.info.status for found in mlflow.search_runs(search_all_experiments=True, output_format="list")]
    return status, reason, left


if __name__ == "__main__":
    requests, answers = map(Path, sys.argv[1:])
    answers.write_text(json.dumps([run(case) for case in json.loads(requests.read_text())]))
