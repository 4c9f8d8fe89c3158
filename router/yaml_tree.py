"""Reading YAML without losing the lines: plain values, and the line of every key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Location = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with a file, and where."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Tree:
    """A document as dicts, lists and scalars, with the line of each part by its location."""

    value: Any
    lines: Mapping[Location, int]

    def line(self, location: Location) -> int:
        """The line of a location, or of the closest part around it (a key that is missing has none)."""
        while location not in self.lines and location:
            location = location[:-1]
        return self.lines.get(location, 1)


def read(path: Path) -> tuple[Tree, list[Problem]]:
    """
    Read a file.

    Problems are: a file that cannot be read, bytes that are not UTF-8, text that is not YAML, a key that appears
    twice. After the first three the tree is empty; after the last the first of the two values stands.
    """
    file = str(path)
    empty = Tree({}, {})
    try:
        content = path.read_bytes()
    except OSError as error:
        return empty, [Problem(file, 1, f"cannot be read: {error.strerror or error}")]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return empty, [Problem(file, line, f"byte {content[error.start]:#04x} is not UTF-8")]
    try:
        return _compose(file, text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return empty, [Problem(file, line, f"character {error.character:#04x} is not allowed in YAML")]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return empty, [Problem(file, mark.line + 1 if mark else 1, f"is not YAML: {error.problem}")]
    except RecursionError:
        return empty, [Problem(file, 1, "is nested too deeply")]


def _compose(file: str, text: str) -> tuple[Tree, list[Problem]]:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return Tree({}, {}), []
        walk = _Walk(file, loader)
        return Tree(walk.visit(root, ()), walk.lines), walk.problems
    finally:
        loader.dispose()


class _Walk:
    def __init__(self, file: str, loader: yaml.SafeLoader) -> None:
        self.file = file
        self.lines: dict[Location, int] = {}
        self.problems: list[Problem] = []
        self._loader = loader

    def visit(self, node: yaml.Node, location: Location) -> Any:
        self.lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.visit(item, (*location, index)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        self._report_repeated_keys(node)
        self._loader.flatten_mapping(
            node
        )  # `<<: *defaults`: merged pairs come first, the node's own after them
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            self.lines[(*location, key)] = key_node.start_mark.line + 1
            values[key] = self.visit(value_node, (*location, key))
        return values

    def _report_repeated_keys(self, node: yaml.MappingNode) -> None:
        first_lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            line, key = key_node.start_mark.line + 1, str(key_node.value)
            if key in first_lines:
                message = f"{key!r} is given twice, first on line {first_lines[key]}"
                self.problems.append(Problem(self.file, line, message))
            first_lines.setdefault(key, line)
