"""Everything the study report shows, gathered from assets and from what lies beside them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pandas as pd

from genellm_dagster.files import read_json, read_parquet
from genellm_dagster.interpretation.embedding import embed
from genellm_dagster.reports.content import Attributed, ReportContent
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.studies.plan import samples_by_stratum
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.stratum import StratumSamples

_SOFTWARE = (
    "genellm-dagster",
    "dagster",
    "torch",
    "transformers",
    "peft",
    "mlflow",
    "scikit-learn",
)
VOCABULARY_NOTE = (
    "The genes of a stratum's vocabulary are chosen without labels on all of its cohorts, the one "
    "that is tested among them."
)


def report_content(
    study: Study,
    settings: Settings,
    store: Store,
    sheets: Mapping[str, pd.DataFrame],
    data: Mapping[str, StratumSamples],
    predictions: Mapping[str, pd.DataFrame],
    reports: Mapping[str, dict[str, Any]],
    adapters: Mapping[str, dict[str, Any]],
    backbone: Mapping[str, Any],
    age_comparison: Mapping[str, Any],
    comparison: pd.DataFrame,
) -> ReportContent:
    """Gather the content of the report."""
    plan = samples_by_stratum(sheets, study)
    data_docs = store.place("data_docs", "index.html")
    profiles = {stratum: read_json(store.place("profiles", f"{stratum}.json")) for stratum in data}
    learned = {
        stratum: read_json(store.place("baseline_predictions", f"{stratum}.json"))
        for stratum in data
    }
    left_out = [*plan.left_out, *(entry for part in data.values() for entry in part.left_out)]
    return ReportContent(
        study=study,
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        software=software_facts(settings),
        sheets=sheets,
        left_out=[asdict(entry) for entry in left_out],
        qc={
            (stratum, cohort): read_json(store.place("qc_expression", stratum, f"{cohort}.json"))
            for stratum, part in data.items()
            for cohort in part.tables
        },
        reports=reports,
        predictions=predictions,
        embeddings={
            stratum: _map(store, settings, stratum, part.samples, sheets)
            for stratum, part in data.items()
        },
        signatures={
            stratum: read_parquet(store.place("gene_attributions", f"{stratum}.signature.parquet"))
            for stratum in data
        },
        age_comparison=age_comparison,
        comparison=comparison,
        model=_model_facts(settings, adapters, backbone),
        refusals={stratum: learned[stratum]["refusals"] for stratum in data},
        controls={
            stratum: controls_of(store, stratum, found) for stratum, found in learned.items()
        },
        simulated=study.simulated,
        batch={stratum: found["batch"] for stratum, found in profiles.items()},
        marks={stratum: found["marks"] for stratum, found in profiles.items()},
        data_docs=str(data_docs) if data_docs.is_file() else "",
        attributions={
            stratum: _attributed(store, stratum)
            for stratum in data
            # A run of before this was kept has the signatures alone.
            if store.place("gene_attributions", f"{stratum}.json").is_file()
        },
    )


def software_facts(settings: Settings) -> dict[str, Any]:
    """Give what numbers were made with: versions and seeds."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _SOFTWARE},
        "seed of training": settings.model.training.seed,
        "seed of resampling": settings.evaluation.seed,
    }


def controls_of(store: Store, stratum: str, learned: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what controls of a stratum gave; what models were trained without is left out."""
    place = store.place("cross_validation", f"{stratum}.controls.json")
    shuffled = read_json(place)["shuffled_labels"] if place.is_file() else None
    found = {"shuffled_labels": shuffled, "batch": learned.get("batch")}
    return {name: part for name, part in found.items() if part}


def _attributed(store: Store, stratum: str) -> Attributed:
    values, inputs, samples = (
        read_parquet(store.place("gene_attributions", f"{stratum}{part}.parquet"))
        for part in ("", ".inputs", ".samples")
    )
    facts = read_json(store.place("gene_attributions", f"{stratum}.json"))
    return Attributed(values, inputs, samples, facts)


def _map(
    store: Store,
    settings: Settings,
    stratum: str,
    samples: pd.DataFrame,
    sheets: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    place = store.place("cross_validation", f"{stratum}.representations.parquet")
    points = embed(read_parquet(place), settings.interpretation, settings.interpretation.seed)
    labels = pd.concat([sheet[["gsm", "label"]] for sheet in sheets.values()])
    known = samples[["gsm", "cohort", "case"]].merge(
        labels.drop_duplicates("gsm"), on="gsm", how="left"
    )
    return points.merge(known, on="gsm", how="inner")


def _model_facts(
    settings: Settings, adapters: Mapping[str, dict[str, Any]], backbone: Mapping[str, Any]
) -> dict[str, Any]:
    first = next(iter(adapters.values()))
    normalisation = settings.expression.normalisation
    return {
        "backbone": backbone["name"],
        "hash": backbone["sha256"],
        "licence": backbone["licence"],
        "trainable": first["trainable"],
        "total": first["total"],
        "share": first["share"],
        "tokenizer": settings.tokenizer.kind,
        "normalisation": f"{normalisation.method} (among the genes of the {normalisation.scope})",
        "harmonisation": settings.expression.harmonisation.method,
        "transductive": [VOCABULARY_NOTE],
        "head_layers": settings.model.prefix.head_layers,
        "adapter": settings.model.adapter.said,
        "ensemble": settings.model.training.ensemble,
        "temperature": {stratum: facts.get("temperature") for stratum, facts in adapters.items()},
        "registered": {
            stratum: f"{facts['registered_model']} version {facts['version']}. "
            f"{facts['promotion']['reason']}"
            for stratum, facts in adapters.items()
        },
    }
