"""Small edits of description files that leave every other character as its author wrote it.

A round trip through a YAML library keeps comments, yet moves those that stand between an edited
list and the next key, and may wrap or indent anew. Here the parser only tells where the edited
value stands, and text is put in or taken out there. Each edit is read again: what it says must be
the old content with that one change, or nothing is written.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from genellm_dagster.errors import StudyError
from genellm_dagster.files import write_text
from genellm_dagster.studies.yaml_files import read_yaml

_BYTE_ORDER_MARK = "\ufeff"
_PLAIN = re.compile(r"GSE\d+(-GPL\d+)?", re.ASCII)

Edit = Callable[[str], str]
"""Changes the text of a file."""
Change = Callable[[dict[str, Any]], None]
"""Makes the same change to the content of the file."""


def write_edited(path: Path, kind: str, edit: Edit, change: Change, remedy: str) -> None:
    """Edit a description file in place.

    Args:
        path: The file.
        kind: What it is, for the sentences: ``study`` or ``cohort``.
        edit: The change, to the text.
        change: The change, to the content; what is written says exactly this.
        remedy: What a person does by hand where the edit is not possible, for the sentence.

    Raises:
        StudyError: When the file cannot be read, edited or written.
    """
    wanted = copy.deepcopy(read_yaml(path, kind).data)
    change(wanted)
    # Newlines as they stand; a link stays one, what it leads to is written.
    path = path.resolve()
    with path.open(encoding="utf-8", newline="") as handle:
        text = handle.read()
    mark = text[: text.startswith(_BYTE_ORDER_MARK)]
    try:
        edited = edit(text.removeprefix(mark))
        fits = _without_empty(yaml.safe_load(edited)) == _without_empty(wanted)
    except (yaml.YAMLError, LookupError, ValueError) as error:
        raise StudyError(
            f"The {kind} file {path} is written in a way that cannot be edited ({error}); {remedy}."
        ) from error
    if not fits:
        raise StudyError(
            f"The {kind} file {path} is written in a way that cannot be edited safely; {remedy}."
        )
    try:
        write_text(path, mark + edited)
    except OSError as error:
        raise StudyError(
            f"The {kind} file {path} cannot be written ({error.strerror}); {remedy}."
        ) from error


def append_item(text: str, key: str, item: str) -> str:
    """Append a text to the list under a top-level key; the key is added when it is missing."""
    found = _find(text, key)
    if found is None:
        return _at_the_end(text, f"{key}:\n  - {_scalar(item)}")
    node = found[1]
    if not isinstance(node, SequenceNode):
        raise ValueError(f"{key!r} is no list")
    if node.flow_style:
        return _into_flow(text, node, _scalar(item))
    last = node.value[-1]
    line = _line_of(text, last.start_mark.index)
    # What stands before the last item, indentation and dash, stands before the new one too.
    prefix = text[line : last.start_mark.index]
    return _after_line(text, _end(text, last), prefix + _scalar(item))


def put_entry(text: str, key: str, name: str, value: str) -> str:
    """Put ``name: value`` into the mapping under a top-level key, made when it is missing."""
    text = remove_entry(text, key, name)
    entry = f"{name}: {_quoted(value)}"
    found = _find(text, key)
    if found is None:
        return _at_the_end(text, f"{key}:\n  {entry}")
    node = found[1]
    if isinstance(node, ScalarNode) and node.value == "":
        return _after_line(text, node.end_mark.index, f"  {entry}")
    if not isinstance(node, MappingNode):
        raise ValueError(f"{key!r} holds no names")
    if node.flow_style:
        return _into_flow(text, node, entry)
    first, last = node.value[0][0], node.value[-1][1]
    prefix = text[_line_of(text, first.start_mark.index) : first.start_mark.index]
    return _after_line(text, _end(text, last), prefix + entry)


def remove_entry(text: str, key: str, name: str) -> str:
    """Take ``name`` out of the mapping under a top-level key; nothing when it is not there."""
    found = _find(text, key)
    if found is None or not isinstance(found[1], MappingNode):
        return text
    pairs = found[1].value
    place = next((n for n, (one, _) in enumerate(pairs) if one.value == name), None)
    if place is None:
        return text
    own, value = pairs[place]
    if found[1].flow_style:
        start = own.start_mark.index if place == 0 else _end(text, pairs[place - 1][1])
        end = _end(text, value)
        if place == 0 and len(pairs) > 1:
            end = pairs[1][0].start_mark.index
        return text[:start] + text[end:]
    # An empty mapping would be no mapping at all: the key goes with its last entry.
    first = found[0] if len(pairs) == 1 else own
    start = _line_of(text, first.start_mark.index)
    return text[:start] + text[_next_line(text, _end(text, value)) :]


def _without_empty(content: dict[str, Any]) -> dict[str, Any]:
    """An empty mapping and no mapping say the same in a description."""
    return {key: value for key, value in content.items() if value not in (None, {})}


def _find(text: str, key: str) -> tuple[Node, Node] | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, MappingNode) or root.flow_style:
        raise ValueError("its top level is no list of keys, one a line")
    return next(((own, value) for own, value in root.value if own.value == key), None)


def _into_flow(text: str, node: Node, piece: str) -> str:
    if not node.value:
        place = node.start_mark.index + 1
        return text[:place] + piece + text[place:]
    last = node.value[-1]
    place = _end(text, last[1] if isinstance(last, tuple) else last)
    return text[:place] + ", " + piece + text[place:]


def _end(text: str, node: Node) -> int:
    """Return where a value ends; the parser's mark of a block lies behind blanks and comments."""
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        return len(text[:end].rstrip())
    return end


def _line_of(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _next_line(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _after_line(text: str, index: int, line: str) -> str:
    place = _next_line(text, index)
    before = text[:place]
    if not before.endswith("\n"):
        before += _newline(text)
    return before + line + _newline(text) + text[place:]


def _at_the_end(text: str, lines: str) -> str:
    newline = _newline(text)
    if text and not text.endswith("\n"):
        text += newline
    return text + lines.replace("\n", newline) + newline


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _scalar(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else _quoted(value)


def _quoted(value: str) -> str:
    return yaml.safe_dump(
        value, default_style='"', allow_unicode=True, width=float("inf")
    ).removesuffix("\n")
