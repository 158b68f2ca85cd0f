"""Tables as people read them: aligned columns, cut to the terminal's width; on a pipe whole, and without color."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence

import click

from runner.cli.session import printable

Paint = Callable[[str, str], str]  # (column, text) -> text with its color


def _plain(column: str, text: str) -> str:
    del column
    return text


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint = _plain) -> str:
    """Return rows under their columns' names; the last column is cut where the terminal ends."""
    cells = [[_flat(cell) for cell in row] for row in rows]
    widths = [max(map(_width, (name, *(row[index] for row in cells)))) for index, name in enumerate(columns)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = [click.style(_line(_padded([name.upper() for name in columns], widths)), bold=True)]
    for row in cells:
        fitted = _fit(row, widths, limit)
        padded = _padded(fitted, widths)
        lines.append(_line([paint(name, cell) for name, cell in zip(columns, padded, strict=True)]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "  ".join(cells)


def _padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Bring cells to their columns' widths; nothing stands behind the last one that needs it."""
    return [*(_pad(cell, width) for cell, width in zip(cells[:-1], widths[:-1], strict=True)), *cells[-1:]]


def _fit(row: list[str], widths: Sequence[int], limit: int | None) -> list[str]:
    if limit is None or not row:
        return row
    room = max(8, limit - sum(widths[:-1]) - 2 * (len(widths) - 1))
    return [*row[:-1], _cut(row[-1], room)]


def _cut(text: str, room: int) -> str:
    if _width(text) <= room:
        return text
    while _width(text) > room - 1:
        text = text[:-1]
    return text + "…"


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _flat(text: str) -> str:
    return printable(text).replace("\n", "↵").replace("\t", " ")
