"""What evaluation really gives goes into the report as it is: the rooms use the same keys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from genellm_dagster.evaluation.comparison import compare_models
from genellm_dagster.evaluation.folds import make_folds
from genellm_dagster.evaluation.heterogeneity import compare_strata
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.report import evaluate
from genellm_dagster.reports.html import render_report
from genellm_dagster_tests.reports.fixtures import GENES, made_up_content

OVERLAP = pd.DataFrame(columns=["gsm_a", "cohort_a", "gsm_b", "cohort_b", "reason", "similarity"])


def test_reports_of_the_evaluation_room_are_shown_with_every_number() -> None:
    content = made_up_content()
    options = EvaluationOptions(
        bootstraps=100, equal_size_resamples=100, separability_resamples=100, top_genes=5
    )
    rng = np.random.default_rng(1)
    reports, samples, spaces, attributions = {}, {}, {}, {}
    for stratum, frame in content.predictions.items():
        own = frame[frame["model"] == "genellm"].drop_duplicates("gsm")
        samples[stratum] = own[["gsm", "cohort", "subject", "case", "stratum"]].assign(
            age_years=9.0
        )
        folds = make_folds(samples[stratum], OVERLAP, options)
        reports[stratum] = evaluate("made_up", stratum, frame, folds, options)
        spaces[stratum] = pd.DataFrame(rng.normal(size=(len(own), 3)), index=own["gsm"])
        attributions[stratum] = pd.DataFrame(
            rng.normal(size=(len(own), len(GENES))), index=own["gsm"], columns=GENES
        )
    age = compare_strata(
        "made_up", dict(content.predictions), spaces, attributions, samples, options, seed=1
    )
    comparison = compare_models(list(reports.values()))
    html = render_report(
        replace(content, reports=reports, age_comparison=age, comparison=comparison)
    )
    for said in (
        "Within cohorts",
        "P against GeneLLM",
        "Sensitivity at 95 %",
        "AUROC of the cohorts, pooled by random effects",
        "Decision curves, Pediatric",
        "Acting on everyone",
        "Reliability",
        "fixed in advance",
        "AUROC at equal size",
        "Entropy of the scores",
        "Silhouette by label, balanced",
        "Fisher ratio",
        "Pediatric minus adult",
        "Expected by chance",
        "difference in AUROC, pediatric minus adult",
        "pediatric and adult share",
    ):
        assert said in html, said
