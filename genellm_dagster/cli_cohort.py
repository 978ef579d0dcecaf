"""The commands ``genellm cohort``: look at a series, have it proposed, say yes or no."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genellm_dagster.terminal import (
    JsonOption,
    RootOption,
    StudyOption,
    given_options,
    print_table,
    read_settings,
    run_refresh,
    say,
)

if TYPE_CHECKING:
    from genellm_dagster.workflows.proposals import Proposed

cohort_app = typer.Typer(no_args_is_help=True, help="Look at a series, propose, approve, reject.")

_UNMATCHED_SHOWN = 20


@cohort_app.command("inspect")
def inspect_cohort(
    accession: Annotated[str, typer.Argument(help="A series, GSE...")],
    study: StudyOption = None,
    geo_root: RootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the fields of a series' samples and their values, to write label rules by."""
    from genellm_dagster.errors import GeoError
    from genellm_dagster.geo.client import GeoClient
    from genellm_dagster.geo.starts import read_series_starts
    from genellm_dagster.settings import geo_root_of
    from genellm_dagster.studies.inspect import inspect_samples

    settings, chosen = read_settings(study, geo_root, None)
    with GeoClient(geo_root_of(settings, chosen), settings.geo) as client:
        starts = read_series_starts(client, accession)
    found = {name: inspect_samples(start.samples) for name, start in starts.files.items()}
    if as_json:
        say(json.dumps({name: t.to_dict("records") for name, t in found.items()}, default=str))
    else:
        for name, table in found.items():
            print_table(table, name)
    for name, problem in starts.problems.items():
        typer.echo(f"{name} cannot be read: {problem}", err=True)
    if not found:
        raise GeoError(f"None of the files of {accession} can be read; try again later.")


@cohort_app.command("propose")
def propose(
    accession: Annotated[str, typer.Argument(help="A series, GSE..., or GSE...-GPL...")],
    study: StudyOption = None,
    geo_root: RootOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Also write the proposed cohort file here.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a cohort file for a series, its rules inferred, each with evidence and confidence."""
    from genellm_dagster.errors import StudyError
    from genellm_dagster.files import write_text
    from genellm_dagster.geo.client import GeoClient
    from genellm_dagster.settings import geo_root_of
    from genellm_dagster.store import Store
    from genellm_dagster.workflows.catalog import update_statuses
    from genellm_dagster.workflows.proposals import propose_series

    settings, chosen = read_settings(study, geo_root, None)
    store = Store(settings.store, chosen.name)
    with GeoClient(geo_root_of(settings, chosen), settings.geo) as client:
        made = propose_series(client, chosen, store, accession)
    update_statuses(store, chosen)
    if output is not None:
        if len(made) > 1:
            raise StudyError(
                f"{accession} has a proposal for each of its platforms "
                f"({', '.join(one.name for one in made)}); name one of them to write it to a file."
            )
        write_text(output, made[0].file.read_text(encoding="utf-8"))
    if as_json:
        say(json.dumps([{**one.content, "file": str(one.file)} for one in made]))
        return
    for one in made:
        _print_proposal(one, study, geo_root)


@cohort_app.command("approve")
def approve(
    accession: Annotated[str, typer.Argument(help="A proposed series, GSE... or GSE...-GPL...")],
    study: StudyOption = None,
    geo_root: RootOption = None,
    no_refresh: Annotated[
        bool, typer.Option("--no-refresh", help="Only add it; run it later.")
    ] = False,
) -> None:
    """Take a proposed cohort into the study, then run what it asks for, down to the report."""
    from genellm_dagster.defs.runs import add_partitions, dagster_instance
    from genellm_dagster.settings import study_file_of
    from genellm_dagster.store import Store
    from genellm_dagster.studies.approval import approve_cohort
    from genellm_dagster.studies.loading import known_cohorts
    from genellm_dagster.workflows.catalog import update_statuses
    from genellm_dagster.workflows.proposals import proposal_of, read_proposals

    settings, chosen = read_settings(study, geo_root, None)
    store = Store(settings.store, chosen.name)
    file = study_file_of(settings)
    proposals = read_proposals(store)
    if accession in known_cohorts(settings.data_dir) and accession not in proposals:
        approval = approve_cohort(None, accession, file, settings.data_dir)
    else:
        proposed = proposal_of(store, accession)
        approval = approve_cohort(proposed.file, proposed.name, file, settings.data_dir)
    with dagster_instance(settings) as instance:
        add_partitions(instance, approval.study)
    update_statuses(store, approval.study)
    say(f"{approval.name} is a cohort of {chosen.name} now: {approval.cohort_file}, {file}")
    if no_refresh:
        say("Not run yet: genellm refresh, or the sensor study_refresh of a running interface.")
        return
    settings, chosen = read_settings(study, geo_root, None)
    run_refresh(settings, chosen)


@cohort_app.command("reject")
def reject(
    accession: Annotated[str, typer.Argument(help="A series, GSE... or GSE...-GPL...")],
    reason: Annotated[str, typer.Option(help="Why it does not fit, for the next reader.")],
    study: StudyOption = None,
) -> None:
    """Leave a series out of the study for good, with the reason."""
    from genellm_dagster.settings import study_file_of, study_of
    from genellm_dagster.store import Store
    from genellm_dagster.studies.approval import reject_series
    from genellm_dagster.workflows.catalog import update_statuses

    settings, chosen = read_settings(study, None, None)
    file = study_file_of(settings)
    reject_series(file, settings.data_dir, accession, reason)
    update_statuses(Store(settings.store, chosen.name), study_of(settings))
    say(f"{accession} is rejected in {file}")


def _print_proposal(proposed: Proposed, study: str | None, geo_root: str | None) -> None:
    import pandas as pd

    content = proposed.content
    labels = ", ".join(f"{label} {n}" for label, n in content["labels"].items()) or "none"
    evidence = pd.DataFrame(
        [
            {
                "rule": one["rule"],
                "field": one["field"],
                "pattern": one["pattern"],
                "gives": one["value"],
                "samples": one["n"],
                "confidence": f"{one['confidence']:.2f}",
                "why": one["why"],
            }
            for one in content["evidence"]
        ]
    )
    print_table(evidence, f"{proposed.name}: {labels}; confidence {proposed.confidence:.2f}")
    for what, why in content["abstained"].items():
        say(f"not inferred: {what} ({why})")
    for warning in content["warnings"]:
        say(f"look at: {warning}")
    unmatched = content["unmatched"]
    if unmatched:
        say(f"{len(unmatched)} samples without a label:")
        for sample in unmatched[:_UNMATCHED_SHOWN]:
            say(f"  {sample['gsm']}  {sample['title']}  {sample['what']}")
        if len(unmatched) > _UNMATCHED_SHOWN:
            say(f"  and {len(unmatched) - _UNMATCHED_SHOWN} more, in {proposed.file}")
    for name, problem in content["problems"].items():
        say(f"{name} could not be read: {problem}")
    if content["refused"]:
        say(f"ingestion would refuse it: {content['refused']}")
    for stratum, n in content["would_use"].items():
        say(f"{stratum} would get {n['cases']} cases and {n['controls']} controls")
    name = proposed.name
    approve_it = f"genellm cohort approve {name} {given_options(study, geo_root)}".rstrip()
    reject_it = f"genellm cohort reject {name} --reason '...' {given_options(study, None)}".rstrip()
    say(f"{proposed.file}\nRead it, correct it, then: {approve_it}\nor: {reject_it}")
