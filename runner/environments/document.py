"""An environment file in YAML, read with the line of every key, so that a message can name it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from runner.errors import ProjectError
from runner.worker.values import dataclass

_LARGEST = 1 << 20  # bytes: no environment file is longer
_DEEPEST = 50
_NUMBERS = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int")
_KINDS = {"scalar": "text", "sequence": "list", "mapping": "mapping"}  # YAML's words, and those that users know
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"  # `<<`


@dataclass(frozen=True)
class Text:
    """A scalar as it is written, before YAML makes a number of it, and where it stands."""

    text: str
    line: int
    is_number: bool = False


@dataclass(frozen=True)
class Document:
    """A mapping of a YAML file; its values are looked at only when asked for."""

    file: str  # as messages name it
    nodes: dict[str, Any]
    lines: dict[str, int]

    def wrong(self, key: str, what: str, *, line: int | None = None, hint: str = "") -> ProjectError:
        """Return the error that says what is wrong with a key."""
        place = line or self.lines.get(key, 1)
        return ProjectError(f"{self.file}, line {place}: {key}: {what}", hint=hint)

    def text(self, key: str) -> Text | None:
        """Return a scalar, None where it is not there or null."""
        node = self.nodes.get(key)
        if node is None or node.tag == _NULL:
            return None
        if node.id != "scalar":
            hint = f"write one value: `{key}: VALUE`"
            raise self.wrong(key, f"a text is expected, not a {_KINDS[node.id]}", hint=hint)
        return _text(node)

    def texts(self, key: str) -> tuple[Text, ...]:
        """Return a list of scalars; a mapping in it is an error."""
        found = []
        for node in self.items(key):
            if isinstance(node, Document):
                hint = "a requirement with a colon in it needs quotes around it"
                raise self.wrong(key, "a text is expected, not a mapping", line=min(node.lines.values()), hint=hint)
            found.append(node)
        return tuple(found)

    def items(self, key: str) -> Iterator[Text | Document]:
        """Return a list's items, scalars and mappings."""
        node = self.nodes.get(key)
        if node is None or node.tag == _NULL:
            return
        if node.id != "sequence":
            raise self.wrong(
                key, f"a list is expected, not a {_KINDS[node.id]}", hint="begin each line of it with `- `"
            )
        for item in node.value:
            if item.id == "scalar" and item.tag != _NULL:
                yield _text(item)
            elif item.id == "mapping" and item.value:
                yield _document(self.file, item)
            else:
                raise self.wrong(
                    key,
                    "an item is empty or a list of its own",
                    line=item.start_mark.line + 1,
                    hint="write one requirement on each line, or remove the line",
                )

    def mapping(self, key: str) -> dict[str, Text]:
        """Return a mapping of names to scalars, empty where it is not there."""
        node = self.nodes.get(key)
        if node is None or node.tag == _NULL:
            return {}
        if node.id != "mapping":
            raise self.wrong(key, f"a mapping is expected, not a {_KINDS[node.id]}", hint="write `NAME: value`")
        inner = _document(self.file, node)
        return {name: inner.text(name) or Text("", inner.lines[name]) for name in inner.nodes}

    def unknown(self, known: Sequence[str]) -> list[str]:
        """Return a warning for each key that means nothing here."""
        meant = f"means nothing here and is ignored; known are {', '.join(known)}"
        return [f"{self.file}, line {self.lines[key]}: {key} {meant}" for key in self.nodes if key not in known]


def read(path: Path, file: str) -> Document:
    """Return the mapping a YAML file holds; ProjectError names the file and the line."""
    import yaml

    text = read_text(path, file)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _expect_shallow(yaml.parse(text, Loader=loader), file)
        node: Any = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}, line {mark.line + 1}" if mark else file
        message = f"{where}: this is no YAML: {getattr(error, 'problem', None) or error}"
        raise ProjectError(message, hint="check the indentation, and quote what holds `: ` or `#`") from None
    if node is None or node.tag == _NULL:
        message = f"{file} is empty"
        raise ProjectError(message, hint="remove it, or name what the project needs (`dependencies:`)")
    if node.id != "mapping":
        message = f"{file}, line {node.start_mark.line + 1}: a mapping of keys is expected, not a {_KINDS[node.id]}"
        raise ProjectError(message, hint="an environment file has keys such as `python:` and `dependencies:`")
    return _document(file, node)


def _expect_shallow(events: Iterable[Any], file: str) -> None:
    """Refuse what is nested so deeply that composing it would overflow the stack, which in C is the process's end."""
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith("StartEvent")
        depth -= name.endswith("EndEvent")
        if depth > _DEEPEST:
            message = f"{file}, line {event.start_mark.line + 1}: nested too deeply to be an environment file"
            raise ProjectError(message, hint="look at the brackets and the indentation there")


def read_text(path: Path, file: str) -> str:
    """Return a text file's content; ProjectError where it cannot be read as one."""
    try:
        if path.stat().st_size > _LARGEST:
            message = f"{file} has more than {_LARGEST >> 20} MiB: that is no environment file"
            raise ProjectError(message, hint="name the right one in the MLproject, or remove it")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        message = f"{file} is no text in UTF-8"
        raise ProjectError(message, hint="save it in UTF-8") from None
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise ProjectError(message, hint=f"it was looked for at {path}") from None


def _document(file: str, node: Any) -> Document:
    pairs = _pairs(file, node, {})
    return Document(
        file, {name: value for name, (value, _) in pairs.items()}, {name: line for name, (_, line) in pairs.items()}
    )


_Pairs = dict[str, tuple[Any, int]]  # key -> its value and its line


def _pairs(file: str, node: Any, known: dict[int, _Pairs | None]) -> _Pairs:
    """Return what a mapping holds, with what `<<` merges into it; ``known`` are those looked at, None: not finished."""
    found = known.get(id(node), {})
    if found is None:
        message = f"{file}, line {node.start_mark.line + 1}: a mapping is merged into itself"
        raise ProjectError(message, hint="name another anchor behind `<<:`")
    if found:
        return found
    known[id(node)] = None
    own: _Pairs = {}
    merged: _Pairs = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.id != "scalar":
            message = f"{file}, line {line}: a key has to be a text, not a {key.id}"
            raise ProjectError(message, hint="write `key: value`")
        if key.tag == _MERGE:
            for name, pair in _merged(file, value, known):
                merged.setdefault(name, pair)
            continue
        if key.value in own:
            message = f"{file}, line {line}: {key.value} is there twice, first on line {own[key.value][1]}"
            raise ProjectError(message, hint="YAML keeps only the last one: remove one of them")
        own[key.value] = (value, line)
    known[id(node)] = {**merged, **own}
    return {**merged, **own}


def _merged(file: str, value: Any, known: dict[int, _Pairs | None]) -> Iterator[tuple[str, tuple[Any, int]]]:
    """Yield what stands behind `<<:`, a mapping or a list of them, the stronger first."""
    sources = {id(one): one for one in (value.value if value.id == "sequence" else [value])}
    for one in sources.values():
        if one.id != "mapping":
            message = f"{file}, line {value.start_mark.line + 1}: `<<` merges mappings, and this is a {_KINDS[one.id]}"
            raise ProjectError(message, hint="write `<<: *NAME`, with `&NAME` before the keys of a mapping")
        yield from _pairs(file, one, known).items()


def _text(node: Any) -> Text:
    return Text(node.value.strip(), node.start_mark.line + 1, is_number=node.tag in _NUMBERS)
