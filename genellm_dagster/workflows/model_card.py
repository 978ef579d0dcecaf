"""The card of a registered adapter, from what is known when it is registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from genellm_dagster.evaluation.folds import Folds
from genellm_dagster.evaluation.report import evaluate
from genellm_dagster.genellm.adapter import AdapterCard, load_adapter
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.model_card import ModelCard, write_model_card
from genellm_dagster.settings import Settings
from genellm_dagster.store import Store
from genellm_dagster.studies.study import Study
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.profiles import marks_of_models
from genellm_dagster.workflows.report_content import (
    VOCABULARY_NOTE,
    controls_of,
    software_facts,
)
from genellm_dagster.workflows.stratum import StratumSamples

_ARTIFACT_FOLDER = "model_card"


def tracked_card(
    tracker: Tracker,
    study: Study,
    stratum: str,
    facts: Mapping[str, Any],
    backbone: Mapping[str, Any],
    sheets: Mapping[str, pd.DataFrame],
    data: StratumSamples,
    folds: Folds,
    marks: Sequence[str],
    cross_validation: pd.DataFrame,
    settings: Settings,
    store: Store,
) -> Path:
    """Write the card of an adapter beside it, and keep a copy with the run that trained it.

    Args:
        tracker: MLflow.
        study: The study.
        stratum: The stratum.
        facts: On the adapter, as ``tracked_adapter`` gives them.
        backbone: The prepared backbone: ``name, sha256, licence, source, pretrained``.
        sheets: Cohort to its sample sheet.
        data: The stratum's samples.
        folds: Those of the cross-validation.
        marks: What the results must be marked with.
        cross_validation: Out-of-fold predictions of GeneLLM and its controls.
        settings: All settings.
        store: Of the study.

    Returns:
        The HTML file.

    Raises:
        EvaluationError: When the predictions cannot be judged.
        StoreError: When MLflow cannot be reached.
    """
    card = load_adapter(store.place("adapter", stratum)).card
    report = evaluate(
        study.name,
        stratum,
        cross_validation,
        folds,
        settings.evaluation,
        # Every model of the cross-validation reads profiles, none of them expression tables.
        transductive=marks_of_models(cross_validation["model"].unique(), (), list(marks), []),
    )
    content = ReportContent(
        study=study,
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        software=software_facts(settings),
        sheets=sheets,
        left_out=[asdict(entry) for entry in data.left_out],
        qc={},
        reports={stratum: report},
        predictions={stratum: cross_validation},
        embeddings={},
        signatures={},
        age_comparison={},
        comparison=pd.DataFrame(),
        model={"transductive": [VOCABULARY_NOTE]},
        simulated=study.simulated,
        marks={stratum: list(marks)},
        controls={stratum: controls_of(store, stratum, {})},
    )
    path = store.place("adapter", f"{stratum}.card.html")
    write_model_card(
        ModelCard(content, stratum, facts, backbone, _recipe(card)), path, settings.report
    )
    tracker.attach(str(facts["run_id"])).artifact(
        path, f"{_ARTIFACT_FOLDER}/version-{facts['version']}"
    )
    return path


def _recipe(card: AdapterCard) -> dict[str, Any]:
    """Say how a sample becomes input and what of the adapter is trained, as it is kept with it."""
    profiles = card.profiles
    normalisation = profiles.normalisation
    return {
        "genes": len(card.tokenizer["genes"]),
        "normalisation": f"{normalisation['method']} (among the genes of the "
        f"{normalisation['scope']})",
        "learned by the normalisation": "nothing"
        if profiles.learned is None
        else "yes, kept with it",
        "harmonisation": "none"
        if profiles.harmonisation is None
        else f"{profiles.harmonisation['options']['method']}, what it learned is kept with it",
        "tokenizer": card.tokenizer["kind"],
        "head layers": card.head_layers,
        "number type of the states": card.numbers,
        "adapter": card.options.said,
        "temperature": card.temperature,
    }
