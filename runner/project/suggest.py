"""What somebody may have meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that looks most like ``name``; "" where none does."""
    import difflib

    names = list(known)
    folded = {other.lower(): other for other in reversed(names)}
    if name.lower() in folded:
        return folded[name.lower()]
    return next(iter(difflib.get_close_matches(name, names, 1)), "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question for a hint, or "" where no known name looks like ``name``."""
    close = closest(name, known)
    return f"did you mean {close!r}?" if close else ""


def listed(names: Iterable[str], most: int = 12) -> str:
    """Return names for a message, the first ones where there are many."""
    known = list(names)
    shown = ", ".join(known[:most])
    return f"{shown}, and {len(known) - most} more" if len(known) > most else shown
