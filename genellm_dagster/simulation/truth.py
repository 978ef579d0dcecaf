"""What was planted in a simulated study, and what was done to its files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.simulation.cohorts import SimulatedCohort, active_genes
from genellm_dagster.simulation.genes import SEX_GENES
from genellm_dagster.simulation.options import SimulationOptions


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
                }
                for gene, effect, moves in zip(
                    effects.index, effects, active.to_numpy(), strict=True
                )
            ]
        }
    return {
        "simulated": True,
        "study": options.name,
        "seed": seed,
        "options": options.model_dump(mode="json"),
        "strata": strata,
        "planted_in_all": sorted(set.intersection(*(set(e.index) for e in planted.values()))),
        "sex_genes": list(SEX_GENES),
        "variable_genes": list(genes.index[genes["kind"] == "wide"]),
        "cohorts": {cohort.plan.accession: _cohort_truth(cohort) for cohort in cohorts},
        "same_person": [
            {"gsm_a": copy_of, "gsm_b": gsm, "cohort_b": cohort.plan.accession}
            for cohort in cohorts
            for gsm, copy_of in zip(cohort.people["gsm"], cohort.people["copy_of"], strict=True)
            if copy_of is not None
        ],
    }


def _cohort_truth(cohort: SimulatedCohort) -> dict[str, Any]:
    people = cohort.people
    return {
        "stratum": cohort.plan.stratum,
        "samples": len(people),
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
            }
            for row in people.to_dict("records")
        },
    }
