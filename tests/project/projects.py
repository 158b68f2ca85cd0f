"""Small MLprojects for tests."""

import textwrap
from pathlib import Path


def write(directory: Path, text: str, name: str = "MLproject") -> Path:
    """Write an MLproject, its indentation taken away, and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(textwrap.dedent(text).lstrip("\n"))
    return directory
