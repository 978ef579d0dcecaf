"""Ids become genes, probes become one row, and what is lost is counted."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.collapse import collapse
from genellm_dagster.expression.mapping import map_ids
from genellm_dagster.expression.options import (
    ExpressionOptions,
    MappingOptions,
)
from genellm_dagster_tests.expression.tables import cohort, factor_table


def id_table(**cells: list[object]) -> pd.DataFrame:
    return pd.DataFrame(cells, dtype=object)


PLATFORM = id_table(
    id=["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"],
    symbol=["IL8", "TP53", "NO_SUCH", None, "TTLL10///MIR200A", "TP53///CXCL8", "1-Mar", "XX"],
    entrez=[None, None, None, None, None, None, None, "3576"],
    ensembl=[None] * 8,
)


def test_every_probe_is_counted_once_by_what_became_of_it():
    ids = pd.Index([*PLATFORM["id"], "absent"])
    found = map_ids(ids, "probe", PLATFORM)
    assert dict(zip(found.rows.tolist(), found.genes.tolist(), strict=True)) == {
        0: "CXCL8", 1: "TP53", 4: "TTLL10", 7: "CXCL8",
    }  # fmt: skip
    assert found.counts == {
        "total": 9, "not_in_table": 1, "without_annotation": 1, "unknown": 1, "ambiguous": 1,
        "several_genes": 1, "mapped": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "genes"),
    [
        ("drop", []),
        ("first", ["TP53"]),
        ("all", ["TP53", "CXCL8"]),
        ("one_protein_coding", []),
    ],
)
def test_a_probe_of_several_genes_follows_the_setting(rule, genes):
    options = MappingOptions(multi_gene=rule)
    found = map_ids(pd.Index(["p2", "p6"]), "probe", PLATFORM, options)
    assert found.genes[found.rows == 1].tolist() == genes


def test_unknown_symbols_can_be_kept_but_ambiguous_ones_never():
    options = MappingOptions(unknown_symbols="keep")
    found = map_ids(pd.Index(["TP53", "MTVR2", "1-Mar"]), "symbol", None, options)
    assert found.genes.tolist() == ["TP53", "MTVR2"]


def test_entrez_and_ensembl_ids_need_no_table():
    assert map_ids(pd.Index(["3576", "7157"]), "entrez", None).genes.tolist() == ["CXCL8", "TP53"]
    assert map_ids(pd.Index(["ENSG00000169429.2"]), "ensembl", None).genes.tolist() == ["CXCL8"]


def test_an_entrez_id_that_hgnc_lacks_is_found_by_the_symbol_of_the_table():
    table = id_table(entrez=["999999999"], symbol=["IL8"])
    assert map_ids(pd.Index(["999999999"]), "entrez", table).genes.tolist() == ["CXCL8"]


def test_probes_without_a_platform_table_are_refused():
    with pytest.raises(ExpressionError, match="no platform table"):
        map_ids(pd.Index(["p1"]), "probe", None)


def test_a_wrong_id_type_is_refused_with_an_example():
    with pytest.raises(ExpressionError, match="ILMN_1762337"):
        map_ids(pd.Index(["ILMN_1762337"] * 3), "symbol", None)


def test_repeated_probes_collapse_by_each_method():
    values = pd.DataFrame({"GSM1": [1.0, 5.0, 6.0], "GSM2": [9.0, 5.0, np.nan]}, index=list("abc"))
    genes = np.array(["TP53", "TP53", "CXCL8"], dtype=object)

    def row(method: str) -> list[float]:
        return collapse(values, genes, method)[0].loc["TP53"].tolist()

    assert row("median") == row("mean") == [3.0, 7.0]
    assert row("highest_variance") == [1.0, 9.0]
    assert row("highest_mean") == [1.0, 9.0]  # a tie of means: the id that sorts first


def test_collapse_counts_what_it_drops_and_keeps_gaps():
    values = pd.DataFrame({"GSM1": [1.0, 5.0, np.nan, 2.0], "GSM2": [9.0, 7.0, np.nan, np.nan]})
    genes = np.array(["TP53", "TP53", "A1BG", "CXCL8"], dtype=object)
    table, counts = collapse(values, genes, "highest_mean")
    assert table.index.tolist() == ["CXCL8", "TP53"]
    assert table.loc["TP53"].tolist() == [5.0, 7.0]
    assert np.isnan(table.at["CXCL8", "GSM2"])
    assert counts == {
        "method": "highest_mean", "probes": 4, "without_values": 1, "merged": 0, "not_chosen": 1,
        "genes": 2,
    }  # fmt: skip


def test_a_table_is_built_with_a_report_that_json_takes():
    values = factor_table(60, 9, 1)
    values.iloc[0, 0] = np.inf
    result = build_expression(values, None, cohort(), "array")
    assert result.table.index.name == "gene"
    assert result.table.index.is_monotonic_increasing
    assert (result.table.dtypes == np.float32).all()
    assert np.isnan(result.table.loc[values.index[0], values.columns[0]])
    assert result.report["values"]["infinite"] == 1
    assert result.report["scale"]["kind"] == "log2"
    assert result.report["transductive"] == []
    json.dumps(result.report, allow_nan=False)


def test_the_cohort_file_overrides_a_wrong_guess():
    values = 2 ** factor_table(60, 9, 1)
    guessed = build_expression(values, None, cohort(), "array")
    forced = build_expression(values, None, cohort(scale="log2"), "array")
    assert guessed.report["scale"]["decided_by"] == "detected"
    assert forced.report["scale"]["decided_by"] == "cohort file"
    assert forced.table.to_numpy().max() > 1000 > guessed.table.to_numpy().max()


def test_a_value_too_large_for_the_table_counts_as_infinite():
    values = pd.DataFrame({"GSM1": [1e300, 8.0], "GSM2": [7.0, np.inf]}, index=["CXCL8", "TP53"])
    found = build_expression(values, None, cohort(id_type="symbol", scale="log2"), "array")
    assert found.report["values"]["infinite"] == 2
    assert np.isnan(found.table.loc["CXCL8", "GSM1"]) and np.isnan(found.table.loc["TP53", "GSM2"])
    assert np.isfinite(found.table.to_numpy()).sum() == 2


def test_counts_are_read_by_entrez_id_whatever_the_cohort_says():
    counts = pd.DataFrame({"GSM1": [10, 30], "GSM2": [5, 0]}, index=["3576", "7157"])
    result = build_expression(counts, None, cohort(id_type="probe"), "counts")
    assert result.report["scale"]["kind"] == "counts"
    assert result.table.at["CXCL8", "GSM1"] == pytest.approx(np.log2(10.5 / 41 * 1e6))


def test_the_library_counts_reads_of_ids_that_name_no_gene():
    counts = pd.DataFrame({"GSM1": [10, 990]}, index=["3576", "999999999"])
    result = build_expression(counts, None, cohort(), "counts")
    assert result.table.at["CXCL8", "GSM1"] == pytest.approx(np.log2(10.5 / 1001 * 1e6))


@pytest.mark.parametrize(
    "values",
    [None, pd.DataFrame({"GSM1": pd.Series(dtype=float)}), pd.DataFrame(index=["TP53"])],
)
def test_a_series_that_holds_its_header_only_is_refused(values):
    with pytest.raises(ExpressionError, match=r"GSE1 .*header"):
        build_expression(values, None, cohort(), "array")


def test_a_repeated_sample_is_refused():
    values = pd.DataFrame([[1.0, 2.0]], index=["TP53"], columns=["GSM1", "GSM1"])
    with pytest.raises(ExpressionError, match="GSM1"):
        build_expression(values, None, cohort(), "array")


def test_a_refusal_names_the_cohort():
    with pytest.raises(ExpressionError, match=r"^GSE1: Only 0 of 1 ids"):
        build_expression(pd.DataFrame({"GSM1": [1.0]}, index=["xyz"]), None, cohort(), "array")


@settings(max_examples=25, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from(["median", "mean", "highest_mean", "highest_variance"]),
    st.floats(0, 0.4),
)
def test_the_order_of_rows_and_samples_changes_only_order(random, method, gaps):
    values = factor_table(20, 6, 5)
    values.index = pd.Index([values.index[i // 2] for i in range(20)])
    hidden = np.random.default_rng(random.randrange(1000)).random(values.shape) < gaps
    values = values.mask(hidden)
    options = ExpressionOptions(collapse=method)
    expected = build_expression(values, None, cohort(), "array", options).table
    rows, columns = list(range(20)), list(values.columns)
    random.shuffle(rows)
    random.shuffle(columns)
    got = build_expression(values.iloc[rows][columns], None, cohort(), "array", options).table
    pd.testing.assert_frame_equal(got[expected.columns], expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100))
def test_a_sample_alone_is_built_as_in_its_cohort(seed):
    values = factor_table(30, 5, seed)
    values.index = pd.Index([values.index[i // 3] for i in range(30)])
    whole = build_expression(values, None, cohort(), "array").table
    alone = build_expression(values[["GSM1002"]], None, cohort(), "array").table
    pd.testing.assert_frame_equal(alone, whole[["GSM1002"]])
