"""The command ``genellm``: thin, runs the same jobs as the UI.

Exit status 0 done, 1 a check failed or data was bad (one sentence says what, where and what to do),
2 wrong usage.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genellm_dagster.cli_cohort import cohort_app
from genellm_dagster.cli_simulate import power, simulate
from genellm_dagster.cli_tokens import tokens_app
from genellm_dagster.cli_tune import tune
from genellm_dagster.errors import GeneLLMError
from genellm_dagster.terminal import (
    BackboneOption,
    JsonOption,
    RootOption,
    StratumOption,
    StudyOption,
    given_options,
    print_table,
    read_settings,
    run_refresh,
    say,
    study_runner,
    write_table,
)

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
app.add_typer(cohort_app, name="cohort")
app.add_typer(tokens_app, name="tokens")
app.command()(tune)
app.command()(simulate)
app.command()(power)

_TABLES = (".parquet", ".csv")


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
    settings, chosen = read_settings(study, geo_root, backbone)
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
    settings, chosen = read_settings(DEMO, None, backbone)
    _run(settings, chosen, None, as_json)
    if not as_json:
        say("Everything above is SIMULATED. See it in the UI: GENELLM_STUDY=demo make ui")


@app.command()
def ingest(study: StudyOption = None, geo_root: RootOption = None) -> None:
    """Fetch and curate the cohorts of a study, up to quality control."""
    settings, chosen = read_settings(study, geo_root, None)
    with study_runner(settings, chosen) as runner:
        plan = runner.ingest()
    for name, cohorts in plan.cells.items():
        samples = plan.samples(name)
        cases = int(samples["case"].sum())
        say(f"{name}: {len(samples)} samples, {cases} cases, from {', '.join(cohorts)}")
    for entry in plan.left_out:
        say(f"left out of {entry.stratum}: {entry.cohort} ({entry.n} samples), {entry.reason}")


@app.command()
def predict(
    stratum: Annotated[str, typer.Option(help="Whose adapter scores the samples.")],
    output: Annotated[Path, typer.Option(help="File for the predictions: .parquet or .csv.")],
    cohort: Annotated[
        str | None,
        typer.Option(help="The cohort to score: a cohort file's name, or any series of GEO."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="New samples to score: .tsv, .csv, .parquet or .h5ad, either way round."),
    ] = None,
    scale: Annotated[
        Literal["log2", "linear", "counts", "centred"] | None,
        typer.Option(help="Of the table's values; found out when left out."),
    ] = None,
    prevalence: Annotated[
        float, typer.Option(help="Share of cases where the samples come from; for `probability`.")
    ] = 0.5,
    study: StudyOption = None,
    geo_root: RootOption = None,
) -> None:
    """Score samples that the adapter never saw: a cohort, a series, or a table of new samples."""
    from genellm_dagster.workflows.new_cohort import predict_cohort
    from genellm_dagster.workflows.new_samples import predict_table

    if (cohort is None) == (table is None) or (scale is not None and table is None):
        raise typer.BadParameter("name either --cohort or --table; --scale belongs to --table")
    if not 0 < prevalence < 1:
        raise typer.BadParameter("--prevalence is a share above 0 and below 1")
    # Scoring takes minutes: what cannot be written is refused before.
    if output.suffix not in _TABLES:
        raise GeneLLMError(f"{output} ends neither in .parquet nor in .csv; name one of these.")
    settings, chosen = read_settings(study, geo_root, None)
    if table is not None:
        scores = predict_table(settings, chosen, stratum, table, scale, prevalence)
    else:
        scores = predict_cohort(settings, chosen, stratum, str(cohort), prevalence)
    write_table(scores.table, output)
    for note in scores.notes:
        say(note)
    if scores.refused:
        say(scores.refusal)
    for mark in scores.marks:
        say(f"TRANSDUCTIVE: {mark}; a sample alone would be scored otherwise.")
    say(f"{len(scores.table)} samples scored, {output} written. Research use only.")


@app.command()
def export(
    output: Annotated[Path, typer.Option(help="File to write: .h5ad, .parquet or .csv.")],
    study: StudyOption = None,
    cohort: Annotated[
        list[str] | None, typer.Option(help="Only this cohort; may be given repeatedly.")
    ] = None,
    stratum: StratumOption = None,
    table: Annotated[
        Literal["qc", "expression", "profiles"],
        typer.Option(help="After quality control, before it, or as the models see the samples."),
    ] = "qc",
    file_format: Annotated[
        Literal["h5ad", "parquet", "csv"] | None,
        typer.Option("--format", help="As the file's name says when left out."),
    ] = None,
) -> None:
    """Write the samples of a study for other programs: values, sample sheet, provenance."""
    from genellm_dagster.workflows.export import gather
    from genellm_dagster.workflows.export_files import format_of, write_export

    format_of(output, file_format)
    settings, chosen = read_settings(study, None, None)
    exported = gather(settings, chosen, table, cohort or (), stratum)
    files = write_export(exported, output)
    simulated = "SIMULATED: " if chosen.simulated else ""
    samples, genes = exported.values.shape
    say(
        f"{simulated}{samples} samples x {genes} genes of "
        f"{', '.join(exported.provenance['cohorts'])}; {' and '.join(map(str, files))} written. "
        "Research use only."
    )


@app.command()
def compare(study: StudyOption = None, as_json: JsonOption = False) -> None:
    """Print every model of a study side by side."""
    from genellm_dagster.files import read_parquet

    settings, chosen = read_settings(study, None, None)
    table = read_parquet(settings.store / chosen.name / "model_comparison.parquet")
    if as_json:
        say(table.to_json(orient="records", indent=2))
        return
    _print_models(table)


@app.command()
def discover(
    study: StudyOption = None, geo_root: RootOption = None, as_json: JsonOption = False
) -> None:
    """Search GEO for series that fit the study, propose the new ones, list what waits."""
    from genellm_dagster.workflows.news import study_news

    settings, chosen = read_settings(study, geo_root, None)
    with study_runner(settings, chosen) as runner:
        runner.catalog()
    news = study_news(settings, chosen, given_options(study, geo_root))
    if as_json:
        say(news.to_json())
        return
    if not news.table.empty:
        print_table(news.shown(), f"{chosen.name}: what waits")
    for line in news.lines():
        say(line)


@app.command()
def refresh(study: StudyOption = None, geo_root: RootOption = None) -> None:
    """Run what new cohorts, revised series and changed descriptions ask for, down to the report."""
    settings, chosen = read_settings(study, geo_root, None)
    run_refresh(settings, chosen)


@app.command()
def query(
    sql: Annotated[
        str | None, typer.Argument(help='One SELECT; the column case is written "case".')
    ] = None,
    study: StudyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the catalogue, the sample sheets and the predictions in SQL; lists them without it."""
    from genellm_dagster.workflows.tables import query_store, store_tables

    settings, chosen = read_settings(study, None, None)
    if sql is None:
        table = store_tables(settings.store, chosen.name)
    else:
        table = query_store(settings.store, chosen.name, sql)
    if as_json:
        say(table.to_json(orient="records", indent=2, date_format="iso"))
    else:
        print_table(table, f"{len(table)} rows")


