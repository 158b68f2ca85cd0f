"""A lineage as a drawing for other programs: Graphviz's DOT, and Mermaid for pages of Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from runner.records.lineage import UP, Lineage, Link, Step
from runner.store.ids import short

_MOST_LABEL = 60


def to_dot(lineage: Lineage) -> str:
    """Return it in the DOT language: runs are boxes, files ellipses, arrows go from cause to effect."""
    lines = [f"  {name} [label={json.dumps(label)} shape={shape}];" for name, label, shape in _nodes(lineage)]
    lines += [f"  {origin} -> {target};" for origin, target in _edges(lineage)]
    return "\n".join(["digraph lineage {", "  rankdir=LR;", *lines, "}"])


def to_mermaid(lineage: Lineage) -> str:
    """Return it as a Mermaid flowchart, as Markdown pages of GitHub and GitLab draw it."""
    shapes: dict[str, Callable[[str], str]] = {"box": '["{}"]'.format, "ellipse": '(["{}"])'.format}
    lines = [f"  {name}{shapes[shape](_harmless(label))}" for name, label, shape in _nodes(lineage)]
    lines += [f"  {origin} --> {target}" for origin, target in _edges(lineage)]
    return "\n".join(["flowchart LR", *lines])


def _nodes(lineage: Lineage) -> Iterator[tuple[str, str, str]]:
    for step in lineage.steps.values():
        yield _of_run(step.run), _label(step), "box"
    files = {_of_file(link): link for step in lineage.steps.values() for link in step.links if _matters(link)}
    subject = lineage.subject
    if subject.run is None:
        link = Link(subject.path or f"sha256:{(subject.sha256 or '')[:12]}", subject.sha256, "")
        files.setdefault(_of_file(link), link)
    for name, link in files.items():
        yield name, link.path[-_MOST_LABEL:], "ellipse"


def _edges(lineage: Lineage) -> Iterator[tuple[str, str]]:
    up = lineage.direction == UP
    edges: dict[tuple[str, str], None] = {}
    subject = lineage.subject
    if subject.run is None:
        for run in lineage.begins:
            edges[_edge(_of_run(run), _of_file(Link("", subject.sha256, "")), up)] = None
    for step in lineage.steps.values():
        for link in filter(_matters, step.links):
            edges[_edge(_of_file(link), _of_run(step.run), up)] = None
            for run in link.runs:
                edges[_edge(_of_run(run), _of_file(link), up)] = None
    yield from edges


def _edge(first: str, second: str, up: bool) -> tuple[str, str]:
    return (first, second) if up else (second, first)


def _matters(link: Link) -> bool:
    """Whether a file is worth a node: what was merely lying there, made and read by no run, is not."""
    return bool(link.runs) or link.basis != "observed"


def _label(step: Step) -> str:
    return f"{short(step.run)} {step.project} {step.entry_point}".strip()


def _of_run(run: str) -> str:
    return f"run_{run.replace('-', '')}"


def _of_file(link: Link) -> str:
    return f"file_{link.sha256 or link.path.encode('utf-8', 'surrogatepass').hex()}"


def _harmless(text: str) -> str:
    return "".join(f"#{ord(letter)};" if letter in '"<>#&;`' or not letter.isprintable() else letter for letter in text)
