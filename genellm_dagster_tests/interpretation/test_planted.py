"""Planted genes are found, and so is what strata were planted in common."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from genellm_dagster.baselines.classical import Training
from genellm_dagster.baselines.kinds import classifiers
from genellm_dagster.baselines.options import BaselineOptions
from genellm_dagster.errors import EvaluationError
from genellm_dagster.interpretation.additive import additive_attributions
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.interpretation.planted import planted_overlap, planted_recovery
from genellm_dagster.interpretation.signature import Everyone, by_separation, gene_signature

OPTIONS = InterpretationOptions(bootstraps=20)
GENES = [f"G{number:02d}" for number in range(60)]


def test_precision_counts_planted_genes_among_as_many_as_the_model_was_given() -> None:
    found = planted_recovery(GENES, ["G00", "G01", "G02", "G20", "NOT GIVEN"])
    assert (found["planted"], found["k"], found["found"]) == (5, 4, 3)
    assert found["precision_at_k"] == 0.75
    assert found["expected"] == pytest.approx(4 / 60)
    assert found["p"] == pytest.approx(hypergeom(60, 4, 4).sf(2))
    # Clopper and Pearson for 3 of 4, from their tables.
    assert (found["low"], found["high"]) == pytest.approx((0.1941, 0.9937), abs=1e-4)
    assert found["missed"] == ["G20"]
    assert found["precision_at_10"] is None


def test_a_model_that_was_given_no_planted_gene_has_no_precision_and_a_reason() -> None:
    found = planted_recovery(GENES, ["ELSEWHERE"])
    assert found["precision_at_k"] is None
    assert "none of the planted genes" in found["reason"]


def test_no_signature_is_said() -> None:
    with pytest.raises(EvaluationError, match="no signature"):
        planted_recovery([], ["G00"])


def signature_of(planted: list[str], seed: int) -> pd.DataFrame:
    """The signature of logistic regression on samples in which these genes differ."""
    random = np.random.default_rng(seed)
    n = 240
    case = np.arange(n) % 2
    profiles = pd.DataFrame(
        random.normal(size=(n, len(GENES))),
        index=pd.Index([f"GSM{row}" for row in range(n)], name="gsm"),
        columns=GENES,
    )
    profiles[planted] += np.where(np.arange(len(planted)) % 2, 0.8, -0.8) * case[:, None]
    cohorts = np.array(["GSE1", "GSE2"], dtype=object)[(np.arange(n) // 2) % 2]
    options = BaselineOptions()
    training = Training(profiles.to_numpy(), case, cohorts, profiles.index.to_numpy(dtype=object))
    fitted = classifiers(options)["logistic_regression"].fit(training, options, 1)
    found = additive_attributions(fitted.predict, profiles.iloc[:24], profiles.iloc[24:36])
    everyone = Everyone(profiles, cohorts, case)
    return gene_signature(found.values, profiles.iloc[:24], everyone, OPTIONS, 1)


FIRST, SECOND = GENES[:10], GENES[20:30]


@pytest.mark.parametrize("planted", [FIRST, SECOND])
def test_the_genes_that_were_planted_lead_the_signature(planted: list[str]) -> None:
    found = planted_recovery(by_separation(signature_of(planted, 1)), planted)
    assert found["precision_at_k"] >= 0.8


@pytest.mark.parametrize(
    ("second", "in_common"), [(SECOND, 0), (FIRST, 10)], ids=["nothing", "everything"]
)
@pytest.mark.parametrize("by", ["mean_abs", "separation"])
def test_what_strata_were_planted_in_common_is_recovered(
    second: list[str], in_common: int, by: str
) -> None:
    signatures = {"pediatric": signature_of(FIRST, 1), "adult": signature_of(second, 2)}
    planted = {"pediatric": FIRST, "adult": second}
    (found,) = planted_overlap(signatures, planted, by)
    assert (found["k"], found["genes"]) == (10, 60)
    assert found["planted_in_common"] == in_common
    assert found["recovered"]
    assert (found["overlap"] >= 8) == bool(in_common)


def test_signatures_that_contradict_what_was_planted_do_not_recover_it() -> None:
    signature = signature_of(FIRST, 1)
    (found,) = planted_overlap({"a": signature, "b": signature}, {"a": FIRST, "b": SECOND})
    assert found["planted_in_common"] == 0
    assert found["recovered"] is False


def test_strata_without_a_planted_gene_in_common_vocabularies_have_a_reason() -> None:
    signature = signature_of(FIRST, 1)
    (found,) = planted_overlap({"a": signature, "b": signature}, {"a": FIRST, "b": ["ELSEWHERE"]})
    assert found["recovered"] is None
    assert "no planted gene" in found["reason"]
