"""Ids become genes: how each was read is told, and every one that is lost is counted."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.mapping import GeneMap, map_ids
from genellm_dagster.expression.options import MappingOptions
from genellm_dagster.expression.symbols import approve_symbols
from genellm_dagster_tests.expression.tables import cohort

SYMBOLS = [
    "TP53", "IL8", "tp53", "NO_SUCH", "1-Mar", "3-Mar", "2-Sep", "2019-09-02", "TTLL10", "MIR200A",
    "LOC3576", "---", "",
]  # fmt: skip
ENTREZ = ["3576", "7157.0", "999999999", "---", ""]
ENSEMBL = ["ENSG00000169429.11", "ENSG00000182378.15_PAR_Y", "ENSG0", ""]
NOTHING_REFUSED = {"min_mapped_share": 0.0}


def cells(names: list[str]) -> st.SearchStrategy[str | None]:
    several = st.lists(st.sampled_from(names), min_size=1, max_size=3)
    return st.one_of(
        st.none(), several.map("///".join), several.map(" /// ".join), st.sampled_from(names)
    )


platforms = st.lists(
    st.tuples(cells(SYMBOLS), cells(ENTREZ), cells(ENSEMBL)), min_size=1, max_size=12
).map(
    lambda rows: pd.DataFrame(rows, columns=["symbol", "entrez", "ensembl"], dtype=object).assign(
        id=[f"p{i}" for i in range(len(rows))]
    )
)


def mapped(ids: list[str], kind: str, table: pd.DataFrame | None, **options: object) -> GeneMap:
    """Map ids beside one that is certain, since a table without any gene is refused."""
    known = {"probe": "sure", "symbol": "CXCL8", "entrez": "3576", "ensembl": "ENSG00000169429"}
    if table is not None:
        sure = pd.DataFrame([{"id": "sure", "symbol": "CXCL8"}], dtype=object)
        table = pd.concat([table, sure], ignore_index=True)
    settings_of_mapping = MappingOptions.model_validate({**NOTHING_REFUSED, **options})
    return map_ids(pd.Index([*ids, known[kind]]), kind, table, settings_of_mapping)


@settings(max_examples=150, deadline=None)
@given(
    platforms,
    st.lists(st.integers(0, 13).map(lambda n: f"p{n}"), max_size=12),
    st.sampled_from(["one_protein_coding", "drop", "first", "all"]),
    st.sampled_from(["drop", "keep"]),
)
def test_every_id_is_counted_once_and_every_mapped_one_says_how(table, ids, several, unknown):
    found = mapped(ids, "probe", table, multi_gene=several, unknown_symbols=unknown)
    counts = dict(found.counts)
    assert counts.pop("total") == len(ids) + 1
    assert sum(counts.values()) == len(ids) + 1
    assert sum(found.mapped_by.values()) == counts["mapped"] == len(set(found.rows.tolist()))
    assert found.rows.tolist() == sorted(found.rows.tolist())
    assert len(found.rows) == len(found.genes)
    if several != "all":
        assert len(found.rows) == counts["mapped"] or found.mapped_by["kept"]
    if unknown == "drop":
        assert approve_symbols(found.genes.tolist())[1]["approved"] == len(found.genes)
    # A row for itself: what an id becomes depends on no other id.
    for place, one in enumerate(ids):
        alone = mapped([one], "probe", table, multi_gene=several, unknown_symbols=unknown)
        assert alone.genes[alone.rows == 0].tolist() == found.genes[found.rows == place].tolist()


def test_mapped_ids_tell_by_which_name():
    table = pd.DataFrame(
        {
            "id": list("abcdef"),
            "symbol": ["NO_SUCH", "TP53", "IL8", "2-Sep", None, "1-Mar"],
            "entrez": ["3576", None, "999999999", None, None, None],
            "ensembl": [None, None, None, None, "ENSG00000169429.2", "ENSG00000169429.2"],
        },
        dtype=object,
    )
    found = map_ids(pd.Index(list("abcdef")), "probe", table)
    assert found.mapped_by == {
        "entrez": 1, "approved": 1, "renamed": 1, "excel_date": 1, "ensembl": 2, "kept": 0,
    }  # fmt: skip
    assert found.counts["mapped"] == 6


@pytest.mark.parametrize(
    ("symbol", "genes", "outcome"),
    [
        ("2-Sep", ["SEPTIN2"], "repaired"),
        ("Sep-02", ["SEPTIN2"], "repaired"),
        ("2019-09-02", ["SEPTIN2"], "repaired"),
        ("2019-09-02 00:00:00", ["SEPTIN2"], "repaired"),
        ("3-Mar", ["MARCHF3"], "repaired"),
        ("1-Dec", ["DELEC1"], "repaired"),
        ("1-Mar", [], "ambiguous"),
        ("2-Mar", [], "ambiguous"),
        ("2020-03-01", [], "ambiguous"),
        ("30-Jan", [], "unknown"),
        ("2019-13-02", [], None),
        ("TP53", ["TP53"], None),
    ],
)
def test_dates_of_excel_are_repaired_where_one_gene_fits_and_counted_otherwise(
    symbol, genes, outcome
):
    found = mapped([symbol], "symbol", None)
    assert found.genes[found.rows == 0].tolist() == genes
    expected = dict.fromkeys(("repaired", "ambiguous", "unknown"), 0)
    if outcome is not None:
        expected[outcome] = 1
    assert found.excel_dates == expected


def test_dates_of_excel_reach_the_report_of_a_table():
    values = pd.DataFrame(
        {"GSM1": [7.0, 8.0, 9.0, 4.0]}, index=["2-Sep", "1-Mar", "30-Jan", "TP53"]
    )
    ids = build_expression(values, None, cohort(), "array").report["ids"]
    assert ids["excel_dates"] == {"repaired": 1, "ambiguous": 1, "unknown": 1}
    assert (ids["mapped"], ids["ambiguous"], ids["unknown"]) == (2, 1, 1)
    assert ids["mapped_by"]["excel_date"] == 1


def test_an_id_that_is_named_by_nothing_known_is_unknown_and_one_without_a_name_is_not():
    table = pd.DataFrame(
        {"id": ["a", "b", "c"], "symbol": [None, "---", None], "entrez": ["999999999", None, ""]},
        dtype=object,
    )
    counts = mapped(["a", "b", "c"], "probe", table).counts
    assert (counts["unknown"], counts["without_annotation"]) == (1, 2)


def test_ensembl_ids_lose_their_version_and_repeats_on_y_are_counted():
    ids = ["ENSG00000182378.15", "ENSG00000182378.15_PAR_Y", "ENSG00000000000.1"]
    found = mapped(ids, "ensembl", None)
    assert found.genes[:1].tolist() == ["PLCXD1"]
    assert (found.counts["mapped"], found.counts["unknown"]) == (2, 2)


def test_of_rows_that_share_an_id_the_first_counts():
    table = pd.DataFrame({"id": ["a", "a"], "symbol": ["TP53", "CXCL8"]}, dtype=object)
    assert map_ids(pd.Index(["a", "a"]), "probe", table).genes.tolist() == ["TP53", "TP53"]


def test_numbers_as_ids_are_read_as_text():
    table = pd.DataFrame({"id": [1, 2], "symbol": ["TP53", "CXCL8"], "entrez": [None, 3576.0]})
    assert map_ids(pd.Index([2, 1]), "probe", table).genes.tolist() == ["CXCL8", "TP53"]
