"""The entry points of an MLproject, and what may stand at the project's level for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from runner.environments.choice import Choice
from runner.project.declarations import read_declarations, whole
from runner.project.document import BOOLEAN, MAPPING, NULL, NUMBER, OTHER, SEQUENCE, TEXT, Node
from runner.project.model import EntryPoint, Finding
from runner.project.quantities import parse_memory, parse_time
from runner.project.reading import VARIABLE, Reader, described, find
from runner.project.suggest import closest, listed
from runner.worker.command import check_template
from runner.worker.spec import Resources

ENVIRONMENTS = ("python_env", "conda_env", "docker_env")
SHARED = ("inputs", "outputs", "metrics", "environ", "secrets", "resources", "shell")
METRICS = (".json", ".yaml", ".yml", ".csv", ".tsv")
ENTRY_KEYS = ("command", "parameters", "description", *ENVIRONMENTS, *SHARED)

_LEAVES_RUNNING = "stops with a traceback and leaves a run RUNNING for ever"
_LONG = 'write `{name}: {{command: "{text}"}}`'


def read_entry(reader: Reader, name: str, node: Node, everywhere: EntryPoint) -> EntryPoint:
    """Return an entry point with what holds everywhere merged in; what only stops its own runs is said so."""
    key = f"entry_points.{name}"
    if node.kind != MAPPING:
        hint = _LONG.format(name=name, text=node.text) if node.kind == TEXT else f"write `{name}:` and `command:` below"
        reader.expect(node, key, "a mapping with a `command`", hint, "stops with a traceback (AttributeError)")
        return EntryPoint(name, "", line=node.line)
    items = node.items
    own = read_shared(reader, items, name, f"{key}.")
    merged = merge(everywhere, own, items)
    parameters = read_declarations(reader, items.get("parameters"), f"{key}.parameters")
    environment = read_environment(reader, items, f"{key}.")
    command = _command(reader, items, name, node.line)
    if command:
        _check_command(reader, items["command"], command, parameters, name)
    for variable in sorted(set(merged.environ) & set(merged.secrets)):
        reader.say(
            node.line,
            key,
            f"{variable} is declared under `environ` and under `secrets`",
            hint="keep one",
            code="contradiction",
        )
    return replace(
        merged,
        command=command,
        parameters=parameters,
        environment=environment,
        line=node.line,
        description=described(items.get("description")),
    )


def read_shared(reader: Reader, items: Mapping[str, Node], name: str, prefix: str) -> EntryPoint:
    """Return what a project or an entry point says of files, variables, secrets, resources and the shell."""
    paths, names = "a path, or a list of paths,", "the name of a variable, or a list of names,"
    shell = reader.text(items.get("shell"), f"{prefix}shell", "`strict`")
    if shell not in ("", "strict", "plain"):
        reader.say(items["shell"].line, f"{prefix}shell", f"`strict` or `plain` is expected, not {shell!r}")
    return EntryPoint(
        name,
        "",
        inputs=reader.texts(items.get("inputs"), f"{prefix}inputs", paths, _fits_input),
        outputs=reader.texts(items.get("outputs"), f"{prefix}outputs", paths, _fits_output),
        metrics=reader.texts(items.get("metrics"), f"{prefix}metrics", paths, _fits_metrics),
        environ=_environ(reader, items.get("environ"), f"{prefix}environ"),
        secrets=reader.texts(items.get("secrets"), f"{prefix}secrets", names, _fits_variable),
        resources=_resources(reader, items.get("resources"), f"{prefix}resources"),
        strict_shell=shell == "strict",
    )


def merge(everywhere: EntryPoint, own: EntryPoint, items: Mapping[str, Node]) -> EntryPoint:
    """Return an entry point's own words over the project's: lists join, single values win."""
    wishes = {field.name: getattr(own.resources, field.name) for field in fields(Resources)}
    return replace(
        own,
        inputs=tuple(dict.fromkeys((*everywhere.inputs, *own.inputs))),
        outputs=tuple(dict.fromkeys((*everywhere.outputs, *own.outputs))),
        metrics=tuple(dict.fromkeys((*everywhere.metrics, *own.metrics))),
        environ={**everywhere.environ, **own.environ},
        secrets=tuple(dict.fromkeys((*everywhere.secrets, *own.secrets))),
        resources=replace(everywhere.resources, **{name: wish for name, wish in wishes.items() if wish is not None}),
        strict_shell=own.strict_shell if find(items, "shell") else everywhere.strict_shell,
    )


def read_environment(reader: Reader, items: Mapping[str, Node], prefix: str) -> Choice | None:
    """Return what names the environment; None where nothing does. Empty keys are as if absent."""
    named = [key for key in ENVIRONMENTS if key in items and items[key].kind != NULL and items[key].value]
    if len(named) > 1:
        message, hint = f"at most one environment is expected, not {listed(named)}", "keep one of them"
        reader.say(
            items[named[1]].line,
            f"{prefix}{named[1]}",
            message,
            code="environments",
            hint=hint,
            mlflow="refuses it too",
        )
    for key in ENVIRONMENTS:
        node = items.get(key)
        if node is None or node.kind == NULL:
            continue
        if key == "docker_env":
            if node.kind != MAPPING:
                reader.expect(node, f"{prefix}{key}", "a mapping with an `image`", "write `docker_env: {image: NAME}`")
        elif node.kind != TEXT:
            reader.expect(node, f"{prefix}{key}", "the path of a file", f"write `{key}: FILE.yaml`")
    if not named:
        return None
    key, node = named[0], items[named[0]]
    return _container(reader, node, f"{prefix}{key}") if key == "docker_env" else Choice(key, node.text)


def _container(reader: Reader, node: Node, key: str) -> Choice:
    image = reader.text(node.items.get("image"), f"{key}.image", "the name of an image")
    if not image and find(node.items, "image") is None:
        reader.say(node.line, f"{key}.image", "the name of an image is expected", mlflow="refuses it too")
    elif not image and node.items["image"].kind == TEXT:
        reader.say(node.items["image"].line, f"{key}.image", "the name of an image is expected, not an empty text")
    return Choice(
        "docker_env",
        image=image,
        volumes=tuple(_volumes(reader, node.items.get("volumes"), f"{key}.volumes")),
        variables=tuple(_variables(reader, node.items.get("environment"), f"{key}.environment")),
    )


def _volumes(reader: Reader, node: Node | None, key: str) -> list[str]:
    if node is None or node.kind == NULL:
        return []
    if node.kind != SEQUENCE:
        reader.expect(node, key, 'a list such as ["/data:/data"]')
    for element in node.elements:
        if element.kind != TEXT:
            reader.expect(element, key, "a text such as /data:/data")
    return [element.text for element in node.elements]


def _variables(reader: Reader, node: Node | None, key: str) -> list[tuple[str, str | None]]:
    if node is None or node.kind == NULL:
        return []
    expected = "VAR, to copy it from the caller, or [VAR, value],"
    if node.kind != SEQUENCE:
        reader.expect(node, key, "a list of VAR or [VAR, value]")
    variables: list[tuple[str, str | None]] = []
    for element in node.elements:
        parts = element.elements
        if element.kind == TEXT and "=" in element.text:
            name, _, value = element.text.partition("=")
            message, hint = f"the name of a variable is expected, not {element.text!r}", f"write [{name}, {value!r}]"
            reader.say(element.line, key, message, hint=hint, mlflow=f"looks for a variable {element.text!r}")
        elif element.kind == TEXT:
            variables.append((element.text, None))
        elif len(parts) == 2 and parts[0].kind == TEXT and parts[1].kind in (TEXT, NUMBER, BOOLEAN, OTHER):  # noqa: PLR2004
            variables.append((parts[0].text, str(parts[1].value)))
        else:
            reader.expect(element, key, expected)
    return variables


def _command(reader: Reader, items: Mapping[str, Node], name: str, line: int) -> str:
    key, node = f"entry_points.{name}.command", find(items, "command")
    text = reader.text(node, key, "a shell command as text", _joined(node))
    if text.strip() or (node is not None and node.kind != TEXT):
        return text
    meant = next((key for key in items if key not in ENTRY_KEYS and closest(key, ENTRY_KEYS) == "command"), None)
    hint = f"write `command` for {meant!r}" if meant else "write `command: python train.py`"
    reader.say(
        line,
        key,
        "there is no command",
        code="no-command",
        hint=hint,
        mlflow="stops with a traceback",
        entry_point=name,
    )
    return ""


def _joined(node: Node | None) -> str:
    if node is not None and node.kind == SEQUENCE:
        return "join several commands with `&&`, or write them in the lines of a `|` block"
    return "quote it: a text that begins with { or [ is none for YAML"


def _check_command(reader: Reader, node: Node, command: str, names: Mapping[str, object], name: str) -> None:
    for fault in check_template(command, names):
        line = node.line + 1 + fault.line if node.block else node.line
        key = f"entry_points.{name}.command"
        reader.say(line, key, fault.message, code="template", hint=fault.hint, mlflow=_LEAVES_RUNNING, entry_point=name)


def _environ(reader: Reader, node: Node | None, key: str) -> dict[str, str]:
    environ = {}
    for name, item in reader.mapping(node, key, "a mapping from variables to values").items():
        fault = _fits_variable(name)
        if fault:
            reader.say(item.line, f"{key}.{name}", fault)
        if item.kind in (TEXT, NUMBER, BOOLEAN, OTHER) and "\0" not in item.text:
            environ[name] = item.text  # as written: 3.10 stays 3.10
        else:
            reader.expect(item, f"{key}.{name}", "a value", 'write "" for an empty one')
    return environ


def _resources(reader: Reader, node: Node | None, key: str) -> Resources:
    items = reader.mapping(node, key, "a mapping with cpus, memory, gpus or time")
    return Resources(
        cpus=_count(reader, find(items, "cpus"), f"{key}.cpus", 1),
        memory=_memory(reader, find(items, "memory"), f"{key}.memory"),
        gpus=_count(reader, find(items, "gpus"), f"{key}.gpus", 0),
        time=_time(reader, find(items, "time"), f"{key}.time"),
    )


def _count(reader: Reader, node: Node | None, key: str, least: int) -> int | None:
    count = None if node is None else whole(node, least)
    if node is not None and count is None:
        reader.expect(node, key, f"a whole number, {least} or more,")
    return count


def _memory(reader: Reader, node: Node | None, key: str) -> int | None:
    if node is None:
        return None
    memory = parse_memory(node.text) if node.kind == TEXT else whole(node, 1)
    if not memory:
        reader.expect(node, key, "an amount of memory", "write 512MiB, 16GB or a number of bytes")
    return memory or None


def _time(reader: Reader, node: Node | None, key: str) -> float | None:
    if node is None:
        return None
    time = parse_time(node.text) if node.kind == TEXT else float(node.value) if node.kind == NUMBER else None
    if not time or not 0 < time < float("inf"):
        reader.expect(node, key, "an amount of time", "write 90s, 30m, 2h, 1:30:00 or a number of seconds")
        return None
    return time


def _fits_input(path: str) -> str:
    return "" if path.strip() and "\0" not in path else "a path is expected, not an empty text"


def _fits_output(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        return f"an output lies in the project, and {path!r} does not"
    return _fits_input(path)


def _fits_metrics(path: str) -> str:
    if not path.lower().endswith(METRICS):
        return f"a file of metrics is called *{', *'.join(METRICS)}, and {path!r} is not"
    return _fits_output(path)


def _fits_variable(name: str) -> str:
    return "" if VARIABLE.match(name) else f"{name!r} cannot be the name of a variable"


def stopping(findings: tuple[Finding, ...], name: str) -> Finding | None:
    """Return the first error that stops runs of an entry point."""
    return next((finding for finding in findings if finding.entry_point == name), None)
