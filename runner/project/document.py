"""YAML files as trees of nodes that know their lines: read strictly, in bounded time and memory."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from runner.errors import ProjectError
from runner.worker.values import dataclass

SIZE_CAP = 1 << 20  # bytes; the largest of thousands of public MLprojects has some kilobytes
NODE_CAP = 20_000  # values, each use of an alias counted: what stops an alias bomb
DEPTH_CAP = 50

MAPPING, SEQUENCE, TEXT, NUMBER, BOOLEAN, NULL, OTHER = "mapping", "list", "text", "number", "boolean", "null", "other"
_TAG = "tag:yaml.org,2002:"
_KINDS = {f"{_TAG}{tag}": kind for tag, kind in (
    ("str", TEXT), ("int", NUMBER), ("float", NUMBER), ("bool", BOOLEAN), ("null", NULL),
)}  # fmt: skip
_SIGNS = (f"{_TAG}merge", f"{_TAG}value")  # `<<` and `=`, which PyYAML constructs in its own way or not at all
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Node:
    """A value of a document: what it is, where it stands, its text as written and what YAML 1.1 makes of it."""

    kind: str
    line: int  # of its key, where it has one
    text: str = ""  # of a scalar, as written
    value: Any = None  # as yaml.safe_load has it
    plain: bool = False  # a scalar without quotes, which YAML is free to interpret
    block: bool = False  # a `|` block: its first line of text is the next one
    items: Mapping[str, Node] = field(default_factory=dict)  # of a mapping, by the keys' text as written
    keys: Mapping[str, Any] = field(default_factory=dict)  # what YAML made of each key
    elements: tuple[Node, ...] = ()

    @property
    def described(self) -> str:
        """What it is, in words for a message."""
        if self.kind in (TEXT, NUMBER, BOOLEAN):
            shown = self.text if len(self.text) <= 40 else self.text[:37] + "..."  # noqa: PLR2004
            return f"the {self.kind} {shown!r}"
        return {MAPPING: "a mapping", SEQUENCE: "a list", NULL: "nothing"}.get(self.kind, f"{self.value!r:.40}")


def read_bytes(path: Path, what: str, cap: int = SIZE_CAP, *, pipes: bool = False) -> bytes:
    """Return a small file's bytes; ProjectError where it is missing, no plain file, or larger than ``cap``.

    ``pipes``: a pipe will do as well, as a shell's `<(command)` makes one; it is read to its end.
    """
    # Never wait on a pipe that nobody writes to, unless a pipe is what is meant.
    patience = 0 if pipes else os.O_NONBLOCK
    try:
        descriptor = os.open(path, os.O_RDONLY | patience | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not (stat.S_ISREG(status.st_mode) or (pipes and stat.S_ISFIFO(status.st_mode))):
                message = f"{shown(path)} is not a plain file"
                raise ProjectError(message, hint=f"{what} is a text file")
            data = stream.read(cap + 1)
    except IsADirectoryError:
        message = f"{shown(path)} is a directory"
        raise ProjectError(message, hint=f"{what} is a text file") from None
    except OSError as error:
        message = f"{shown(path)} cannot be read: {error.strerror}"
        raise ProjectError(message, hint="check its name and its permissions") from None
    if len(data) > cap:
        message = f"{shown(path)} is {max(status.st_size, len(data)):,} bytes large, and {what} has at most {cap:,}"
        raise ProjectError(message, hint="is it the right file? Data belongs into files of its own")
    return data


def parse(data: bytes, path: Path) -> Node:
    """Return the one document that YAML 1.1 bytes hold; ProjectError names file and line. Nothing in it is run."""
    text = _decoded(data, path)
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return _Composer(loader, path).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if mark is not None and "nesting depth" in (error.problem or ""):  # libyaml has a cap of its own, a higher one
            raise _too_deep(path, mark.line + 1) from None
        place = "" if mark is None else text[mark.index : mark.index + 1]
        raise _refusal(path, None if mark is None else mark.line + 1, _explained(error), _cure(error, place)) from None
    except yaml.YAMLError as error:
        raise _refusal(path, None, f"it is not YAML: {error}".splitlines()[0]) from None
    finally:
        loader.dispose()


def shown(path: os.PathLike[str] | str) -> str:
    """Return a path on one line, whatever its name holds."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(path))


def _decoded(data: bytes, path: Path) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"it is not text in UTF-8: byte 0x{data[error.start]:02x}"
        raise _refusal(path, line, message, "save it as UTF-8") from None
    found = _CONTROL.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise _refusal(path, line, f"it holds the control character {found[0]!a}", "is it a text file?")
    return text


def _refusal(path: Path, line: int | None, message: str, hint: str = "") -> ProjectError:
    where = shown(path) if line is None else f"{shown(path)}:{line}"
    return ProjectError(f"{where}: {message}", hint=hint)


def _too_deep(path: Path, line: int) -> ProjectError:
    return _refusal(path, line, f"it is nested more than {DEPTH_CAP} levels deep", "is it an MLproject?")


def _explained(error: Any) -> str:
    problem = " ".join(str(error.problem or error.context).split())
    return f"it is not valid YAML: {problem}"


