"""What a command logged through MLflow's client, as rows of `mlrun show`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Row = tuple[str, str, str]


def registered_rows(models: Sequence[Any]) -> list[Row]:
    """Return a row for each version of the models that the command registered."""
    rows = []
    for model in models:
        for version in model["versions"]:
            aliases = [alias for alias, number in model["aliases"].items() if number == version["version"]]
            named = ", ".join(filter(None, [version["stage"], *aliases]))
            rows.append((f"{model['name']} {version['version']}", version["path"], named))
    return rows


def dataset_rows(datasets: Sequence[Any]) -> list[Row]:
    """Return a row for each logged dataset."""
    return [
        (item["name"], f"{item['digest']}  {_place(item['source'])}".rstrip(), item["context"]) for item in datasets
    ]


def _place(source: str) -> str:
    """Return where a dataset lies; "" where its source, JSON of MLflow's, says only which code made it."""
    try:
        told = json.loads(source)
    except ValueError:
        return source
    known = ("uri", "url", "path", "delta_table_name")
    return next((str(told[key]) for key in known if told.get(key)), "") if isinstance(told, dict) else source
