"""The command ``genellm``: thin, runs the same jobs as the UI.

Exit status 0 done, 1 a check failed or data was bad (one sentence says what, where and what to do),
2 wrong usage.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genellm_dagster.errors import GeneLLMError

if TYPE_CHECKING:
    import pandas as pd

    from genellm_dagster.settings import Settings
    from genellm_dagster.studies.study import Study

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Age-stratified transcriptome language models from public whole-blood series.",
)
cohort_app = typer.Typer(no_args_is_help=True, help="Look at the samples of a series.")
app.add_typer(cohort_app, name="cohort")

_TABLES = (".parquet", ".csv")

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


def main() -> None:
    """Run the command line; what a user can mend ends with one sentence and status 1."""
    try:
        app()
    except GeneLLMError as error:
        print(f"genellm: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        print("genellm: stopped; a rerun goes on from what is whole.", file=sys.stderr)  # noqa: T201
        sys.exit(130)


@app.command()
def run(
    study: StudyOption = None,
    geo_root: RootOption = None,
    stratum: StratumOption = None,
    backbone: BackboneOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a study from GEO's files to the report."""
    settings, chosen = _settings(study, geo_root, backbone)
    _run(settings, chosen, stratum, as_json)


@app.command()
def demo(as_json: JsonOption = False, backbone: BackboneOption = None) -> None:
    """Run the whole pipeline on the built-in SIMULATED study; needs no network."""
    from genellm_dagster.settings import DEMO, demo_folder, load_settings
    from genellm_dagster.simulation.study import simulate_study

    changes = {"backbone": backbone} if backbone else {}
    settings = load_settings(study=DEMO, **changes)
    typer.echo(f"writing the simulated study to {demo_folder(settings)}", err=True)
    simulate_study(demo_folder(settings), settings.simulation)
    settings, chosen = _settings(DEMO, None, backbone)
    _run(settings, chosen, None, as_json)
    if not as_json:
        _say("Everything above is SIMULATED. See it in the UI: GENELLM_STUDY=demo make ui")


@app.command()
def ingest(study: StudyOption = None, geo_root: RootOption = None) -> None:
    """Fetch and curate the cohorts of a study, up to quality control."""
    settings, chosen = _settings(study, geo_root, None)
    with _runner(settings, chosen) as runner:
        plan = runner.ingest()
    for name, cohorts in plan.cells.items():
        samples = plan.samples(name)
        cases = int(samples["case"].sum())
        _say(f"{name}: {len(samples)} samples, {cases} cases, from {', '.join(cohorts)}")
    for entry in plan.left_out:
        _say(f"left out of {entry.stratum}: {entry.cohort} ({entry.n} samples), {entry.reason}")


@app.command()
def predict(
    stratum: Annotated[str, typer.Option(help="Whose adapter scores the samples.")],
    cohort: Annotated[str, typer.Option(help="The cohort to score: a cohort file's name.")],
    output: Annotated[Path, typer.Option(help="File for the predictions: .parquet or .csv.")],
    study: StudyOption = None,
    geo_root: RootOption = None,
) -> None:
    """Score a cohort that the adapter never saw; labels are optional."""
    from genellm_dagster.workflows.new_cohort import predict_cohort

    # Scoring takes minutes: what cannot be written is refused before.
    if output.suffix not in _TABLES:
        raise GeneLLMError(f"{output} ends neither in .parquet nor in .csv; name one of these.")
    settings, chosen = _settings(study, geo_root, None)
    table = predict_cohort(settings, chosen, stratum, cohort)
    _write_table(table, output)
    _say(f"{len(table)} samples scored, {output} written. Research use only.")


@app.command()
def compare(study: StudyOption = None, as_json: JsonOption = False) -> None:
    """Print every model of a study side by side."""
    from genellm_dagster.files import read_parquet

    settings, chosen = _settings(study, None, None)
    table = read_parquet(settings.store / chosen.name / "model_comparison.parquet")
    if as_json:
        _say(table.to_json(orient="records", indent=2))
        return
    _print_models(table)


@app.command()
def discover(
    study: StudyOption = None, geo_root: RootOption = None, as_json: JsonOption = False
) -> None:
    """Search GEO for series that fit the study, and list them."""
    from genellm_dagster.files import read_parquet

    settings, chosen = _settings(study, geo_root, None)
    with _runner(settings, chosen) as runner:
        runner.catalog()
    table = read_parquet(settings.store / chosen.name / "geo_catalog.parquet")
    if as_json:
        _say(table.to_json(orient="records", indent=2))
        return
    _print_table(table, f"{len(table)} series for {chosen.name}")


@app.command()
def report(study: StudyOption = None) -> None:
    """Write the comparisons and the report of a study again, from what has been computed."""
    settings, chosen = _settings(study, None, None)
    with _runner(settings, chosen) as runner:
        path = runner.report()
    _say(str(path))


