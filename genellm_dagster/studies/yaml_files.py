"""YAML files read with care: safe tags, sized, no alias bombs, no key twice, errors with place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from genellm_dagster.errors import StudyError

MAX_BYTES = 256 * 1024
"""A study with fifty inline cohorts takes about 50 KiB."""
MAX_NODES = 20_000
"""Values after every alias is written out; a study with fifty inline cohorts has about 3,000."""
MAX_SCALAR_CHARS = 10_000
"""Longest single text; it also keeps PyYAML's base-60 numbers from taking minutes."""


@dataclass(frozen=True)
class YamlDocument:
    """A parsed file that still knows where each of its values stands.

    Attributes:
        path: The file.
        data: Its content; the top level is a mapping.
        root: The node tree of the content, merge keys resolved.
    """

    path: Path
    data: dict[str, Any]
    root: Node

    def place(self, location: tuple[int | str, ...]) -> str:
        """Say where the value at ``location`` stands: ``line 3, column 5``.

        Args:
            location: Keys and list positions from the top; as much of it as exists is followed.
        """
        node = self.root
        for step in location:
            child = _child(node, step)
            if child is None:
                break
            node = child
        return _position(node.start_mark)


def read_yaml(path: Path, kind: str) -> YamlDocument:
    """Read a YAML mapping.

    Args:
        path: The file.
        kind: What it is, for the sentences: ``study`` or ``cohort``.

    Raises:
        StudyError: When the file is missing, too large, no text, no YAML, no mapping, holds a key
            twice or aliases that grow beyond ``MAX_NODES`` values.
    """
    text = _read_text(path, kind)

    def refuse(problem: str, remedy: str, place: str = "") -> NoReturn:
        at = f", {place}" if place else ""
        raise StudyError(f"The {kind} file {path}{at}: {problem}; {remedy}.")

    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            refuse("it is empty", f"write the {kind} into it")
        if not isinstance(root, MappingNode):
            refuse("it holds no keys", "begin it with `name:` or `accession:`", "line 1, column 1")
        _count_nodes(root, {}, refuse)
        _refuse_repeated_keys(root, refuse)
        data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        refuse(
            f"it is no readable YAML ({error.problem or error.context})",
            "mend that place (indentation, quotes, colons)",
            _position(mark) if mark else "",
        )
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        refuse(
            "it holds a character that YAML forbids",
            "remove it",
            f"line {line}, column {column}",
        )
    except RecursionError:
        refuse("it is nested too deeply", "write it flatter")
    except (ValueError, OverflowError) as error:
        refuse(f"a value cannot be read ({error})", "put that value in quotes or mend it")
    finally:
        if loader is not None:
            loader.dispose()
    return YamlDocument(path=path, data=data, root=root)


def study_error(error: ValidationError, document: YamlDocument, kind: str) -> StudyError:
    """Turn pydantic's findings into one sentence with file, line and column.

    Args:
        error: What pydantic found; the first finding is told, the others are counted.
        document: The file that was validated.
        kind: What it is: ``study`` or ``cohort``.
    """
    findings = error.errors(include_url=False, include_context=False)
    first = findings[0]
    location = first["loc"]
    words = _in_words(first["type"], first["msg"], location, first["input"])
    spot = ".".join(str(step) for step in location)
    at = f", at {spot!r}" if spot else ""
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    place = document.place(location)
    return StudyError(f"The {kind} file {document.path}, {place}{at}: {words}{more}.")


def _in_words(kind: str, message: str, location: tuple[int | str, ...], value: Any) -> str:
    key = location[-1] if location else ""
    if kind == "missing":
        return f"the key {key!r} is missing; add it"
    if kind == "extra_forbidden":
        return f"the key {key!r} is not known; remove it or mend its spelling"
    if kind == "string_type":
        return f"{_short(value)} is no text; put it in quotes"
    if kind.startswith("value_error"):
        return message.removeprefix("Value error, ")
    plain = message.replace("Input should", "it should").replace("String should", "it should")
    return f"the value {_short(value)} does not fit ({plain}); mend it"


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _read_text(path: Path, kind: str) -> str:
    if not path.exists():
        raise StudyError(f"The {kind} file {path} does not exist; check its name.")
    if not path.is_file():
        raise StudyError(f"The {kind} file {path} is no file; give the path of a YAML file.")
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise StudyError(
            f"The {kind} file {path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    if len(content) > MAX_BYTES:
        raise StudyError(
            f"The {kind} file {path} is larger than {MAX_BYTES // 1024} KiB, which no description "
            "needs; check that it is the right file."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise StudyError(
            f"The {kind} file {path}, line {line}, column {column}: it is no UTF-8 text; "
            "save it as UTF-8."
        ) from error


def _count_nodes(node: Node, known: dict[int, int | None], refuse: Any) -> int:
    """Count the values of a tree as if every alias were written out."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            refuse("an alias holds itself", "write it out", _position(node.start_mark))
        return int(count or 0)
    known[id(node)] = None
    total = 1
    if isinstance(node, ScalarNode):
        if len(node.value) > MAX_SCALAR_CHARS:
            refuse(
                f"a value has more than {MAX_SCALAR_CHARS} characters",
                "shorten it",
                _position(node.start_mark),
            )
    else:
        for child in _children(node):
            total += _count_nodes(child, known, refuse)
            if total > MAX_NODES:
                refuse(
                    f"it holds more than {MAX_NODES} values once its aliases are written out",
                    "use fewer aliases inside aliases",
                    _position(node.start_mark),
                )
    known[id(node)] = total
    return total


def _refuse_repeated_keys(root: Node, refuse: Any) -> None:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            first: dict[str, int] = {}
            for key, _ in node.value:
                if not isinstance(key, ScalarNode):
                    refuse("a key is no text", "write a plain word", _position(key.start_mark))
                if key.value in first:
                    refuse(
                        f"the key {key.value!r} stands twice (first in line {first[key.value]})",
                        "keep one of them",
                        _position(key.start_mark),
                    )
                first[key.value] = key.start_mark.line + 1
        waiting.extend(_children(node))


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    if isinstance(node, SequenceNode):
        return list(node.value)
    return []


def _child(node: Node, step: int | str) -> Node | None:
    if isinstance(node, SequenceNode) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    if isinstance(node, MappingNode):
        # Merged keys stand before a mapping's own, and the last one holds.
        for key, value in reversed(node.value):
            if key.value == str(step):
                found: Node = value
                return found
    return None


def _position(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"
