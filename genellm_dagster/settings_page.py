"""The page of all settings, from the settings themselves.

``python -m genellm_dagster.settings_page docs/settings.md`` writes the one in the documentation.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from genellm_dagster.files import write_text
from genellm_dagster.settings import PROJECT_ROOT, Settings

_HEAD = """# Settings

Every setting, with its default and its meaning. This page is written by
`python -m genellm_dagster.settings_page docs/settings.md`.

A value comes, first wins, from the command line, from the environment under the name given here,
from the file `genellm.yaml` in the working directory (or the one that `GENELLM_SETTINGS_FILE`
names), and from the default. In the file, parts are nested: `GENELLM_MODEL__TRAINING__EPOCHS` is
`model: {training: {epochs: 30}}`.
"""


def settings_page() -> str:
    """Return the page as Markdown."""
    lines = [_HEAD]
    plain = {name: field for name, field in Settings.model_fields.items() if not _part(field)}
    lines += ["## General\n", *_table(plain, ("GENELLM",))]
    for name, field in Settings.model_fields.items():
        part = _part(field)
        if part is not None:
            lines += [f"\n## {name}\n", f"{field.description}\n"]
            lines += _sections(part, ("GENELLM_" + name.upper(),))
    return "\n".join(lines) + "\n"


def _sections(model: type[BaseModel], prefix: tuple[str, ...]) -> list[str]:
    lines = _table({n: f for n, f in model.model_fields.items() if not _part(f)}, prefix)
    for name, field in model.model_fields.items():
        part = _part(field)
        if part is not None:
            lines += [f"\n### {name}\n", f"{field.description}\n"]
            lines += _sections(part, (*prefix, name.upper()))
    return lines


def _part(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _table(fields: dict[str, FieldInfo], prefix: tuple[str, ...]) -> list[str]:
    if not fields:
        return []
    lines = ["| name | default | meaning |", "|---|---|---|"]
    for name, field in fields.items():
        joint = "_" if prefix == ("GENELLM",) else "__"
        full = "__".join(prefix) + joint + name.upper()
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        lines.append(f"| `{full}` | {_default(field)} | {meaning} |")
    return lines


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "computed" if field.default_factory is not None else "required"
    value: Any = field.default
    if isinstance(value, Path) and value.is_relative_to(PROJECT_ROOT):
        value = value.relative_to(PROJECT_ROOT)
    text = f"{value}".replace("|", "\\|")
    return "none" if value is None else "empty" if text == "" else f"`{text[:60]}`"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), settings_page())
