"""Shares of variance: planted effects are found, absent ones are about zero."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.harmonisation import fit_harmonisation
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    VarianceOptions,
)
from genellm_dagster.expression.variance import (
    RESIDUAL,
    common_genes,
    explained_by_state,
    explained_variance,
    principal_scores,
)
from genellm_dagster_tests.expression.tables import gene_names

GENES, SAMPLES = 40, 120


def profiles_of(cohort: float = 0.0, case: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = factors_of()
    values = rng.normal(size=(SAMPLES, GENES))
    for name, size in (("cohort", cohort), ("case", case)):
        for level in rows[name].unique():
            values[rows[name] == level] += size * rng.normal(size=GENES)
    return pd.DataFrame(values.astype(np.float32), rows.index, gene_names(GENES))


def factors_of() -> pd.DataFrame:
    number = np.arange(SAMPLES)
    cohort = np.array(["GSE1", "GSE2", "GSE3"])[number % 3]
    return pd.DataFrame(
        {
            "cohort": cohort,
            "platform": np.where(cohort == "GSE3", "GPL2", "GPL1"),
            "case": number // 3 % 2,
        },
        index=pd.Index([f"GSM{one}" for one in number], name="gsm"),
    )


def shares(found: pd.DataFrame, column: str = "share") -> pd.Series:
    return found.set_index("factor")[column]


def test_planted_effects_are_found_and_absent_ones_are_about_zero():
    options = VarianceOptions(min_variance=1.0, max_components=200)
    found = shares(explained_variance(profiles_of(cohort=1.0), factors_of(), options).factors)
    # Three levels of unit variance: their sample variance, times 2/3, stands beside noise of one.
    assert 0.3 < found["cohort"] < 0.5
    assert abs(found["case"]) < 0.01
    noise = shares(explained_variance(profiles_of(), factors_of(), options).factors)
    assert noise[["cohort", "platform", "case"]].abs().max() < 0.02


def test_shares_are_those_of_an_analysis_of_variance_of_each_component():
    stats = pytest.importorskip("statsmodels.formula.api")
    profiles, factors = profiles_of(1.0, 0.7), factors_of()
    found = explained_variance(profiles, factors[["cohort", "case"]])
    frame = pd.concat([found.principal.scores, factors], axis=1)
    weights = found.principal.shares / found.principal.shares.sum()

    def adjusted(terms: str) -> float:
        fits = [stats.ols(f"{name} ~ {terms}", frame).fit() for name in weights.index]
        return float(weights @ [one.rsquared_adj for one in fits])

    table = found.factors.set_index("factor")
    assert table.loc["cohort", "share"] == pytest.approx(adjusted("C(cohort)"))
    both = adjusted("C(cohort) + C(case)")
    assert table.loc["case", "share_beyond_others"] == pytest.approx(both - adjusted("C(cohort)"))
    assert table.loc[RESIDUAL, "share_beyond_others"] == pytest.approx(1 - both)


def test_a_platform_explains_nothing_beyond_the_cohorts_that_have_it():
    found = explained_variance(profiles_of(cohort=1.0), factors_of()).factors
    assert shares(found)["platform"] > 0.05
    assert shares(found, "share_beyond_others")["platform"] == pytest.approx(0, abs=1e-9)


def test_harmonisation_takes_the_cohort_out_and_leaves_the_label():
    before, factors = profiles_of(cohort=1.5, case=0.8), factors_of()
    tables = {name: before.loc[rows.index].T for name, rows in factors.groupby("cohort")}
    found = fit_harmonisation(tables, HarmonisationOptions(method="combat"))
    after = pd.concat([found.apply(name, table).T for name, table in tables.items()])
    table = explained_by_state({"before": before, "after": after.loc[before.index]}, factors)
    by = table.set_index(["state", "factor"])["share"]
    assert by["before", "cohort"] > 0.5
    assert abs(by["after", "cohort"]) < 0.05
    assert by["after", "case"] > by["before", "case"]


@settings(max_examples=12, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_samples_and_genes_changes_nothing(random):
    profiles, factors = profiles_of(1.0, 0.5), factors_of()
    samples, genes = list(profiles.index), list(profiles.columns)
    random.shuffle(samples)
    random.shuffle(genes)
    one = explained_variance(profiles, factors).factors
    other = explained_variance(profiles.loc[samples, genes], factors).factors
    pd.testing.assert_frame_equal(one, other)


def test_genes_that_a_sample_lacks_are_left_out_and_counted():
    profiles = profiles_of()
    profiles.iloc[0, 3] = np.nan
    profiles.iloc[:, 5] = np.nan
    found = principal_scores(profiles)
    assert (found.genes, found.genes_left_out) == (GENES - 2, 2)
    assert np.isfinite(found.scores).all(axis=None)


def test_states_are_compared_on_the_genes_they_share():
    before = profiles_of()
    after = before.copy()
    after.iloc[0, 0] = np.nan
    table = explained_by_state({"before": before, "after": after}, factors_of())
    assert set(table["genes"]) == {GENES - 1}
    parts = [part.drop(columns="state") for _, part in table.groupby("state")]
    pd.testing.assert_frame_equal(*(part.reset_index(drop=True) for part in parts))


def test_components_are_enough_for_the_share_and_no_more():
    found = principal_scores(profiles_of(2.0), VarianceOptions(min_variance=0.5))
    assert found.shares.sum() >= 0.5
    assert found.shares.iloc[:-1].sum() < 0.5
    few = principal_scores(profiles_of(), VarianceOptions(max_components=3))
    assert list(few.scores) == ["PC1", "PC2", "PC3"]


def test_a_factor_that_is_unknown_of_a_sample_is_refused():
    factors = factors_of().astype(object)
    factors.iloc[4, 0] = None
    with pytest.raises(ExpressionError, match="cohort is not known of GSM4"):
        explained_variance(profiles_of(), factors)


def test_a_factor_with_a_level_for_each_sample_is_refused():
    factors = factors_of().assign(subject=lambda rows: rows.index)
    with pytest.raises(ExpressionError, match="subject has another level for every sample"):
        explained_variance(profiles_of(), factors)


def test_profiles_without_a_common_gene_are_refused():
    profiles = profiles_of()
    profiles.iloc[0] = np.nan
    with pytest.raises(ExpressionError, match="share 0 genes"):
        principal_scores(profiles)


def test_infinite_values_count_as_missing_in_every_state():
    before, after = profiles_of(), profiles_of(seed=1)
    after.iloc[0, 0] = np.inf
    table = explained_by_state({"before": before, "after": after}, factors_of())
    assert set(table["genes"]) == {GENES - 1}
    assert common_genes({"before": before, "after": after}) == list(before.columns[1:])


def test_a_gene_that_stands_twice_is_refused():
    twice = pd.concat([profiles_of(), profiles_of().iloc[:, :1]], axis=1)
    with pytest.raises(ExpressionError, match=r"before holds the gene \S+ twice"):
        explained_by_state({"before": twice}, factors_of())
