"""What was planted in a simulated study, and what was done to its files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.simulation.cohorts import (
    SimulatedCohort,
    active_genes,
    composition_shift_of,
)
from genellm_dagster.simulation.genes import SEX_GENES
from genellm_dagster.simulation.options import SimulationOptions, StratumTruth
from genellm_dagster.simulation.people import CASE_LABELS, CONTROL_LABEL


def planted_truth(
    options: SimulationOptions,
    planted: dict[str, pd.Series],
    genes: pd.DataFrame,
    cohorts: list[SimulatedCohort],
    seed: int,
) -> dict[str, Any]:
    """Return everything a test of a model may want to know, JSON-safe."""
    strata: dict[str, Any] = {}
    for name, effects in planted.items():
        active = active_genes(options, name, effects, seed)
        strata[name] = {
            "planted": [
                {
                    "gene": gene,
                    "effect_log2": round(float(effect), 6),
                    "endotypes": [int(at) for at in np.flatnonzero(moves)],
                    **_expected(options, options.strata[name], genes.loc[gene], effect, moves),
                }
                for gene, effect, moves in zip(
                    effects.index, effects, active.to_numpy(), strict=True
                )
            ]
        }
    reversed_genes = _reversed(planted)
    return {
        "simulated": True,
        "study": options.name,
        "seed": seed,
        "options": options.model_dump(mode="json"),
        "strata": strata,
        "planted_in_all": sorted(set.intersection(*(set(e.index) for e in planted.values()))),
        "planted_in_opposite_directions": reversed_genes,
        "sex_genes": list(SEX_GENES),
        "age_genes": {
            str(gene): float(slope) for gene, slope in genes["age_slope"].items() if slope
        },
        "variable_genes": list(genes.index[genes["kind"] == "wide"]),
        "cohorts": {cohort.plan.accession: _cohort_truth(options, cohort) for cohort in cohorts},
        "same_person": [
            {"gsm_a": copy_of, "gsm_b": gsm, "cohort_b": cohort.plan.accession}
            for cohort in cohorts
            for gsm, copy_of in zip(cohort.people["gsm"], cohort.people["copy_of"], strict=True)
            if copy_of is not None
        ],
    }


def _reversed(planted: dict[str, pd.Series]) -> list[str]:
    """Genes that rise in one stratum and fall in another."""
    table = pd.DataFrame({name: np.sign(effects) for name, effects in planted.items()})
    return sorted(table.index[(table.max(axis=1) > 0) & (table.min(axis=1) < 0)])


def _expected(
    options: SimulationOptions,
    stratum: StratumTruth,
    gene: pd.Series,
    effect: float,
    moves: np.ndarray,
) -> dict[str, float]:
    """What the files should show of one planted gene, at an effect_scale of 1.

    With M moved or not (share p of the kinds of patients) and activity A of mean m and spread s,
    M A has the mean p m and the variance p (s^2 + m^2) - p^2 m^2. Differences between cases and
    controls in log2 units; Cohen's d over the root mean variance of the two classes. Brightness of
    arrays, gain and batches are left out: normalisation has to see to them.
    """
    share = float(np.mean(moves))
    means = (stratum.case_activity, stratum.control_activity)
    spreads = (stratum.case_activity_sd, stratum.control_activity_sd)
    own = effect * share * (means[0] - means[1])
    spread_of_moves = np.mean(
        [share * (s**2 + m**2) - share**2 * m**2 for m, s in zip(means, spreads, strict=True)]
    )
    variance = gene["sd"] ** 2 + options.noise_sd**2 + effect**2 * spread_of_moves
    cells = gene["loading: neutrophil"] - gene["loading: lymphocyte"]
    by_cells = gene["sd"] * np.sqrt(gene["communality"]) * cells * options.composition_shift
    return {
        "difference_log2": round(float(own), 6),
        "cohens_d": round(float(own / np.sqrt(variance)), 6),
        "difference_by_cells_log2": round(float(by_cells * (means[0] - means[1])), 6),
    }


def _cohort_truth(options: SimulationOptions, cohort: SimulatedCohort) -> dict[str, Any]:
    people, plan = cohort.people, cohort.plan
    written = people.loc[people["label"].isin([*CASE_LABELS, CONTROL_LABEL])]
    cases = int(written["label"].isin(CASE_LABELS).sum())
    return {
        "stratum": plan.stratum,
        "samples": len(people),
        "written_cases": cases,
        "written_controls": len(written) - cases,
        "prevalence": round(cases / len(written), 6) if len(written) else None,
        "effect_scale": plan.effect_scale,
        "composition_shift": composition_shift_of(options, plan),
        "absent_genes": cohort.absent,
        "poor_arrays": list(people.loc[people["poor"], "gsm"]),
        "outside": list(people.loc[people["kind"] == "outside", "gsm"]),
        "unlabelled": list(people.loc[people["label"].isna(), "gsm"]),
        "age_not_recorded": list(people.loc[~people["age_recorded"], "gsm"]),
        "mislabelled": list(people.loc[people["mislabelled"], "gsm"]),
        "later_time_points": list(people.loc[people["follows"].notna(), "gsm"]),
        "people": {
            str(row["gsm"]): {
                "subject": row["subject"],
                "case": row["kind"] == "case",
                "age_years": float(row["age_years"]),
                "sex": row["sex"],
                "activity": round(float(row["activity"]), 4),
                "endotype": int(row["endotype"]),
                "batch": int(row["batch"]),
                "cells": {
                    str(cell): round(float(share), 4)
                    for cell, share in cohort.cells[row["gsm"]].items()
                },
            }
            for row in people.to_dict("records")
        },
    }