@app.command()
def ui(
    study: StudyOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Start the Dagster and MLflow interfaces; Ctrl-C stops both."""
    from genellm_dagster.servers import serve

    settings, chosen = _settings(study, None, None)
    sys.exit(serve(settings, chosen, host, port, mlflow_port, _say))


@cohort_app.command("inspect")
def inspect_cohort(
    accession: Annotated[str, typer.Argument(help="A series, GSE...")],
    study: StudyOption = None,
    geo_root: RootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the fields of a series' samples and their values, to write label rules by."""
    from genellm_dagster.geo.client import GeoClient
    from genellm_dagster.geo.series import fetch_headers
    from genellm_dagster.settings import geo_root_of
    from genellm_dagster.studies.inspect import inspect_samples

    settings, chosen = _settings(study, geo_root, None)
    with GeoClient(geo_root_of(settings, chosen), settings.geo) as client:
        tables = fetch_headers(client, accession, settings.store / "inspected" / accession)
    found = {name: inspect_samples(samples) for name, samples in tables.items()}
    if as_json:
        _say(json.dumps({name: t.to_dict("records") for name, t in found.items()}, default=str))
        return
    for name, table in found.items():
        _print_table(table, name)


def _settings(
    study: str | None, geo_root: str | None, backbone: str | None
) -> tuple[Settings, Study]:
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


@contextmanager
def _runner(settings: Settings, study: Study) -> Iterator[Any]:
    from genellm_dagster.defs.build import build_definitions
    from genellm_dagster.defs.runs import StudyRunner, dagster_instance

    definitions = build_definitions(settings, study)
    with dagster_instance(settings) as instance, _progress() as announce:
        yield StudyRunner(settings, study, definitions, instance, announce)


def _run(settings: Settings, study: Study, stratum: str | None, as_json: bool) -> None:
    from genellm_dagster.errors import StudyError
    from genellm_dagster.files import read_json

    started = time.monotonic()
    if stratum is not None and stratum not in study.strata:
        raise StudyError(
            f"The study {study.name!r} has no stratum {stratum!r}; it has "
            f"{', '.join(study.strata)}."
        )
    with _runner(settings, study) as runner:
        plan = runner.ingest()
        if stratum is not None and stratum not in plan.cells:
            raise StudyError(f"The stratum {stratum!r} cannot be run: {plan.empty[stratum]}.")
        runner.train(plan, [stratum] if stratum else list(plan.cells))
        path = runner.report()
    folder = settings.store / study.name / "evaluation_report"
    reports = {
        name: read_json(folder / f"{name}.json")
        for name in plan.cells
        if (folder / f"{name}.json").exists()
    }
    if as_json:
        _say(json.dumps({"report": str(path), "strata": reports}))
        return
    from genellm_dagster.evaluation.comparison import compare_models

    _print_models(compare_models(list(reports.values())))
    for name, reason in plan.empty.items():
        _say(f"not run: {name} ({reason})")
    _say(f"Report: {path}\nTook {time.monotonic() - started:.0f} s. Research use only.")


def _print_models(table: pd.DataFrame) -> None:
    for (study, stratum), rows in table.groupby(["study", "stratum"], sort=False):
        first = rows.iloc[0]
        shown = rows.assign(
            auroc=[_interval(row, "auroc") for _, row in rows.iterrows()],
            average_precision=[_interval(row, "average_precision") for _, row in rows.iterrows()],
            brier=rows["brier"].map("{:.3f}".format),
            within=rows["auroc_within_cohorts"].map("{:.3f}".format),
        )
        title = (
            f"{study} {stratum}: {first['n']} samples, {first['cases']} cases "
            f"(prevalence {first['prevalence']:.2f})"
        )
        names = {"within": "AUROC inside cohorts", "auroc": "AUROC [95 % interval]"}
        columns = ["model", "auroc", "within", "average_precision", "brier"]
        _print_table(shown[columns].rename(columns=names), title)


def _interval(row: pd.Series, name: str) -> str:
    return f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"


def _print_table(table: pd.DataFrame, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    # Away from a terminal a table is as wide as it needs to be, for logs and pipes.
    console = Console(width=None if sys.stdout.isatty() else 160)
    drawn = Table(title=title, title_justify="left")
    for column in table.columns:
        drawn.add_column(str(column))
    for row in table.itertuples(index=False, name=None):
        drawn.add_row(*(str(value) for value in row))
    console.print(drawn, markup=False)


def _write_table(table: pd.DataFrame, output: Path) -> None:
    from genellm_dagster.files import write_parquet, write_text

    if output.suffix == ".parquet":
        write_parquet(output, table)
    else:
        write_text(output, table.to_csv(index=False))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show one line for each run, with a bar for what reports its progress."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from genellm_dagster.defs.progress import PROGRESS_LOGGER

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
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
        label, done, total = record.getMessage(), record.__dict__["done"], record.__dict__["total"]
        if label not in self.tasks:
            self.tasks[label] = self.bars.add_task(label, total=total)
        self.bars.update(self.tasks[label], completed=done, total=total, visible=done < total)


def _say(text: str) -> None:
    typer.echo(text)


if __name__ == "__main__":
    main()
