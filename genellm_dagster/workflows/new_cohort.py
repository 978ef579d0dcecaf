"""Scores of a cohort that the adapter never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genellm_dagster.errors import ModelError, StudyError
from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.fold_profiles import FoldProfiles, profiles_of_new_cohort
from genellm_dagster.expression.harmonisation import harmonisation_from_json
from genellm_dagster.expression.learned_normalisation import normalisation_from_json
from genellm_dagster.expression.profile_options import NormalisationOptions
from genellm_dagster.expression.scale import centring_marks
from genellm_dagster.genellm.adapter import ProfileRecipe, load_adapter
from genellm_dagster.genellm.backbone import prepare_backbone
from genellm_dagster.genellm.prediction import predict, require_fitting
from genellm_dagster.genellm.session import Session
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.series import fetch_series, read_series
from genellm_dagster.settings import Settings, geo_root_of
from genellm_dagster.store import Store
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import load_cohort
from genellm_dagster.studies.study import Study
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.protocol import token_profiles
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.folds import GENELLM

_NEW = "new_cohort"


@dataclass(frozen=True)
class NewScores:
    """Scores of a new cohort.

    Attributes:
        table: gsm, cohort, stratum, subject, case (empty where there is no label), fold
            (``new_cohort``), model, score, uncertainty.
        marks: Steps that used the cohort's other samples, or its labels: the same sample alone
            would be scored otherwise.
    """

    table: pd.DataFrame
    marks: list[str]


def predict_cohort(settings: Settings, study: Study, stratum: str, name: str) -> NewScores:
    """Score a cohort with the champion adapter of a stratum.

    Args:
        settings: All settings.
        study: The study whose adapter is used.
        stratum: The stratum whose adapter is used; every sample of the cohort is scored by it,
            whatever its age.
        name: The cohort: of a cohort file, or inline in the study.

    Raises:
        StudyError: When stratum or cohort are unknown.
        ModelError: When the stratum has no adapter, or the cohort too few of its genes.
    """
    if stratum not in study.strata:
        raise StudyError(
            f"The study {study.name!r} has no stratum {stratum!r}; it has "
            f"{', '.join(study.strata)}."
        )
    cohort = load_cohort(name, data_dir=settings.data_dir, study=study)
    store = Store(settings.store, study.name)
    tracker = Tracker(settings.tracking, settings.store)
    if tracker.registered(study.name, stratum) is None:
        raise ModelError(
            f"The stratum {stratum!r} of {study.name!r} has no adapter yet; run "
            f"`genellm run --study {settings.study}` first."
        )
    adapter = load_adapter(tracker.champion(study.name, stratum))
    backbone = prepare_backbone(adapter.card.backbone, store.backbones)
    require_fitting(adapter.card, backbone)
    expression, sheet, marks = _read(settings, study, name, cohort, store.place(_NEW, name))
    genes = list(adapter.card.tokenizer["genes"])
    _require_coverage(name, expression, genes, settings.model.min_gene_coverage)
    options = TokenizerOptions.model_validate(
        {key: value for key, value in adapter.card.tokenizer.items() if key != "genes"}
    )
    made = _profiles(name, expression, genes, adapter.card.profiles, sheet)
    tokens = ValueTokenizer(genes, options).transform(made.profiles)
    model_options = settings.model.model_copy(
        update={
            "prefix": settings.model.prefix.model_copy(
                update={"head_layers": adapter.card.head_layers}
            )
        }
    )
    session = Session(backbone, adapter.card.tokenizer, model_options, store.prefix_states)
    profiles = token_profiles(tokens)
    said = predict(
        session.model,
        session.load(profiles),
        np.arange(len(profiles)),
        adapter.members,
        adapter.card.head_layers,
        adapter.card.options,
    )
    scored = pd.DataFrame(
        {
            "gsm": [profile.gsm for profile in profiles],
            "cohort": name,
            "stratum": stratum,
            "fold": _NEW,
            "model": GENELLM,
            "score": said.score,
            "uncertainty": said.uncertainty,
        }
    )
    table = scored.merge(sheet[["gsm", "subject", "case"]], on="gsm", how="left")
    columns = ["gsm", "cohort", "stratum", "subject", "case", "fold", "model", "score"]
    return NewScores(table[[*columns, "uncertainty"]], [*marks, *made.marks])


def _profiles(
    name: str,
    expression: pd.DataFrame,
    genes: list[str],
    recipe: ProfileRecipe,
    sheet: pd.DataFrame,
) -> FoldProfiles:
    """Make the cohort's profiles by what the adapter keeps of its training."""
    kept = recipe.harmonisation
    return profiles_of_new_cohort(
        name,
        expression,
        genes,
        NormalisationOptions.model_validate(recipe.normalisation),
        normalisation_from_json(recipe.learned),
        None if kept is None else harmonisation_from_json(kept),
        sheet.loc[(sheet["case"] == 0).fillna(False).astype(bool), "gsm"].tolist(),
    )


def _read(
    settings: Settings, study: Study, name: str, cohort: Cohort, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return expression table, sample sheet, and what the table must be marked with."""
    with GeoClient(geo_root_of(settings, study), settings.geo) as client:
        manifest = fetch_series(client, cohort, folder)
    series = read_series(folder, manifest, settings.geo.max_decompressed_bytes)
    result = build_expression(
        series.values, series.id_table, cohort, series.kind, settings.expression
    )
    scale = {name: result.report["scale"]["kind"]}
    marks = [*result.report["transductive"], *centring_marks(scale)]
    if cohort.sample.label:
        return result.table, build_sample_sheet(series.samples, cohort, study), marks
    gsm = series.samples["gsm"]
    unlabelled = pd.DataFrame({"gsm": gsm, "subject": gsm})
    sheet = unlabelled.assign(case=pd.array([pd.NA] * len(gsm), dtype="Int8"))
    return result.table, sheet, marks


def _require_coverage(
    name: str, expression: pd.DataFrame, genes: list[str], minimum: float
) -> None:
    share = len(expression.index.intersection(genes)) / len(genes)
    if share < minimum:
        raise ModelError(
            f"The cohort {name} has {share:.0%} of the model's {len(genes)} genes, fewer than "
            f"min_gene_coverage asks for ({minimum:.0%}); its samples are not scored."
        )
