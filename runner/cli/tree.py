"""Trees as people like to read them: a line for each branch, its children indented below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.worker.values import dataclass


@dataclass(frozen=True)
class Branch:
    """A line, and what hangs from it."""

    text: str
    below: Sequence[Branch] = ()


def draw(root: Branch) -> Iterator[str]:
    """Yield a tree's lines, the root first."""
    yield _flat(root.text)
    yield from _draw(root.below, "")


def _draw(branches: Sequence[Branch], indent: str) -> Iterator[str]:
    for index, branch in enumerate(branches):
        last = index == len(branches) - 1
        yield f"{indent}{'└─ ' if last else '├─ '}{_flat(branch.text)}"
        yield from _draw(branch.below, indent + ("   " if last else "│  "))


def _flat(text: str) -> str:
    return text.replace("\n", "↵")
