"""Who is in a simulated series: labels, ages, sexes, time points, and how ill each one is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.simulation.options import CohortPlan, SimulationOptions
from genellm_dagster.simulation.randomness import generator

CASE_LABELS = ("sepsis", "septic_shock")
CONTROL_LABEL = "healthy"
OUTSIDE_LABEL = "noninfectious_inflammation"

# GSM numbers far above those that GEO gives out; a thousand for each series.
_FIRST_SAMPLE, _SAMPLES_A_SERIES = 990_000_000, 1000
# How much of the disease activity is left after a day and after three.
_LATER_TIMES = (("24h", 0.7), ("72h", 0.4))
# The more ill part of the cases is called septic shock.
_SHOCK_QUANTILE = 0.6
# People with another inflammation have part of the signs of the disease.
_OUTSIDE_ACTIVITY = 0.5
# Ages of children: a beta distribution over their range; of adults: mean and spread, years.
_YOUNG, _OLD = (0.9, 1.6), (60.0, 16.0)


def _scaled(count: int, share: float, least: int) -> int:
    return 0 if count == 0 else max(least, round(count * share))


def _ages(random: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    """Ages in years: children mostly small, adults mostly old, as in intensive care."""
    if high <= 18:
        return low + (high - low) * random.beta(*_YOUNG, count)
    return np.clip(random.normal(*_OLD, count), low, min(high, 95.0) - 0.1)


def middle_age(low: float, high: float) -> float:
    """Return the mean of the ages that are drawn between these bounds, in years."""
    if high <= 18:
        return low + (high - low) * _YOUNG[0] / sum(_YOUNG)
    return float(np.clip(_OLD[0], low, min(high, 95.0)))


def draw_people(
    options: SimulationOptions, plan: CohortPlan, number: int, donors: pd.DataFrame, seed: int
) -> pd.DataFrame:
    """Draw the samples of one series, in the order of its file.

    Args:
        options: The study.
        plan: The series.
        number: Its place among the series, from 0; it sets the GSM numbers.
        donors: Samples (of this function) of arrays that may be used here again; may be empty.
        seed: The seed of the study.

    Returns:
        One row a sample: ``gsm``, ``subject``, ``kind`` (case, control, outside), ``label`` (as
        written, None without one), ``mislabelled``, ``age_years``, ``age_recorded``, ``sex``,
        ``timepoint``, ``activity``, ``endotype``, ``poor``, ``copy_of`` (gsm of the same person in
        an earlier series, or None), ``follows`` (gsm of the same person's first sample, or None),
        ``batch`` (from 1).

    Raises:
        ExpressionError: When the series would hold more samples than it has numbers for.
    """
    random = generator(seed, "people", plan.accession)
    share, truth = options.sample_share, options.strata[plan.stratum]
    cases, controls = _scaled(plan.cases, share, 4), _scaled(plan.controls, share, 4)
    outside, unlabelled = _scaled(plan.outside, share, 1), _scaled(plan.unlabelled, share, 1)
    kinds = np.array(
        ["case"] * cases
        + ["control"] * controls
        + ["outside"] * outside
        + ["unlabelled"] * unlabelled
    )
    random.shuffle(kinds)
    count = len(kinds)
    labelled = kinds != "unlabelled"
    kinds = np.where(labelled, kinds, random.choice(["case", "control"], count))
    activity = np.where(
        kinds == "control",
        random.normal(truth.control_activity, truth.control_activity_sd, count),
        random.normal(truth.case_activity, truth.case_activity_sd, count)
        * np.where(kinds == "outside", _OUTSIDE_ACTIVITY, 1.0),
    )
    people = pd.DataFrame({"kind": kinds, "activity": activity})
    people["labelled"] = labelled
    people["age_years"] = np.round(_ages(random, truth.min_age, truth.max_age, count), 2)
    if truth.age_slope:
        decades = (people["age_years"] - middle_age(truth.min_age, truth.max_age)) / 10
        people["activity"] += truth.age_slope * decades.where(kinds == "case", 0.0)
    people["sex"] = random.choice(["female", "male"], count)
    people["endotype"] = random.integers(0, truth.endotypes, count)
    people["copy_of"] = None
    copies = _scaled(plan.duplicates, share, 1)
    if copies and len(donors):
        chosen = donors.iloc[np.sort(random.permutation(len(donors))[:copies])]
        columns = ["kind", "activity", "age_years", "sex", "endotype"]
        again = chosen[columns].assign(labelled=True, copy_of=chosen["gsm"])
        people = pd.concat([people, again], ignore_index=True)
    people["subject"] = [f"D{number + 1:02d}-{at + 1:03d}" for at in range(len(people))]
    people["timepoint"], people["follows"] = "0h", None
    first = _FIRST_SAMPLE + number * _SAMPLES_A_SERIES
    people["gsm"] = [f"GSM{first + at + 1}" for at in range(len(people))]

    ill = people.index[(people["kind"] == "case") & people["labelled"]].to_numpy()
    later: list[pd.DataFrame] = []
    again_counts = (_scaled(plan.repeated, share, 1), _scaled(plan.repeated_twice, share, 1))
    for (time, left), repeated in zip(_LATER_TIMES, again_counts, strict=True):
        rows = people.loc[ill[:repeated]]
        noise = random.normal(0, 0.1, len(rows))
        later.append(
            rows.assign(
                timepoint=time, activity=rows["activity"] * left + noise, follows=rows["gsm"]
            )
        )
    people = pd.concat([people, *later], ignore_index=True)
    if len(people) > _SAMPLES_A_SERIES:
        raise ExpressionError(
            f"the series {plan.accession} would hold {len(people)} samples and a simulated series "
            f"holds at most {_SAMPLES_A_SERIES}; make it smaller, or sample_share."
        )
    people["gsm"] = [f"GSM{first + at + 1}" for at in range(len(people))]

    wrong = options.mislabelled_share if plan.mislabelled_share is None else plan.mislabelled_share
    _write_labels(people, truth.case_activity, wrong, random)
    in_study = people.index[people["label"].isin([*CASE_LABELS, CONTROL_LABEL])].to_numpy()
    alone = random.permutation(
        [
            at
            for at in in_study
            if people.at[at, "copy_of"] is None and people.at[at, "follows"] is None
        ]
    )
    hidden, poor = _scaled(plan.missing_ages, share, 1), _scaled(plan.poor_arrays, share, 1)
    people["age_recorded"] = plan.age_unit != "none"
    people.loc[people["subject"].isin(people.loc[alone[:hidden], "subject"]), "age_recorded"] = (
        False
    )
    people["poor"] = False
    people.loc[alone[hidden : hidden + poor], "poor"] = True
    people["batch"] = _batches(plan, (people["kind"] == "case").to_numpy(), seed)
    return people.drop(columns="labelled")


def _batches(plan: CohortPlan, case: np.ndarray, seed: int) -> np.ndarray:
    """Batch of each array, from 1: at random, or cases first and controls last."""
    random = generator(seed, "batches", plan.accession)
    count, half = len(case), (plan.batches + 1) // 2
    anywhere = random.integers(0, plan.batches, count)
    if plan.batches == 1:
        return anywhere + 1
    first, last = random.integers(0, half, count), random.integers(half, plan.batches, count)
    follows = random.random(count) < plan.batch_follows_label
    return np.where(follows, np.where(case, first, last), anywhere) + 1


def _write_labels(
    people: pd.DataFrame, middle: float, mislabelled: float, random: np.random.Generator
) -> None:
    """Add ``label`` and ``mislabelled``: one decision a person, also at later time points."""
    first = people.drop_duplicates("subject")
    wrong = random.random(len(first)) < mislabelled
    swap = {"case": "control", "control": "case", "outside": "outside"}
    written = [swap[k] if w else k for k, w in zip(first["kind"], wrong, strict=True)]
    of_cases = first.loc[first["kind"] == "case", "activity"]
    # A series of controls alone has nobody in shock.
    shock = first["activity"] > (
        np.quantile(of_cases, _SHOCK_QUANTILE) if len(of_cases) else np.inf
    )
    labels: dict[str, Any] = {}
    for subject, kind, ill, known in zip(
        first["subject"], written, shock, first["labelled"], strict=True
    ):
        name = {"case": CASE_LABELS[int(ill)], "control": CONTROL_LABEL, "outside": OUTSIDE_LABEL}
        labels[subject] = name[kind] if known else None
    people["label"] = people["subject"].map(labels).astype(object)
    people["label"] = people["label"].where(people["label"].notna(), None)
    is_wrong = dict(zip(first["subject"], wrong & (first["kind"] != "outside"), strict=True))
    people["mislabelled"] = people["subject"].map(is_wrong)
