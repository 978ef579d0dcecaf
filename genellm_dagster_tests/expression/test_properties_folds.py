"""What is learned in a fold is learned from its training side, and what is not marked is alone."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.expression.fold_profiles import FoldProfiles, profiles_of_fold
from genellm_dagster.expression.harmonisation import fit_harmonisation
from genellm_dagster.expression.learned_normalisation import fit_normalisation
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
)
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tokenizers.value import ValueTokenizer
from genellm_dagster_tests.expression.steps import (
    HARMONISATIONS,
    NORMALISATIONS,
    VOCABULARY,
    Tables,
    strange,
)
from genellm_dagster_tests.expression.tables import factor_table

ordinary = settings(max_examples=6, deadline=None)
every_way = pytest.mark.parametrize(
    ("normalisation", "harmonisation"),
    [(one, other) for one in NORMALISATIONS for other in HARMONISATIONS],
)


@dataclass(frozen=True)
class Sides:
    """A fold: whole cohorts held out, or samples of each cohort."""

    tables: Tables
    train: list[str]
    test: list[str]
    controls: list[str]

    @property
    def inside_cohorts(self) -> bool:
        """Whether cohorts lie on both sides."""
        return all(set(table.columns) & set(self.train) for table in self.tables.values())


COHORTS = {
    f"GSE{n}": n + (1 + n / 10) * factor_table(12, 9, n, first_gsm=1000 * n) for n in (1, 2, 3)
}


@st.composite
def folds(draw: st.DrawFn) -> Sides:
    tables = {name: table.copy() for name, table in COHORTS.items()}
    # A gene that a cohort lacks, and a value that a sample lacks, on either side.
    lacking = draw(st.sampled_from(list(tables)))
    tables[lacking] = tables[lacking].drop(index=VOCABULARY[3])
    tables[draw(st.sampled_from(list(tables)))].iloc[0, draw(st.integers(0, 8))] = np.nan
    everyone = [gsm for table in tables.values() for gsm in table.columns]
    if draw(st.booleans()):
        test = list(tables[draw(st.sampled_from(list(tables)))].columns)
    else:
        test = [gsm for table in tables.values() for gsm in table.columns[-3:]]
    train = [gsm for gsm in everyone if gsm not in test]
    return Sides(tables, train, test, everyone[::2])


def with_values(sides: Sides, chosen: list[str], values: list[float]) -> Tables:
    """The tables with these values anywhere in some samples; the first gene keeps a number."""
    tables = {name: table.copy() for name, table in sides.tables.items()}
    for number, gsm in enumerate(chosen):
        table = next(one for one in tables.values() if gsm in one)
        there = np.random.default_rng([number, len(values)]).integers(len(values), size=len(table))
        table[gsm] = np.array(values, dtype=np.float32)[there]
        if np.isnan(table.loc[VOCABULARY[0], gsm]):
            table.loc[VOCABULARY[0], gsm] = np.float32(3)
    return tables


other_values = st.lists(
    st.one_of(strange, strange, st.just(np.nan)), min_size=2, max_size=10, unique_by=repr
)


def made(
    sides: Sides, tables: Tables, normalisation: str, harmonisation: str, **changes: list[str]
) -> FoldProfiles:
    how = {"train": sides.train, "test": sides.test, "controls": sides.controls, **changes}
    return profiles_of_fold(
        tables,
        VOCABULARY,
        how["train"],
        how["test"],
        normalisation=NormalisationOptions(method=normalisation, reference_size=31),
        harmonisation=HarmonisationOptions(method=harmonisation, min_controls=2),
        controls=how["controls"],
    )


def learned(fold: FoldProfiles) -> str:
    """What training taught, to the last digit; not where test cohorts were put."""
    moved = fold.harmonisation.as_json()
    moved["shifts"] = {name: moved["shifts"].get(name) for name in moved["trained_on"]}
    return json.dumps([fold.learned and fold.learned.as_json(), moved])


def identical(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


@every_way
@ordinary
@given(sides=folds(), values=other_values)
def test_whatever_the_test_values_are_the_training_side_is_the_same_to_the_last_bit(
    normalisation, harmonisation, sides, values
):
    before = made(sides, sides.tables, normalisation, harmonisation)
    changed = with_values(sides, sides.test, values)
    after = made(sides, changed, normalisation, harmonisation)
    assert after.marks == before.marks
    if normalisation == "quantile" and sides.inside_cohorts:
        # A cohort's test samples shape its training samples too, and the mark says so.
        assert "quantile normalisation" in before.marks
        return
    assert learned(after) == learned(before)
    identical(after.profiles.loc[sides.train], before.profiles.loc[sides.train])


@every_way
@ordinary
@given(sides=folds(), values=other_values, place=st.integers(0, 8))
def test_without_a_mark_no_test_sample_is_read_for_another(
    normalisation, harmonisation, sides, values, place
):
    fold = made(sides, sides.tables, normalisation, harmonisation)
    if not fold.marks:
        one = sides.test[place]
        alone = made(sides, sides.tables, normalisation, harmonisation, test=[one])
        identical(alone.profiles.loc[[one]], fold.profiles.loc[[one]])
        changed = with_values(sides, [gsm for gsm in sides.test if gsm != one], values)
        among = made(sides, changed, normalisation, harmonisation)
        identical(among.profiles.loc[[one]], fold.profiles.loc[[one]])
    reads = normalisation == "quantile" or (harmonisation != "none" and not sides.inside_cohorts)
    assert bool(fold.marks) == reads


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@ordinary
@given(sides=folds(), data=st.data())
def test_who_is_a_control_is_read_by_coconut_alone(normalisation, sides, data):
    everyone = [*sides.train, *sides.test]
    other = data.draw(st.lists(st.sampled_from(everyone), unique=True))
    for harmonisation in ("none", "combat"):
        identical(
            made(sides, sides.tables, normalisation, harmonisation, controls=other).profiles,
            made(sides, sides.tables, normalisation, harmonisation).profiles,
        )
    # Of COCONUT, the controls of the test side never reach the training side.
    of_training = [gsm for gsm in sides.controls if gsm in sides.train]
    swapped = [*of_training, *[gsm for gsm in sides.test if gsm not in sides.controls]]
    before, after = (
        made(sides, sides.tables, normalisation, "coconut", controls=controls)
        for controls in (sides.controls, swapped)
    )
    identical(after.profiles.loc[sides.train], before.profiles.loc[sides.train])
    assert learned(after) == learned(before)


@every_way
@ordinary
@given(sides=folds(), random=st.randoms(use_true_random=False))
def test_the_order_of_cohorts_genes_and_samples_teaches_nothing(
    normalisation, harmonisation, sides, random
):
    def mixed(values) -> list[str]:
        return random.sample(list(values), len(values))

    expected = made(sides, sides.tables, normalisation, harmonisation)
    tables = {
        name: sides.tables[name].loc[
            mixed(sides.tables[name].index), mixed(sides.tables[name].columns)
        ]
        for name in mixed(sides.tables)
    }
    train, test = mixed(sides.train), mixed(sides.test)
    found = made(sides, tables, normalisation, harmonisation, train=train, test=test)
    assert found.profiles.index.tolist() == [*train, *test]
    assert found.marks == expected.marks
    pd.testing.assert_frame_equal(
        found.profiles.loc[expected.profiles.index], expected.profiles, rtol=1e-4, atol=1e-4
    )


@every_way
@ordinary
@given(sides=folds(), data=st.data())
def test_an_absent_gene_is_absent_from_profile_and_tokens_and_nothing_else_is(
    normalisation, harmonisation, sides, data
):
    tables = {name: table.copy() for name, table in sides.tables.items()}
    for table in tables.values():
        holes = data.draw(st.lists(st.sampled_from(VOCABULARY[4:]), max_size=2, unique=True))
        table.loc[table.index.isin(holes), data.draw(st.sampled_from(list(table.columns)))] = np.nan
    profiles = made(sides, tables, normalisation, harmonisation).profiles
    there = pd.concat([table.T for table in tables.values()]).reindex(columns=VOCABULARY)
    pd.testing.assert_frame_equal(
        profiles.notna(), there.loc[profiles.index].notna(), check_names=False
    )
    tokens = ValueTokenizer(VOCABULARY, TokenizerOptions()).transform(profiles)
    for gsm, genes in zip(tokens["gsm"], tokens["genes"], strict=True):
        found = [VOCABULARY[gene] for gene in genes]
        assert found == profiles.columns[profiles.loc[gsm].notna()].tolist()


@ordinary
@given(sides=folds(), values=other_values)
def test_a_cohort_that_lacks_a_gene_teaches_nothing_of_it(sides, values):
    lacking = next(name for name, one in sides.tables.items() if VOCABULARY[3] not in one.index)
    others = {name: table for name, table in sides.tables.items() if name != lacking}
    empty = with_values(sides, list(sides.tables[lacking].columns), values)
    empty[lacking].loc[VOCABULARY[3]] = np.float32(np.nan)
    options = NormalisationOptions(method="gene_z")
    expected = fit_normalisation(others, VOCABULARY, options).genes.loc[VOCABULARY[3]]
    pool = fit_harmonisation(others, HarmonisationOptions(method="combat"))
    at = list(pool.genes).index(VOCABULARY[3])
    for tables in (sides.tables, empty):
        found = fit_normalisation(tables, VOCABULARY, options).genes.loc[VOCABULARY[3]]
        pd.testing.assert_series_equal(found, expected, rtol=1e-9)
        known = fit_harmonisation(tables, HarmonisationOptions(method="combat"))
        there = list(known.genes).index(VOCABULARY[3])
        assert known.pooled.batches[there] == 2
        for kind in ("mean", "variance"):
            whole, part = getattr(known.pooled, kind)[there], getattr(pool.pooled, kind)[at]
            assert whole == pytest.approx(part, rel=1e-9)
        assert np.isnan(known.shifts[lacking].location[there])


@settings(max_examples=20, deadline=None)
@given(sides=folds(), data=st.data())
def test_fits_are_handed_training_tables_and_leave_them_as_they_were(sides, data):
    tables = {
        name: part
        for name, table in sides.tables.items()
        if (part := table.loc[:, table.columns.isin(sides.train)]).shape[1]
    }
    before = {name: table.copy(deep=True) for name, table in tables.items()}
    for method in NORMALISATIONS:
        fit_normalisation(tables, VOCABULARY, NormalisationOptions(method=method))
    for method in HARMONISATIONS:
        options = HarmonisationOptions(method=method, min_controls=2)
        found = fit_harmonisation(tables, options, sides.controls)
        kept = json.dumps(found.as_json())
        table = data.draw(st.sampled_from(list(sides.tables.values())))
        found.with_cohort("GSE9", table, sides.controls)
        # What was learned is not changed by a cohort that joins later.
        assert json.dumps(found.as_json()) == kept
    for name, table in tables.items():
        identical(table, before[name])
