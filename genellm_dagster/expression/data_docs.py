"""Data Docs: pages that show what was expected of a partition's narrow frames, and what was found.

Great Expectations lays the pages out. They lie in the store, as
``<study>/data_docs/<asset>/<partition>/index.html``; ``<study>/data_docs/index.html`` lists all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from filelock import FileLock, Timeout

from genellm_dagster.errors import ExpressionError, StoreError
from genellm_dagster.expression.expectations import (
    SuiteName,
    SuiteResult,
    expectations_context,
    validate,
)
from genellm_dagster.files import atomic_folder, read_json, write_json, write_text
from genellm_dagster.store import Store

FOLDER = "data_docs"
INDEX = "index.html"
_RECORD = "data_docs.json"
_PAGES = "genellm_dagster.expression.data_docs_pages"
_SITE = "partition"
_PATIENCE_SECONDS = 120.0
_NAME = re.compile(r"[A-Za-z0-9_][\w.\- ]{0,99}", re.ASCII)


@dataclass(frozen=True)
class DataDocs:
    """The Data Docs of a partition.

    Attributes:
        index: Its first page.
        results: How each of its frames met its suite.
    """

    index: Path
    results: dict[SuiteName, SuiteResult]


def write_data_docs(
    frames: Mapping[SuiteName, pd.DataFrame], store: Store, asset: str, *partition: str
) -> DataDocs:
    """Hold the frames of a partition against their suites and write the pages, whole or not at all.

    The pages of an earlier run of the partition are replaced. They ask nothing of any address and
    run nothing, whatever a cell of a frame holds. Several processes may write at once.

    Args:
        frames: The frame of each suite.
        store: Where the pages go.
        asset: Whose frames they are.
        *partition: The names that make up the partition, in the order of the store's folders.

    Raises:
        ExpressionError: When a name cannot be a folder, or Great Expectations left a page out.
        StoreError: When another process keeps the study's pages locked.
    """
    for name in (asset, *partition):
        if not _NAME.fullmatch(name):
            raise ExpressionError(
                f"{name!r} cannot be the name of a folder of Data Docs; use letters, digits, "
                "'-', '_' and '.'."
            )
    top = store.place(FOLDER)
    folder = top.joinpath(asset, *partition)
    label = " ".join((asset, *partition))
    top.mkdir(parents=True, exist_ok=True)
    with expectations_context() as context:
        results = {
            suite: validate(context, frame, suite, "-".join((asset, *partition)))
            for suite, frame in frames.items()
        }
        with _alone(top):
            with atomic_folder(folder) as temporary:
                _build(context, temporary)
                record = _record(temporary, asset, partition, results)
                _write_partition_index(temporary, store.study, label, record, len(partition))
                write_json(temporary / _RECORD, record)
            write_text(top / INDEX, _study_index(store.study, top))
    return DataDocs(folder / INDEX, results)


@contextmanager
def _alone(top: Path) -> Iterator[None]:
    """Let one process at a time change the pages of a study: each writes the list of all."""
    lock = FileLock(top / ".lock", timeout=_PATIENCE_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            f"Another process has kept {top} locked for {_PATIENCE_SECONDS:g} s; end it, or run "
            "again later."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _build(context: Any, folder: Path) -> None:
    """Let Great Expectations write the pages of what the context holds."""
    view = {"module_name": _PAGES, "class_name": "OfflinePage"}
    context.add_data_docs_site(
        _SITE,
        {
            "module_name": _PAGES,
            "class_name": "OfflineSite",
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(folder),
            },
            "site_section_builders": {
                "expectations": {"view": view},
                "validations": {
                    "view": view,
                    "renderer": {"module_name": _PAGES, "class_name": "DisguisedResults"},
                },
                "profiling": "None",
            },
            "show_how_to_buttons": False,
        },
    )
    context.build_data_docs(site_names=[_SITE], build_index=False)


def _record(
    folder: Path,
    asset: str,
    partition: tuple[str, ...],
    results: Mapping[SuiteName, SuiteResult],
) -> dict[str, Any]:
    suites = {}
    for suite, result in results.items():
        # Great Expectations logs what keeps it from writing a page, and goes on.
        pages = list(folder.joinpath("validations", suite).rglob("*.html"))
        if len(pages) != 1:
            raise ExpressionError(
                f"Great Expectations wrote no page for the suite {suite} of {asset} "
                f"{' '.join(partition)}; look at the log of the run for its reason."
            )
        suites[suite] = {
            "page": pages[0].relative_to(folder).as_posix(),
            "expectations": len(result.results),
            "not_met": [
                f"{one['expectation']}({one['column'] or 'table'})"
                for one in result.results
                if not one["success"]
            ],
        }
    return {
        "asset": asset,
        "partition": list(partition),
        "validated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "success": all(result.success for result in results.values()),
        "suites": suites,
    }


def _found(suite: Mapping[str, Any]) -> str:
    not_met = list(suite["not_met"])
    if not not_met:
        return f"all {suite['expectations']} met"
    return f"{len(not_met)} of {suite['expectations']} not met: {', '.join(not_met)}"


def _write_partition_index(
    folder: Path, study: str, label: str, record: Mapping[str, Any], depth: int
) -> None:
    rows = [
        {
            "link": quote(suite["page"]),
            "name": name,
            "success": not suite["not_met"],
            "found": _found(suite),
            "at": str(record["validated_at"])[:19].replace("T", " "),
        }
        for name, suite in record["suites"].items()
    ]
    page = _listed(
        title=f"Data Docs of {label}",
        lead=f"Study {study}. What was expected of each table, and what was found.",
        back="../" * (depth + 1) + INDEX,
        first="Table",
        rows=rows,
    )
    write_text(folder / INDEX, page)


def _study_index(study: str, top: Path) -> str:
    rows = []
    for record in _records(top):
        place = [record["asset"], *record["partition"]]
        rows.append(
            {
                "link": quote("/".join([*place, INDEX])),
                "name": " ".join(place),
                "success": record["success"],
                "found": "; ".join(
                    f"{name}: {_found(suite)}" for name, suite in record["suites"].items()
                ),
                "at": str(record["validated_at"])[:19].replace("T", " "),
            }
        )
    return _listed(
        title=f"Data Docs of study {study}",
        lead="Each partition whose tables were held against what is expected of them.",
        back=None,
        first="Asset and partition",
        rows=rows,
    )


def _records(top: Path) -> list[dict[str, Any]]:
    """Return what is known of each partition that has pages, those being written left out."""
    found = []
    for depth in ("*/", "*/*/", "*/*/*/"):
        for path in top.glob(depth + _RECORD):
            place = path.parent.relative_to(top).parts
            if any(part.startswith(".") for part in place):
                continue
            try:
                record = read_json(path)
                if [record["asset"], *record["partition"]] == list(place):
                    found.append(record)
            except (StoreError, KeyError, TypeError):
                continue
    return sorted(found, key=lambda one: (one["asset"], one["partition"]))


def _listed(**shown: Any) -> str:
    import jinja2

    folder = files("genellm_dagster.expression") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("data_docs_index.html").render(**shown)
