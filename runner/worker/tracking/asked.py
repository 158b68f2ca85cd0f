"""What a request asks for, field by field; what a client must not leave out or get wrong is refused as MLflow does."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from runner.worker.tracking.refusal import Refused
from runner.worker.tracking.series import Point, number

_LONGEST_NAME = 250  # characters of the name of a metric, parameter or tag, as MLflow has it
_MOST_ENTRIES = 100_000  # of one batch; MLflow's own server takes 1,000
_INTEGERS = 1 << 63


class Asked:
    """The fields of one request."""

    def __init__(self, fields: Mapping[str, Any], words: tuple[str, ...] = ()) -> None:
        """Keep the fields, and the words that stood in the path."""
        self._fields = fields
        self.words = words

    def __contains__(self, name: str) -> bool:
        """Whether a field is there, and not null."""
        return self._fields.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return a field that is text; numbers and truth values are taken as JSON writes them."""
        value = self._fields.get(name)
        if value is None:
            return default
        if isinstance(value, (dict, list)):
            raise wrong(value, name)
        return value if isinstance(value, str) else json.dumps(value)

    def needed(self, name: str) -> str:
        """Return a field that is text and must not be empty."""
        value = self.text(name)
        if not value:
            message = f"Missing value for required parameter '{name}'"
            raise Refused(message)
        return value

    def integer(self, name: str, default: int = 0) -> int:
        """Return a field that is a 64-bit integer, also where it is written as text."""
        value = self._fields.get(name)
        if value is None or value == "":
            return default
        try:
            found = int(value) if isinstance(value, str) else value
            if isinstance(found, bool) or found != int(found) or abs(found) >= _INTEGERS:
                raise wrong(value, name)
            return int(found)
        except (ValueError, TypeError, OverflowError):
            raise wrong(value, name) from None

    def texts(self, name: str) -> list[str]:
        """Return a field that is a list of texts."""
        value = self._fields.get(name) or []
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise wrong(value, name)
        return value

    def each(self, name: str) -> list[Asked]:
        """Return a field that is a list of objects."""
        value = self._fields.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise wrong(value, name)
        return [Asked(item) for item in value]

    def run_id(self) -> str:
        """Return the id of the run that is meant; old clients call it `run_uuid`."""
        return self.text("run_id") or self.needed("run_uuid")

    def key(self) -> str:
        """Return the name of a metric, parameter or tag."""
        name = self.needed("key")
        if len(name) > _LONGEST_NAME:
            message = f"The name {name[:40]!r}... has {len(name)} characters, and at most {_LONGEST_NAME} are taken"
            raise Refused(message)
        return name

    def pair(self) -> tuple[str, str]:
        """Return key and value of a parameter or tag."""
        return self.key(), self.text("value")

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """Return a list of parameters or tags."""
        return [item.pair() for item in self.each(name)]

    def point(self) -> Point:
        """Return the value of a metric."""
        value = self._fields.get("value")
        try:
            found = number(value)
        except ValueError:
            raise wrong(value, "value") from None
        when = self.integer("timestamp") or int(time.time() * 1000)
        dataset = (self.text("dataset_name"), self.text("dataset_digest"))
        return Point(self.key(), found, self.integer("step"), when, self.text("model_id"), dataset)

    @property
    def fields(self) -> Mapping[str, Any]:
        """All of it, as it was sent."""
        return self._fields


def wrong(value: object, name: str) -> Refused:
    """Return the refusal of a value."""
    return Refused(f"Invalid value {str(value)[:200]!r} for parameter '{name}' supplied")


def read_query(query: str) -> Mapping[str, Any]:
    """Return the fields of a query; of a name that comes more than once, a list."""
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=10_000)
    except ValueError:
        message = "the query cannot be read"
        raise Refused(message) from None
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def refuse_endless(body: bytes) -> None:
    """Refuse a batch of more entries than are taken at once, before anything is made of it."""
    entries = body.count(b'"key"')
    if entries > _MOST_ENTRIES:
        message = f"a batch of {entries:,} entries, and at most {_MOST_ENTRIES:,} are taken at once; send it in parts"
        raise Refused(message)


def read_body(body: bytes) -> Mapping[str, Any]:
    """Return the fields of a body, which is a JSON object."""
    refuse_endless(body)
    try:
        data = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        message = "the body is no JSON"
        raise Refused(message, "BAD_REQUEST") from None
    if not isinstance(data, dict):
        message = "the body is no JSON object"
        raise Refused(message, "BAD_REQUEST")
    return data