def _cure(error: Any, place: str) -> str:
    problem = f"{error.problem or ''} {error.context or ''}"
    if place == "\t" or "tab" in problem:
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in problem:
        return "quote a text that holds a colon and a space, or check the indentation"
    if "could not determine a constructor" in problem:
        return "only plain YAML is read: no tags that name code"
    return "check the indentation, and quote texts that begin with one of { [ * & ! % @ `"


class _Composer:
    """From the parser's events to nodes, with a limit on depth and on the number of values."""

    def __init__(self, loader: Any, path: Path) -> None:
        self._loader, self._path = loader, path
        self._anchors: dict[str, tuple[Node, int] | None] = {}  # with the number of values; None while it is open
        self._count = 0

    def document(self) -> Node:
        import yaml

        loader = self._loader
        loader.get_event()
        if loader.check_event(yaml.StreamEndEvent):
            raise _refusal(self._path, None, "it is empty", "an MLproject says at least `name: something`")
        loader.get_event()
        root = self._node(0)
        loader.get_event()
        if not loader.check_event(yaml.StreamEndEvent):
            line = loader.peek_event().start_mark.line + 1
            raise _refusal(self._path, line, "it holds a second document", "remove the line `---` between them")
        return root

    def _node(self, depth: int) -> Node:
        import yaml

        event = self._loader.get_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        before = self._count
        self._add(1, line)
        if depth > DEPTH_CAP:
            raise _too_deep(self._path, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, line, depth)
        else:
            node = self._mapping(event, line, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._count - before)
        return node

    def _add(self, count: int, line: int) -> None:
        self._count += count
        if self._count > NODE_CAP:
            message = f"it holds more than {NODE_CAP:,} values, each use of an alias counted"
            raise _refusal(self._path, line, message, "is it an MLproject? Aliases of aliases grow fast")

    def _alias(self, anchor: Any, line: int) -> Node:
        if anchor not in self._anchors:
            raise _refusal(self._path, line, f"the alias *{anchor} names nothing", f"define it before, as &{anchor}")
        known = self._anchors[anchor]
        if known is None:
            raise _refusal(self._path, line, f"the alias *{anchor} stands inside what it names", "spell it out")
        self._add(known[1], line)
        return known[0]

    def _scalar(self, event: Any, line: int) -> Node:
        import yaml

        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag in _SIGNS:
            return Node(OTHER, line, text=event.value, value=event.value, plain=True)
        scalar = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        try:
            value = self._loader.construct_object(scalar, deep=True)
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            message = f"{event.value!r:.60} is no {tag.split(':')[-1]}: {error}"
            raise _refusal(self._path, line, message, "quote it") from None
        return Node(
            kind=_KINDS.get(tag, OTHER),
            line=line,
            text=event.value,
            value=value,
            plain=event.style is None or event.style == "",
            block=event.style == "|",
        )

    def _sequence(self, event: Any, line: int, depth: int) -> Node:
        import yaml

        self._expect_tag(event, "seq", line)
        elements = []
        while not self._loader.check_event(yaml.SequenceEndEvent):
            elements.append(self._node(depth + 1))
        self._loader.get_event()
        return Node(SEQUENCE, line, value=[element.value for element in elements], elements=tuple(elements))

    def _mapping(self, event: Any, line: int, depth: int) -> Node:
        import yaml

        self._expect_tag(event, "map", line)
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        while not self._loader.check_event(yaml.MappingEndEvent):
            key = self._key(depth)
            value = self._node(depth + 1)
            if key.kind == OTHER and key.text == "<<" and key.plain:
                for name, pair in self._merge(value):
                    merged.setdefault(name, pair)
            elif key.text in own:
                first = own[key.text][0].line
                message = f"the key {key.text!r} comes twice, first in line {first}"
                raise _refusal(self._path, key.line, message, "keep one of them")
            else:
                own[key.text] = (key, value)
        self._loader.get_event()
        # PyYAML puts merged keys first; an own key takes its value, at the merged one's place.
        pairs = {**merged, **own}
        return Node(
            MAPPING,
            line,
            value={key.value: value.value for key, value in pairs.values()},
            items={name: _placed(value, key) for name, (key, value) in pairs.items()},
            keys={name: key.value for name, (key, _) in pairs.items()},
        )

    def _key(self, depth: int) -> Node:
        key = self._node(depth + 1)
        if key.kind in (MAPPING, SEQUENCE):
            hint = "quote text that begins with { or [; a placeholder is written in quotes: '{name}'"
            raise _refusal(self._path, key.line, f"{key.described} stands where a key belongs", hint)
        return key

    def _merge(self, value: Node) -> Iterator[tuple[str, tuple[Node, Node]]]:
        sources = value.elements if value.kind == SEQUENCE else (value,)
        for source in sources:
            if source.kind != MAPPING:
                raise _refusal(self._path, value.line, f"`<<` needs a mapping, not {source.described}")
            for name, item in source.items.items():
                key = Node(TEXT, item.line, name, source.keys[name])
                yield name, (key, item)

    def _expect_tag(self, event: Any, kind: str, line: int) -> None:
        if event.tag not in (None, "!", f"{_TAG}{kind}"):
            message = f"the tag {event.tag.replace(_TAG, '!!')!r} is not understood here"
            raise _refusal(self._path, line, message, "only plain YAML is read: mappings, lists and values")


def _placed(value: Node, key: Node) -> Node:
    """The node at its key's line, where people look for it."""
    from dataclasses import replace

    return value if value.line == key.line else replace(value, line=key.line)
