"""Scores of a cohort that the adapter never saw."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from genellm_dagster.errors import GeoError, ModelError, StudyError
from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.scale import centring_marks
from genellm_dagster.genellm.adapter import load_adapter
from genellm_dagster.genellm.backbone import prepare_backbone
from genellm_dagster.genellm.scoring import Scorer, Scores
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.series import fetch_series, read_series
from genellm_dagster.settings import Settings, geo_root_of
from genellm_dagster.store import Store
from genellm_dagster.studies.cohort import Cohort, check_cohort_name
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import known_cohorts, load_cohort
from genellm_dagster.studies.study import Study
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.folds import GENELLM
from genellm_dagster.workflows.proposals import unlabelled_cohort

_NEW = "new_cohort"
_COLUMNS = (
    "gsm", "cohort", "stratum", "subject", "case", "fold", "model", "score", "uncertainty",
    "probability", "coverage",
)  # fmt: skip
_REFUSED_SHOWN = 10


@dataclass(frozen=True)
class NewScores:
    """Scores of new samples.

    Attributes:
        table: gsm, cohort, stratum, subject, case (empty where there is no label), fold
            (``new_cohort``), model, score (a probability at equal prevalence), uncertainty,
            probability (at the prevalence asked for), coverage (share of the model's genes that the
            sample has).
        marks: Steps that used the cohort's other samples, or its labels: the same sample alone
            would be scored otherwise.
        notes: What was found out or assumed, in sentences.
        refused: Samples that are not scored, and the share of the model's genes that each has.
    """

    table: pd.DataFrame
    marks: list[str]
    notes: list[str] = field(default_factory=list)
    refused: dict[str, float] = field(default_factory=dict)

    @property
    def refusal(self) -> str:
        """The refused samples in one sentence; empty where there are none."""
        if not self.refused:
            return ""
        told = [f"{gsm} {share:.0%}" for gsm, share in self.refused.items()][:_REFUSED_SHOWN]
        more = len(self.refused) - len(told)
        return (
            f"{len(self.refused)} samples are not scored, as they have too few of the model's "
            f"genes: {', '.join(told)}{f' and {more} more' if more else ''}."
        )


def predict_cohort(
    settings: Settings, study: Study, stratum: str, name: str, prevalence: float = 0.5
) -> NewScores:
    """Score a cohort with the champion adapter of a stratum.

    A series that no cohort file describes is read as a proposal would read its values, and has no
    labels.

    Args:
        settings: All settings.
        study: The study whose adapter is used.
        stratum: The stratum whose adapter is used; every sample of the cohort is scored by it,
            whatever its age.
        name: The cohort: of a cohort file, inline in the study, or any series.
        prevalence: Share of cases among the people whom its samples come from.

    Raises:
        StudyError: When stratum or cohort are unknown.
        ModelError: When the stratum has no adapter, or every sample too few of its genes.
    """
    scorer = champion_scorer(settings, study, stratum)
    with GeoClient(geo_root_of(settings, study), settings.geo) as client:
        name, cohort, notes = _described(settings, study, client, name)
        expression, sheet, marks = _read(
            settings,
            study,
            client,
            name,
            cohort,
            Store(settings.store, study.name).place(_NEW, name),
        )
    controls = sheet.loc[(sheet["case"] == 0).fillna(False).astype(bool), "gsm"].tolist()
    scores = scorer.score(name, expression, controls, prevalence)
    require_scored(f"The cohort {name}", scorer, scores)
    return as_new_scores(name, stratum, scores, sheet, marks, notes)


def champion_scorer(
    settings: Settings, study: Study, stratum: str, *, keep_states: bool = True
) -> Scorer:
    """Return the champion adapter of a stratum, ready to score.

    Args:
        settings: All settings.
        study: The study.
        stratum: The stratum.
        keep_states: Whether prefix states go to the store.

    Raises:
        StudyError: When the study has no such stratum.
        ModelError: When the stratum has no adapter, or its backbone is not what it was.
    """
    if stratum not in study.strata:
        raise StudyError(
            f"The study {study.name!r} has no stratum {stratum!r}; it has "
            f"{', '.join(study.strata)}."
        )
    store = Store(settings.store, study.name)
    tracker = Tracker(settings.tracking, settings.store)
    if tracker.registered(study.name, stratum) is None:
        raise ModelError(
            f"The stratum {stratum!r} of {study.name!r} has no adapter yet; run "
            f"`genellm run --study {settings.study}` first."
        )
    adapter = load_adapter(tracker.champion(study.name, stratum))
    backbone = prepare_backbone(adapter.card.backbone, store.backbones)
    folder = store.prefix_states if keep_states else None
    return Scorer(adapter, backbone, settings.model, folder)


def require_scored(what: str, scorer: Scorer, scores: Scores) -> None:
    """Refuse when no sample could be scored.

    Raises:
        ModelError: When every sample has too few of the model's genes.
    """
    if scores.table.empty:
        share = max(scores.refused.values(), default=0.0)
        raise ModelError(
            f"{what} has {share:.0%} of the model's {len(scorer.genes)} genes, fewer than "
            f"min_gene_coverage asks for ({scorer.min_coverage:.0%}); its samples are not scored."
        )


def as_new_scores(
    name: str,
    stratum: str,
    scores: Scores,
    sheet: pd.DataFrame,
    marks: list[str],
    notes: list[str],
) -> NewScores:
    """Put scores beside what is known of their samples (gsm, subject, case)."""
    table = scores.table.assign(cohort=name, stratum=stratum, fold=_NEW, model=GENELLM)
    table = table.merge(sheet[["gsm", "subject", "case"]], on="gsm", how="left")
    return NewScores(table[list(_COLUMNS)], [*marks, *scores.marks], notes, scores.refused)


def unlabelled_sheet(gsm: pd.Series) -> pd.DataFrame:
    """Return the sheet of samples of which nothing is known: each a person, none with a class."""
    unlabelled = pd.DataFrame({"gsm": gsm, "subject": gsm})
    return unlabelled.assign(case=pd.array([pd.NA] * len(gsm), dtype="Int8"))


def _described(
    settings: Settings, study: Study, client: GeoClient, name: str
) -> tuple[str, Cohort, list[str]]:
    """Return the cohort's name and description, and what was assumed of it."""
    try:
        check_cohort_name(name)
    except ValueError as error:
        raise StudyError(f"{error}.") from error
    if name in study.cohort_files or name in known_cohorts(settings.data_dir):
        return name, load_cohort(name, data_dir=settings.data_dir, study=study), []
    try:
        name, cohort = unlabelled_cohort(client, study, name)
    except GeoError as error:
        raise StudyError(
            f"There is no description of the cohort {name} in {settings.data_dir / 'cohorts'}, and "
            f"the series could not be read as it is ({str(error).rstrip('.')}); "
            f"`genellm cohort inspect {name}` shows what GEO has of it."
        ) from error
    values = cohort.values
    files = f" ({', '.join(values.files)})" if values.files else ""
    return name, cohort, [
        f"{name} has no cohort file; assumed: platform {cohort.platform}, ids are "
        f"{cohort.id_type}, values from {values.source}{files}, no labels, every sample is scored"
    ]  # fmt: skip


def _read(
    settings: Settings, study: Study, client: GeoClient, name: str, cohort: Cohort, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return expression table, sample sheet, and what the table must be marked with."""
    manifest = fetch_series(client, cohort, folder)
    series = read_series(folder, manifest, settings.geo.max_decompressed_bytes)
    result = build_expression(
        series.values, series.id_table, cohort, series.kind, settings.expression
    )
    scale = {name: result.report["scale"]["kind"]}
    marks = [*result.report["transductive"], *centring_marks(scale)]
    if cohort.sample.label:
        return result.table, build_sample_sheet(series.samples, cohort, study), marks
    return result.table, unlabelled_sheet(series.samples["gsm"]), marks
