"""The commands ``genellm simulate`` and ``genellm power``: studies with a truth, and their size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from genellm_dagster.terminal import JsonOption, StudyOption, print_table, read_settings, say

_NAME = "simulated"


def simulate(
    output: Annotated[
        Path, typer.Option(help="Folder to write: new, empty, or of an earlier simulation.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of options, as under `simulation:` in genellm.yaml."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the study; `simulated` when left out.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    effect: Annotated[
        list[str] | None,
        typer.Option(
            help="Mean absolute effect of a planted gene, log2 units: 0.5, or adult=0.5; may be "
            "given repeatedly."
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(help="Share of the planted genes that the strata have in common, 0 to 1."),
    ] = None,
    discordant: Annotated[
        float | None,
        typer.Option(help="Share of these that move the other way in every second stratum."),
    ] = None,
    prevalence: Annotated[
        list[str] | None,
        typer.Option(
            help="Share of cases among cases and controls: 0.3, or GSE9900004=0.3; may be given "
            "repeatedly."
        ),
    ] = None,
    samples: Annotated[
        float | None, typer.Option(help="Every number of people times this.")
    ] = None,
    genes: Annotated[int | None, typer.Option(help="Genes measured in all.")] = None,
    batch: Annotated[
        float | None, typer.Option(help="Spread of a gene's shift between series, log2 units.")
    ] = None,
    absent: Annotated[
        float | None, typer.Option(help="Share of the genes that one platform does not measure.")
    ] = None,
    missing: Annotated[
        float | None, typer.Option(help="Share of single values that are empty.")
    ] = None,
    duplicates: Annotated[
        int | None,
        typer.Option(help="Arrays of a stratum's first series that each later one uses again."),
    ] = None,
    mislabelled: Annotated[
        float | None, typer.Option(help="Share of the people written with the other label.")
    ] = None,
    composition: Annotated[
        float | None,
        typer.Option(
            help="How far the disease moves neutrophils up and lymphocytes down, in standard "
            "deviations."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a SIMULATED study: GEO files, the study file that reads them, and the truth."""
    from genellm_dagster.settings import load_settings
    from genellm_dagster.simulation.changes import changed, read_options
    from genellm_dagster.simulation.study import simulate_study

    # A study named as the built-in one would share its place in the store.
    options = load_settings().simulation.model_copy(update={"name": _NAME})
    if config is not None:
        options = read_options(config, options)
    given: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "sample_share": samples,
        "genes": genes,
        "batch_sd": batch,
        "absent_share": absent,
        "missing_share": missing,
        "mislabelled_share": mislabelled,
        "composition_shift": composition,
    }
    options = changed(
        options,
        values={key: value for key, value in given.items() if value is not None},
        effect=_by_name(effect, "--effect"),
        prevalence=_by_name(prevalence, "--prevalence"),
        overlap=overlap,
        discordant=discordant,
        duplicates=duplicates,
    )
    study = simulate_study(output, options)
    run = f"genellm run --study {study.study_file} --geo-root {study.geo_root.resolve().as_uri()}"
    if as_json:
        files = {"study": study.study_file, "geo_root": study.geo_root, "truth": study.truth_file}
        said = {key: str(value) for key, value in files.items()}
        say(json.dumps({"simulated": True, **said, "seed": options.seed, "run": run}, indent=2))
        return
    print_table(study.cohorts(), f"SIMULATED: {options.name}, seed {options.seed}")
    for line in study.planted():
        say(line)
    say(f"The truth is in {study.truth_file}. To run it:\n{run}")


def power(
    difference: Annotated[
        float, typer.Option(help="Difference in AUROC between two strata.")
    ] = 0.05,
    auroc: Annotated[
        list[float] | None,
        typer.Option(help="AUROC of the better stratum; may be given repeatedly."),
    ] = None,
    prevalence: Annotated[
        list[float] | None, typer.Option(help="Share of cases; may be given repeatedly.")
    ] = None,
    wanted: Annotated[
        float, typer.Option("--power", help="Probability to see the difference.")
    ] = 0.8,
    alpha: Annotated[float, typer.Option(help="Level of the two-sided test.")] = 0.05,
    scores: Annotated[
        Literal["normal", "exponential"],
        typer.Option(help="Shape of the scores; exponential is Hanley and McNeil's of 1982."),
    ] = "normal",
    study: StudyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many samples a stratum show a difference in AUROC, or what a study could show."""
    from genellm_dagster.simulation.power import Plan, needed_table
    from genellm_dagster.workflows.power import AUROCS, PREVALENCES, what_a_study_could_show

    aurocs, plan = tuple(auroc or AUROCS), Plan(wanted, alpha, scores)
    if study is None:
        table = needed_table(aurocs, prevalence or PREVALENCES, difference, plan)
        title = (
            f"Samples in each of two strata that show a difference of {difference:g} in AUROC "
            f"with power {wanted:g} (two-sided, level {alpha:g})"
        )
    else:
        if prevalence:
            raise typer.BadParameter("--prevalence is the study's own where --study is given")
        settings, chosen = read_settings(study, None, None)
        table = what_a_study_could_show(settings, chosen, aurocs, difference, plan)
        simulated = "SIMULATED " if chosen.simulated else ""
        title = (
            f"{simulated}{chosen.name}: power to see a difference of {difference:g} in AUROC, and "
            f"the smallest one seen with power {wanted:g} (two-sided, level {alpha:g}); persons "
            "as cases + controls"
        )
    if as_json:
        say(table.to_json(orient="records", indent=2))
        return
    print_table(table.round(3).fillna("none").rename(columns=_plain_words), title)


def _plain_words(column: str) -> str:
    return column.replace("_", " ").replace("auroc", "AUROC")


def _by_name(given: list[str] | None, option: str) -> dict[str, float]:
    """Read ``0.5`` and ``name=0.5``; the first holds for every name without a value of its own."""
    values: dict[str, float] = {}
    for text in given or []:
        name, _, number = text.rpartition("=")
        try:
            values[name] = float(number)
        except ValueError as error:
            raise typer.BadParameter(f"{option} {text!r} is neither number nor name=number") from (
                error
            )
    return values
