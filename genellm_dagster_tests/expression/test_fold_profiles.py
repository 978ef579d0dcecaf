"""Profiles of a fold: nothing of the test side is learned; a new cohort joins as it did there."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.fold_profiles import profiles_of_fold, profiles_of_new_cohort
from genellm_dagster.expression.harmonisation import harmonisation_from_json
from genellm_dagster.expression.learned_normalisation import normalisation_from_json
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
)
from genellm_dagster_tests.expression.tables import factor_table

NORMALISATIONS = ["rank_normal", "within_sample_z", "quantile", "reference_quantiles", "gene_z"]
HARMONISATIONS = ["none", "combat", "coconut"]


def tables() -> dict[str, pd.DataFrame]:
    return {
        f"GSE{n}": n + (1 + n / 10) * factor_table(70, 12, n, first_gsm=1000 * n) for n in (1, 2, 3)
    }


def sides(found: dict[str, pd.DataFrame]) -> tuple[list[str], list[str], list[str]]:
    train = [*found["GSE1"].columns, *found["GSE2"].columns]
    controls = [gsm for table in found.values() for gsm in table.columns[:6]]
    return train, list(found["GSE3"].columns), controls


@pytest.mark.parametrize("harmonisation", HARMONISATIONS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_training_profiles_do_not_depend_on_the_test_side(normalisation, harmonisation):
    found = tables()
    genes = list(found["GSE1"].index[10:50])
    train, test, controls = sides(found)
    how = {
        "normalisation": NormalisationOptions(method=normalisation),
        "harmonisation": HarmonisationOptions(method=harmonisation),
        "controls": controls,
    }
    fold = profiles_of_fold(found, genes, train, test, **how)
    assert fold.profiles.index.tolist() == [*train, *test]
    assert fold.profiles.columns.tolist() == genes
    found["GSE3"] = 30 - found["GSE3"]
    other = profiles_of_fold(found, genes, train, test, **how)
    pd.testing.assert_frame_equal(
        other.profiles.loc[train], fold.profiles.loc[train], check_exact=True
    )
    alone = profiles_of_fold(found, genes, train, **how)
    pd.testing.assert_frame_equal(alone.profiles, fold.profiles.loc[train], check_exact=True)
    assert alone.marks == []


@pytest.mark.parametrize("harmonisation", HARMONISATIONS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_a_new_cohort_joins_from_what_was_kept_as_it_joined_the_fold(normalisation, harmonisation):
    found = tables()
    genes = list(found["GSE1"].index[10:50])
    train, test, controls = sides(found)
    how = {
        "normalisation": NormalisationOptions(method=normalisation),
        "harmonisation": HarmonisationOptions(method=harmonisation),
        "controls": controls,
    }
    fold = profiles_of_fold(found, genes, train, test, **how)
    final = profiles_of_fold(found, genes, train, **how)
    kept = final.learned and final.learned.as_json()
    learned = normalisation_from_json(json.loads(json.dumps(kept)))
    moved = harmonisation_from_json(json.loads(json.dumps(final.harmonisation.as_json())))
    joined = profiles_of_new_cohort(
        "GSE3", found["GSE3"], genes, how["normalisation"], learned, moved, controls
    )
    pd.testing.assert_frame_equal(joined.profiles, fold.profiles.loc[test], atol=1e-6)
    assert joined.marks == fold.marks


@pytest.mark.parametrize("method", ["combat", "coconut"])
def test_a_cohort_of_training_is_moved_as_it_was_there_and_without_a_mark(method):
    found = tables()
    genes = list(found["GSE1"].index[10:50])
    everyone = [gsm for table in found.values() for gsm in table.columns]
    _, _, controls = sides(found)
    options = HarmonisationOptions(method=method)
    final = profiles_of_fold(found, genes, everyone, harmonisation=options, controls=controls)
    again = profiles_of_new_cohort(
        "GSE2", found["GSE2"], genes, NormalisationOptions(), None, final.harmonisation
    )
    pd.testing.assert_frame_equal(
        again.profiles, final.profiles.loc[found["GSE2"].columns], check_names=False
    )
    assert again.marks == []


def test_coconut_refuses_a_new_cohort_without_controls():
    found = tables()
    genes = list(found["GSE1"].index[10:50])
    train, _, controls = sides(found)
    options = HarmonisationOptions(method="coconut")
    final = profiles_of_fold(found, genes, train, harmonisation=options, controls=controls)
    with pytest.raises(ExpressionError, match="GSE3 has 0 controls"):
        profiles_of_new_cohort(
            "GSE3", found["GSE3"], genes, NormalisationOptions(), None, final.harmonisation
        )


def test_marks_say_what_used_the_test_cohort():
    found = tables()
    genes = list(found["GSE1"].index[10:50])
    train, test, controls = sides(found)

    def marks(normalisation: str, harmonisation: str) -> str:
        fold = profiles_of_fold(
            found,
            genes,
            train,
            test,
            normalisation=NormalisationOptions(method=normalisation),
            harmonisation=HarmonisationOptions(method=harmonisation),
            controls=controls,
        )
        return "; ".join(fold.marks)

    for single in ("rank_normal", "within_sample_z", "reference_quantiles", "gene_z"):
        assert marks(single, "none") == ""
    assert marks("quantile", "none") == "quantile normalisation"
    assert "own samples (GSE3)" in marks("rank_normal", "combat")
    assert "USES TEST LABELS (GSE3)" in marks("rank_normal", "coconut")


def test_a_gene_that_a_cohort_lacks_stays_absent():
    found = tables()
    genes = list(found["GSE1"].index[10:50])
    found["GSE2"] = found["GSE2"].drop(index=genes[3])
    train, test, _ = sides(found)
    combat = HarmonisationOptions(method="combat")
    profiles = profiles_of_fold(found, genes, train, test, harmonisation=combat).profiles
    absent = profiles.isna()
    assert absent.loc[found["GSE2"].columns, genes[3]].all()
    assert absent.to_numpy().sum() == found["GSE2"].shape[1]
    assert np.isfinite(profiles.drop(columns=genes[3])).all(axis=None)