@app.command()
def report(study: StudyOption = None) -> None:
    """Write the comparisons and the report of a study again, from what has been computed."""
    settings, chosen = read_settings(study, None, None)
    with study_runner(settings, chosen) as runner:
        path = runner.report()
    say(str(path))


@app.command()
def ui(
    study: StudyOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Start the Dagster and MLflow interfaces; Ctrl-C stops both."""
    from genellm_dagster.servers import serve

    settings, chosen = read_settings(study, None, None)
    sys.exit(serve(settings, chosen, host, port, mlflow_port, say))


def _run(settings: Settings, study: Study, stratum: str | None, as_json: bool) -> None:
    from genellm_dagster.errors import StudyError
    from genellm_dagster.files import read_json

    started = time.monotonic()
    if stratum is not None and stratum not in study.strata:
        raise StudyError(
            f"The study {study.name!r} has no stratum {stratum!r}; it has "
            f"{', '.join(study.strata)}."
        )
    with study_runner(settings, study) as runner:
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
        say(json.dumps({"report": str(path), "strata": reports}))
        return
    from genellm_dagster.evaluation.comparison import compare_models

    _print_models(compare_models(list(reports.values())))
    for name, reason in plan.empty.items():
        say(f"not run: {name} ({reason})")
    say(f"Report: {path}\nTook {time.monotonic() - started:.0f} s. Research use only.")


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
        print_table(shown[columns].rename(columns=names), title)
        for steps, models in rows[rows["transductive"] != ""].groupby("transductive"):
            say(f"TRANSDUCTIVE, {steps}: {', '.join(models['model'])}")


def _interval(row: pd.Series, name: str) -> str:
    return f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"


if __name__ == "__main__":
    main()
