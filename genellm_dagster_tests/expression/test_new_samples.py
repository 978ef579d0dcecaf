"""Expression of new samples: ids and scale found out, each sample as if it came alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.new_samples import (
    expression_of_samples,
    gene_id_type,
    scale_of_samples,
)
from genellm_dagster.expression.symbols import approved_symbols

_KNOWN = approved_symbols()
_KNOWN = _KNOWN[(_KNOWN["locus_group"] == "protein-coding gene") & (_KNOWN["ensembl"] != "")]
GENES = _KNOWN["symbol"].head(200).tolist()
ENSEMBL = _KNOWN["ensembl"].head(200).tolist()


def _log2(samples: int = 4, seed: int = 3) -> pd.DataFrame:
    values = np.random.default_rng(seed).uniform(3, 14, (len(GENES), samples))
    return pd.DataFrame(
        values.astype(np.float32), index=GENES, columns=[f"S{n}" for n in range(samples)]
    )


def test_symbols_and_ensembl_ids_with_versions_give_the_same_table() -> None:
    by_symbol = _log2()
    by_ensembl = by_symbol.set_axis([f"{one}.7" for one in ENSEMBL])
    assert gene_id_type(list(by_symbol.index))[0] == "symbol"
    assert gene_id_type(list(by_ensembl.index))[0] == "ensembl"
    pd.testing.assert_frame_equal(
        expression_of_samples(by_symbol, "symbol").table,
        expression_of_samples(by_ensembl, "ensembl").table,
    )


def test_numbers_are_genes_only_where_a_column_says_so() -> None:
    numbers = [str(number) for number in range(1, 50)]
    assert gene_id_type(numbers)[1] == 0
    kind, share = gene_id_type(numbers, may_be_entrez=True)
    assert kind == "entrez"
    assert share > 0.2


@pytest.mark.parametrize("samples", [1, 5])
def test_scale_is_found_out(samples: int) -> None:
    log2 = _log2(samples)
    assert scale_of_samples(log2)[0] == "log2"
    assert scale_of_samples(2**log2)[0] == "linear"
    assert scale_of_samples((2**log2).round())[0] == "counts"


def test_samples_that_differ_in_scale_are_refused_and_a_named_scale_is_taken() -> None:
    mixed = _log2().assign(S2=2 ** _log2()["S2"])
    with pytest.raises(ExpressionError, match=r"differ in the scale.*S0 log2, S2 linear"):
        expression_of_samples(mixed, "symbol")
    assert expression_of_samples(mixed, "symbol", "log2").table.shape == (200, 4)


def test_centred_values_that_no_sample_shows_alone_are_refused() -> None:
    # A third of the values is negative, and the typical row has zero among its middle half.
    values = pd.DataFrame(np.random.default_rng(1).normal(2, 4, (len(GENES), 9)), index=GENES)
    values = values.rename(columns=str)
    alone = {scale_of_samples(values[[name]])[0] for name in values}
    assert alone == {"log2"}
    with pytest.raises(ExpressionError, match="look centred"):
        scale_of_samples(values)


def test_linear_values_are_ranked_as_their_log2() -> None:
    log2 = _log2()
    table = expression_of_samples(2**log2, "symbol").table
    floor = log2.quantile(0.01, interpolation="lower")
    np.testing.assert_allclose(table.loc[GENES], log2.clip(lower=floor, axis=1), rtol=1e-5)


def test_infinite_values_are_missing_and_told() -> None:
    values = _log2()
    values.iloc[3, 1] = -np.inf
    told = expression_of_samples(values, "symbol")
    assert np.isnan(told.table.loc[GENES[3], "S1"])
    assert int(told.table.isna().sum().sum()) == 1
    assert any("1 infinite" in note for note in told.notes)


def test_a_sample_without_any_number_hinders_no_other() -> None:
    values = _log2().assign(S1=np.float32(np.nan))
    told = expression_of_samples(values, "symbol")
    assert told.scale == "log2"
    assert told.table["S1"].isna().all()
    with pytest.raises(ExpressionError, match="No sample holds a number"):
        expression_of_samples(values[["S1"]], "symbol")


def test_a_sample_that_stands_twice_is_refused() -> None:
    values = _log2().set_axis(["S0", "S1", "S1", "S2"], axis=1)
    with pytest.raises(ExpressionError, match="'S1' stands twice"):
        expression_of_samples(values, "symbol")


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["log2", "linear", "counts"]),
    data=st.data(),
)
def test_a_sample_alone_has_the_values_it_has_among_others(seed, kind, data) -> None:
    log2 = _log2(5, seed)
    values = {"log2": log2, "linear": 2**log2, "counts": (2**log2).round()}[kind]
    values = values.mask(np.random.default_rng(seed).random(values.shape) < 0.1)
    order = data.draw(st.permutations(list(values.columns)))
    whole = expression_of_samples(values[order], "symbol")
    assert whole.scale == kind
    for name in values:
        alone = expression_of_samples(values[[name]], "symbol").table[name]
        pd.testing.assert_series_equal(alone, whole.table[name].reindex(alone.index))
