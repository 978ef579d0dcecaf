"""What the commands share: options, settings and study, runs with their progress, tables."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from genellm_dagster.settings import Settings
    from genellm_dagster.studies.study import Study

StudyOption = Annotated[
    str | None, typer.Option("--study", help="A name under data/studies, a path, or demo.")
]
RootOption = Annotated[
    str | None, typer.Option("--geo-root", help="GEO, or any http(s) or file address like it.")
]
BackboneOption = Annotated[
    str | None, typer.Option("--backbone", help="smollm2, a local folder, or a hub name.")
]
StratumOption = Annotated[str | None, typer.Option("--stratum", help="Only this stratum.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def read_settings(
    study: str | None, geo_root: str | None, backbone: str | None
) -> tuple[Settings, Study]:
    """Read settings and study, what the command line says first."""
    from genellm_dagster.settings import load_settings, study_of

    changes: dict[str, Any] = {}
    if study is not None:
        changes["study"] = study
    if backbone is not None:
        changes["backbone"] = backbone
    settings = load_settings(**changes)
    if geo_root is not None:
        geo = settings.geo.model_copy(update={"root": geo_root})
        settings = load_settings(**changes, geo=geo)
    chosen = study_of(settings)
    if backbone is not None:
        # The command line is nearer to the user than the study file.
        chosen = chosen.model_copy(update={"backbone": backbone})
    return settings, chosen


def given_options(study: str | None, geo_root: str | None) -> str:
    """Return what was said of study and root, for the commands that go on from here."""
    given = {"--study": study, "--geo-root": geo_root}
    return " ".join(f"{name} {shlex.quote(value)}" for name, value in given.items() if value)


@contextmanager
def study_runner(settings: Settings, study: Study) -> Iterator[Any]:
    """Open the study's runner, with one line on stderr for each run."""
    from genellm_dagster.defs.build import build_definitions
    from genellm_dagster.defs.runs import StudyRunner, dagster_instance

    definitions = build_definitions(settings, study)
    with dagster_instance(settings) as instance, _progress() as announce:
        yield StudyRunner(settings, study, definitions, instance, announce)


def run_refresh(settings: Settings, study: Study) -> None:
    """Run what changed, and say what ran."""
    started = time.monotonic()
    with study_runner(settings, study) as runner:
        outcome = runner.refresh()
        path = runner.store.report
    for note in outcome.notes:
        say(note)
    if not outcome.ran:
        say(f"Nothing had changed. Report: {path}")
        return
    say("ran: " + ", ".join(outcome.ran))
    say(f"Report: {path}\nTook {time.monotonic() - started:.0f} s. Research use only.")


def print_table(table: pd.DataFrame, title: str) -> None:
    """Print a table with a title; what files say in it is text and no command to the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def cell(value: object) -> Text:
        return Text(_plain(str(value).replace("\n", " ")))

    # Away from a terminal a table is as wide as it needs to be, for logs and pipes.
    console = Console(width=None if sys.stdout.isatty() else 160)
    drawn = Table(title=cell(title), title_justify="left")
    for column in table.columns:
        drawn.add_column(cell(column))
    for row in table.itertuples(index=False, name=None):
        drawn.add_row(*(cell(value) for value in row))
    console.print(drawn)


def write_table(table: pd.DataFrame, output: Path) -> None:
    """Write a table as Parquet or CSV, as the file's name says.

    In CSV text that a spreadsheet would run as a formula has an apostrophe put in front.
    """
    from genellm_dagster.files import write_parquet, write_text
    from genellm_dagster.workflows.export_files import guarded

    if output.suffix == ".parquet":
        write_parquet(output, table)
    else:
        safe = table.copy()
        for name in table.select_dtypes(object):
            safe[name] = table[name].map(guarded)
        write_text(output, safe.to_csv(index=False))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show one line for each run, with a bar for what reports its progress."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from genellm_dagster.defs.progress import PROGRESS_LOGGER

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    listener = _BarHandler(bars)
    logger = logging.getLogger(PROGRESS_LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(listener)
    started = time.monotonic()

    def announce(text: str) -> None:
        console.print(
            f"[{time.monotonic() - started:6.0f} s] {text}", markup=False, highlight=False
        )

    try:
        with bars:
            yield announce
    finally:
        logger.removeHandler(listener)


class _BarHandler(logging.Handler):
    """Turns progress records into bars."""

    def __init__(self, bars: Any) -> None:
        super().__init__()
        self.bars = bars
        self.tasks: dict[str, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        label = record.getMessage()
        done, total, left = (record.__dict__[name] for name in ("done", "total", "left"))
        if label not in self.tasks:
            self.tasks[label] = self.bars.add_task(label, total=total, left=left)
        self.bars.update(
            self.tasks[label], completed=done, total=total, visible=done < total, left=left
        )


def say(text: str) -> None:
    """Print lines."""
    typer.echo(_plain(text))


def _plain(text: str) -> str:
    return "".join(mark if mark.isprintable() or mark == "\n" else " " for mark in text)
