"""What holds of every step: order, gaps, one sample alone, a second application, hostile values."""

from __future__ import annotations

import contextlib
import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import GeneLLMError
from genellm_dagster_tests.expression.steps import GENES, STEPS, Step, hostile, strange, tables
from genellm_dagster_tests.expression.tables import factor_table

ordinary = settings(max_examples=10, deadline=None)
every_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


def chosen(**flags: bool) -> pytest.MarkDecorator:
    """Those steps of which it is said so."""
    found = {
        name: step
        for name, step in STEPS.items()
        if all(getattr(step, flag) == value for flag, value in flags.items())
    }
    return pytest.mark.parametrize("step", found.values(), ids=found)


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal but for the rounding of sums, missing at the same places."""
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-4, check_names=False)


def gaps_are_kept(step: Step, table: pd.DataFrame, found: pd.DataFrame) -> None:
    missing = table.reindex(found.index).isna()
    assert found.isna().to_numpy()[missing.to_numpy()].all()
    if step.keeps:
        pd.testing.assert_frame_equal(found.isna(), missing, check_names=False)


@every_step
@ordinary
@given(table=tables(), random=st.randoms(use_true_random=False))
def test_the_order_of_genes_and_samples_changes_nothing_but_order(
    step: Step, table: pd.DataFrame, random
):
    table = step.domain(table)
    genes = random.sample(list(table.index), len(table))
    columns = random.sample(list(table.columns), table.shape[1])
    expected = step(table)
    same(step(table.loc[genes, columns])[expected.columns], expected)


@every_step
@ordinary
@given(table=tables())
def test_a_missing_value_never_becomes_a_number_and_the_table_given_stays_as_it_was(
    step: Step, table: pd.DataFrame
):
    table = step.domain(table)
    given_table = table.copy(deep=True)
    gaps_are_kept(step, table, step(table))
    pd.testing.assert_frame_equal(table, given_table, check_exact=True)


@chosen(alone=True)
@ordinary
@given(table=tables(), others=tables(strange))
def test_a_sample_alone_is_what_it_is_among_any_others(
    step: Step, table: pd.DataFrame, others: pd.DataFrame
):
    table = step.domain(table)
    gsm, rest = table.columns[0], step.domain(others).add_prefix("OTHER")
    alone = step(table[[gsm]])
    among = step(pd.concat([rest, table[[gsm]]], axis=1))
    pd.testing.assert_frame_equal(among[[gsm]], alone, check_exact=True, check_names=False)


@chosen(alone=False)
def test_a_step_that_reads_other_samples_is_not_called_so_without_need(step: Step):
    table = step.domain(factor_table(12, 8, 4, 3000))
    # More spread in some genes of the others: other probes stand out, other distributions arise.
    changed = table.copy()
    changed.iloc[:, 1:] = -3 * changed.iloc[:, 1:] ** 2
    gsm = table.columns[0]
    if STEPS["qc"] is step:
        changed = table.copy()
        changed.iloc[3, 1:] = np.nan
    with pytest.raises(AssertionError):
        same(step(changed)[[gsm]], step(table)[[gsm]])


@chosen(stable=True)
@ordinary
@given(table=tables())
def test_a_second_application_changes_nothing(step: Step, table: pd.DataFrame):
    once = step(step.domain(table))
    same(step(once), once)


@every_step
@ordinary
@given(table=tables(hostile))
def test_hostile_numbers_give_numbers_or_are_refused_in_a_sentence(step: Step, table: pd.DataFrame):
    table = step.domain(table)
    with warnings.catch_warnings():
        # Where NumPy warns of an overflow or of 0/0, a value came about that nobody measured.
        warnings.simplefilter("error", RuntimeWarning)
        with contextlib.suppress(GeneLLMError):
            found = step(table)
            assert not np.isinf(found.to_numpy(dtype=np.float64)).any()
            gaps_are_kept(step, table, found)


@every_step
def test_one_gene_one_sample_or_one_value_is_enough_or_refused(step: Step):
    for value, genes, samples in itertools.product((7.25, -0.0, 1e38), (1, 12), (1, 5)):
        table = step.domain(
            pd.DataFrame(
                np.full((genes, samples), value, dtype=np.float32),
                index=pd.Index(GENES[:genes], name="gene"),
                columns=[f"GSM{number}" for number in range(samples)],
            )
        )
        with warnings.catch_warnings(), contextlib.suppress(GeneLLMError):
            warnings.simplefilter("error", RuntimeWarning)
            found = step(table)
            assert not np.isinf(found.to_numpy(dtype=np.float64)).any()
            gaps_are_kept(step, table, found)


@every_step
@ordinary
@given(table=tables(), place=st.tuples(st.integers(0, 99), st.integers(0, 99)), sign=st.booleans())
def test_an_infinite_value_is_missing_or_refused(step: Step, table: pd.DataFrame, place, sign):
    table = step.domain(table)
    row, column = place[0] % len(table), place[1] % table.shape[1]
    table.iloc[row, column] = np.inf if sign else -np.inf
    with contextlib.suppress(GeneLLMError):
        found = step(table)
        assert not np.isinf(found.to_numpy(dtype=np.float64)).any()
        gene, gsm = table.index[row], table.columns[column]
        assert gene not in found.index or np.isnan(found.loc[gene, gsm])
