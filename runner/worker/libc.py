"""The C library of this machine."""

from __future__ import annotations

import os


def libc() -> str:
    """Return name and version of the GNU C library, "glibc 2.36"; "" for another: musl knows the question, and errs."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return ""
