"""The study file of a simulated study: the rules by which its own files are read."""

from __future__ import annotations

from typing import Any

import yaml

from genellm_dagster.simulation.cohorts import SimulatedCohort
from genellm_dagster.simulation.options import SimulationOptions
from genellm_dagster.simulation.people import CASE_LABELS, CONTROL_LABEL, OUTSIDE_LABEL

# What the labels of the study are called in a file.
WORDS = {
    "sepsis": "Sepsis",
    "septic_shock": "Septic shock",
    CONTROL_LABEL: "Healthy control",
    OUTSIDE_LABEL: "SIRS",
}
DISCLAIMER = (
    "SIMULATED data: drawn at random by genellm_dagster.simulation; no person was measured and "
    "nothing here says anything about sepsis."
)


def _cohort_rules(cohort: SimulatedCohort) -> dict[str, Any]:
    plan = cohort.plan
    counts = cohort.people["label"].value_counts()
    title = plan.label_in == "title"
    field = "title" if title else "characteristics: disease state"
    rules: dict[str, Any] = {
        "label": [
            {"field": field, "pattern": f"^{word}{',' if title else '$'}", "value": label}
            for label, word in WORDS.items()
            if label in counts.index
        ],
        "subject": {"field": "characteristics: patient id"},
        "sex": {"field": "characteristics: sex"},
    }
    if plan.age_unit != "none":
        field = f"characteristics: age ({plan.age_unit})"
        rules["age"] = {"field": field, "unit": plan.age_unit}
    if plan.repeated:
        rules["timepoint"] = {"field": "characteristics: time point", "baseline": "^0h$"}
    description: dict[str, Any] = {
        "accession": plan.accession,
        "title": f"SIMULATED: {plan.title}",
        "platform": plan.platform,
        "id_type": "symbol" if plan.ids == "symbol" else "probe",
    }
    if plan.age_unit == "none":
        description["default_stratum"] = plan.stratum
    if plan.repeated:
        description["baseline_only"] = True
    description["expected_labels"] = {
        label: int(counts[label]) for label in WORDS if label in counts.index
    }
    description["verified"] = True
    description["sample"] = rules
    description["sources"] = "written by the same program as the series matrix (SIMULATED)"
    return description


def study_yaml(options: SimulationOptions, cohorts: list[SimulatedCohort]) -> str:
    """Return the text of the study file, cohort descriptions inline."""
    strata: dict[str, dict[str, float]] = {}
    oldest = max(truth.max_age for truth in options.strata.values())
    for name, truth in options.strata.items():
        strata[name] = {"min_age": truth.min_age}
        if truth.max_age < oldest:
            strata[name]["max_age"] = truth.max_age
    study = {
        "name": options.name,
        "title": "SIMULATED sepsis against healthy controls in whole blood",
        "search": 'sepsis[All Fields] AND "whole blood"[All Fields]',
        "simulated": True,
        "geo_root": "geo",
        "case": list(CASE_LABELS),
        "control": [CONTROL_LABEL],
        "strata": strata,
        "cohorts": [cohort.plan.accession for cohort in cohorts],
        "cohort_files": {cohort.plan.accession: _cohort_rules(cohort) for cohort in cohorts},
    }
    text: str = yaml.safe_dump(study, sort_keys=False, allow_unicode=True, width=100)
    return f"# {DISCLAIMER}\n{text}"
