"""Pickled models as their opcodes, which are read and never carried out: without random ids and the run's own place.

cloudpickle writes into a class of the script itself a random id, and into its functions the path of the script.
"""

from __future__ import annotations

import pickletools
import re
from typing import Any

_MOST = 1 << 28  # bytes
_ID = re.compile("[0-9a-f]{32}")
_LAYOUT = frozenset({"FRAME", "PROTO"})  # where the stream is cut depends on the length of what is in it


def read_pickle(data: bytes, home: str) -> Any:
    """Return what two pickles of the same model have in common; ``home`` is the directory that its run worked in.

    ValueError for what is no pickle, or too large to be looked into.
    """
    if len(data) > _MOST:
        message = "too large to be looked into"
        raise ValueError(message)
    ids: dict[str, int] = {}
    found: list[tuple[str, Any]] = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _LAYOUT:
            continue
        if not isinstance(argument, str):
            found.append((opcode.name, argument))
        elif _ID.fullmatch(argument):
            found.append(("id", ids.setdefault(argument, len(ids))))
        else:
            found.append(("text", argument.replace(f"{home}/", "") if home else argument))
    return found
