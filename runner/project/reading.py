"""Takes nodes for what a key should hold, and collects what is wrong instead of stopping at the first fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from runner.project.document import BOOLEAN, MAPPING, NULL, NUMBER, OTHER, SEQUENCE, TEXT, Node
from runner.project.model import ERROR, Finding

VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_EMPTY = Node(NULL, 0)


class Reader:
    """Reads the nodes of one file; a value that does not fit is reported and left out."""

    def __init__(self, file: str) -> None:
        """Name the file as messages should."""
        self.file = file
        self.findings: list[Finding] = []

    def say(  # noqa: PLR0913 - the parts of a finding, by name
        self,
        line: int | None,
        key: str,
        message: str,
        *,
        code: str = "wrong-value",
        severity: str = ERROR,
        hint: str = "",
        mlflow: str = "",
        entry_point: str | None = None,
    ) -> None:
        """Report something at a line of the file."""
        self.findings.append(Finding(severity, code, message, self.file, line, key, hint, mlflow, entry_point))

    def expect(self, node: Node, key: str, expected: str, hint: str = "", mlflow: str = "") -> None:
        """Report that a node is not what its key should hold."""
        message = f"{expected} is expected, not {node.described}"
        self.say(node.line, key, message, code="wrong-type", hint=hint, mlflow=mlflow)

    def mapping(self, node: Node | None, key: str, expected: str, hint: str = "") -> Mapping[str, Node]:
        """Return a mapping's items; none where it is absent or empty."""
        if node is None or node.kind == NULL:
            return {}
        if node.kind != MAPPING:
            self.expect(node, key, expected, hint)
        return node.items

    def text(self, node: Node | None, key: str, expected: str, hint: str = "") -> str:
        """Return a text; "" where it is absent or empty."""
        if node is None or node.kind == NULL:
            return ""
        if node.kind != TEXT:
            self.expect(node, key, expected, hint)
            return ""
        return node.text

    def scalar(self, node: Node | None, key: str, expected: str) -> str:
        """Return a single value as it is written; "" where it is absent or empty."""
        if node is None or node.kind == NULL:
            return ""
        if node.kind not in (TEXT, NUMBER, BOOLEAN, OTHER):
            self.expect(node, key, expected)
        return node.text

    def texts(self, node: Node | None, key: str, expected: str, fits: Callable[[str], str]) -> tuple[str, ...]:
        """Return a text, or a list of texts, without repetitions; ``fits`` says what is wrong with one, or nothing."""
        if node is None or node.kind == NULL:
            return ()
        if node.kind not in (TEXT, SEQUENCE):
            self.expect(node, key, expected)
            return ()
        return tuple(dict.fromkeys(self._each(node, key, expected, fits)))

    def _each(self, node: Node, key: str, expected: str, fits: Callable[[str], str]) -> Iterable[str]:
        for index, element in enumerate(node.elements or ((node,) if node.kind == TEXT else ())):
            place = f"{key}[{index}]" if node.elements else key
            fault = fits(element.text) if element.kind == TEXT else ""
            if element.kind != TEXT:
                self.expect(element, place, expected)
            elif fault:
                self.say(element.line, place, fault)
            else:
                yield element.text


def described(node: Node | None) -> str:
    """Return a description, which may hold anything: MLflow never looked at it."""
    return "" if node is None or node.kind == NULL else node.text


def find(items: Mapping[str, Node], name: str) -> Node | None:
    """Return the node of a key that holds something; None where it is absent or null."""
    node = items.get(name)
    return None if node is None or node.kind == NULL else node
