"""The standard demo is neither trivial nor hopeless, and adults are harder than children."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from genellm_dagster.simulation.options import SimulationOptions
from genellm_dagster_tests.simulation.test_planted_truth_is_in_the_values import _cohorts

GENES_OF_THE_MODEL = 128


def _auroc_on_unseen_cohorts(options: SimulationOptions, stratum: str, seed: int) -> float:
    tables, cases = [], []
    for cohort in _cohorts(options, seed):
        people = cohort.people
        used = people["label"].isin(["healthy", "sepsis", "septic_shock"]) & ~people["poor"]
        used &= people["timepoint"] == "0h"
        if cohort.plan.stratum == stratum:
            tables.append(cohort.values[people.loc[used, "gsm"]])
            cases.append((people.loc[used, "label"] != "healthy").to_numpy())
    common = sorted(set.intersection(*(set(table.index) for table in tables)))
    spread = np.mean([table.loc[common].std(axis=1) for table in tables], axis=0)
    genes = [common[at] for at in np.argsort(-spread)[:GENES_OF_THE_MODEL]]
    filled = [table.loc[genes].T.fillna(table.loc[genes].median(axis=1)) for table in tables]
    ranks = [rankdata(table, axis=1) for table in filled]
    profiles = [norm.ppf((rank - 0.5) / len(genes)) for rank in ranks]
    scores = []
    for at in range(len(profiles)):
        rest = [other for other in range(len(profiles)) if other != at]
        model = LogisticRegression(C=0.1, max_iter=2000)
        model.fit(np.vstack([profiles[i] for i in rest]), np.concatenate([cases[i] for i in rest]))
        scores.append(model.predict_proba(profiles[at])[:, 1])
    return float(roc_auc_score(np.concatenate(cases), np.concatenate(scores)))


@pytest.mark.parametrize("seed", [0, 1])
def test_logistic_regression_reaches_what_is_realistic(seed: int) -> None:
    options = SimulationOptions()
    pediatric = _auroc_on_unseen_cohorts(options, "pediatric", seed)
    adult = _auroc_on_unseen_cohorts(options, "adult", seed)
    assert 0.94 < pediatric < 0.995
    assert 0.80 < adult < 0.93
    assert adult < pediatric - 0.03


def test_nothing_is_found_when_nothing_is_planted() -> None:
    standard = SimulationOptions()
    strata = {
        name: truth.model_copy(update={"effect": 0.0}) for name, truth in standard.strata.items()
    }
    options = standard.model_copy(update={"strata": strata, "genes": 500})
    assert 0.35 < _auroc_on_unseen_cohorts(options, "pediatric", 0) < 0.65
