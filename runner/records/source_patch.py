"""The patch between the sources of two runs: read from their snapshots, uncommitted changes included; made by git."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from runner.sources.git import ask
from runner.worker.manifest import Entry, changed, decode_manifest, materialise
from runner.worker.objects import Objects

# Neither the user's configuration nor attributes in the sources may run a program, or change the patch's form.
_PLAIN = ("-c", "core.attributesFile=/dev/null", "-c", "core.quotePath=true", "-c", "diff.noprefix=false")
_DIFF = ("diff", "--no-index", "--no-ext-diff", "--no-textconv", "--no-renames", "--src-prefix=", "--dst-prefix=")


def source_patch(before: str, after: str, objects: Objects, *, color: bool = False) -> str:
    """Return the patch from one snapshot to another, each by the sha256 of its manifest; "" where they are the same.

    A file whose bytes are not kept is left out. IntegrityError or StoreError where a manifest cannot be read.
    """
    if before == after:
        return ""
    pairs = changed(*(decode_manifest(objects.read(sha256)) for sha256 in (before, after))).values()
    with tempfile.TemporaryDirectory(prefix="mlrun-") as name:
        root = Path(name)
        for side, entries in (("a", (old for old, _ in pairs)), ("b", (new for _, new in pairs))):
            (root / side).mkdir()
            materialise(_kept(entries, objects), objects, root / side)
        paint = "--color=always" if color else "--color=never"
        # Without a repository above: git must read neither its configuration nor its attributes.
        done = ask(root, *_PLAIN, *_DIFF, paint, "--", "a", "b", GIT_CEILING_DIRECTORIES=str(root.parent))
    return done.text


def _kept(entries: Iterable[Entry | None], objects: Objects) -> list[Entry]:
    return [entry for entry in entries if entry is not None and objects.has(entry.sha256)]
