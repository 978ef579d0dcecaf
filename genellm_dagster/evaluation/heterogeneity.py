"""The age question: is the disease told as well, as surely, by the same genes in each stratum?

Every section holds a part for each stratum and a list ``differences`` (first minus second) for each
pair of strata, in the order the strata were given. Each part is a file of ``age/``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from genellm_dagster.evaluation.age.along_age import along_age
from genellm_dagster.evaluation.age.association import associations
from genellm_dagster.evaluation.age.discrimination import discrimination
from genellm_dagster.evaluation.age.separation import separation
from genellm_dagster.evaluation.age.signatures import signatures
from genellm_dagster.evaluation.age.transfer import (
    COHORT,
    LEVEL,
    STRATUM,
    TESTED,
    TRAINED,
    transfer_cells,
)
from genellm_dagster.evaluation.age.uncertainty import uncertainty
from genellm_dagster.evaluation.options import EvaluationOptions

ALONG_AGE = ("logistic_regression",)
"""Models that are followed along age beside the reference model."""


def compare_strata(
    study: str,
    predictions: Mapping[str, pd.DataFrame],
    representations: Mapping[str, pd.DataFrame],
    attributions: Mapping[str, pd.DataFrame],
    samples: Mapping[str, pd.DataFrame],
    options: EvaluationOptions,
    seed: int,
    *,
    profiles: Mapping[str, pd.DataFrame] | None = None,
    gene_sets: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    composition: Mapping[str, pd.DataFrame] | None = None,
    markers: Collection[str] = (),
    transfer: pd.DataFrame | None = None,
    transfer_missing: Sequence[Mapping[str, str]] = (),
    transfer_about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare the strata of a study.

    Args:
        study: Name of the study.
        predictions: Stratum to its out-of-fold predictions, of one or more models.
        representations: Stratum to samples x dims (index gsm), the model's own space.
        attributions: Stratum to samples x genes (index gsm), signed attributions.
        samples: Stratum to its samples: gsm, cohort, subject, case, and age_years where recorded.
        options: Settings; ``reference_model`` is the model the headline rests on.
        seed: Seed of every resampling.
        profiles: Stratum to samples x genes; with them the direction of each gene can be told, and
            its association with the disease.
        gene_sets: Collection to set to genes, for enrichment.
        composition: Stratum to the scores of kinds of blood cells (index gsm).
        markers: Genes by which cells are scored.
        transfer: Predictions of models trained elsewhere, as ``workflows.transfer`` gives them.
        transfer_missing: Pairs of which there are none, with reasons.
        transfer_about: What they rest on.

    Returns:
        JSON-safe: study, strata, note, samples, discrimination, uncertainty, separability,
        signatures, transfer (between strata), transfer_between_cohorts, along_age, composition.
    """
    strata = [name for name in samples if len(samples[name])]
    used = [name for name in strata if name in predictions and _both(predictions[name])]
    notes = [
        f"Stratum {name} has no predictions with both classes and is not compared."
        for name in strata
        if name not in used
    ]
    if len(used) < 2:
        only = used[0] if used else "none"
        notes.insert(
            0, f"Only one stratum can be judged ({only}), so there is nothing to compare it with."
        )
    compared = {name: predictions[name] for name in used}
    between = (
        pd.DataFrame(columns=[LEVEL, TRAINED, TESTED, "model"]) if transfer is None else transfer
    )
    return {
        "study": study,
        "strata": strata,
        "compared": used if len(used) >= 2 else [],
        "reference_model": options.reference_model,
        "note": " ".join(notes),
        "samples": {name: _sizes(samples[name]) for name in strata},
        "discrimination": discrimination(compared, options, seed),
        "uncertainty": uncertainty(compared, options, seed),
        "separability": separation(representations, samples, options, seed),
        "signatures": signatures(
            attributions, profiles or {}, samples, gene_sets or {}, options, seed
        ),
        "transfer": transfer_cells(between, STRATUM, transfer_missing, options, compared),
        "transfer_between_cohorts": transfer_cells(between, COHORT, transfer_missing, options),
        "transfer_about": dict(transfer_about or {}),
        "along_age": along_age(
            compared, samples, [options.reference_model, *ALONG_AGE], options, seed
        ),
        "composition": associations(
            {name: table for name, table in (profiles or {}).items() if name in samples},
            samples,
            composition or {},
            markers,
            options,
            seed,
        ),
    }


def _both(table: pd.DataFrame) -> bool:
    return table["case"].nunique() == 2


def _sizes(table: pd.DataFrame) -> dict[str, Any]:
    case = table["case"].astype(int)
    persons = table["cohort"].astype(str) + "|" + table["subject"].astype(str)
    return {
        "n": len(case),
        "cases": int(case.sum()),
        "prevalence": float(case.mean()),
        "persons": int(persons.nunique()),
        "cohorts": sorted(table["cohort"].astype(str).unique().tolist()),
    }
