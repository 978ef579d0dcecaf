"""Platform tables and NCBI's RNA-seq counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.counts import read_count_annotation, read_rnaseq_counts
from genellm_dagster.geo.platform import read_platform_table
from genellm_dagster_tests.geo.files_of_geo import (
    COUNT_GENES,
    COUNTS,
    CURATED,
    platform_text,
    write_gzip,
)


def test_a_curated_table_keeps_several_genes_of_a_probe(tmp_path: Path) -> None:
    table = read_platform_table(write_gzip(tmp_path / "GPL570.annot.gz", CURATED))
    assert table.to_dict("list") == {
        "id": ["1007_s_at", "1053_at"],
        "symbol": ["DDR1///MIR4640", "RFC2"],
        "entrez": ["780///100616237", "5982"],
        "ensembl": [None, None],
    }


def test_a_submitters_table_with_lone_quotes_short_rows_and_twin_columns(tmp_path: Path) -> None:
    path = tmp_path / "GPL1.txt"
    rows = [
        ["10", "5' end of 3\" probe", "TP53", "other", "7157"],
        ["NA", "x", "", "", ""],
        ["11", "x", "---"],
        ["", "x", "lost", "", ""],
    ]
    names = ["ID", "Description", "Gene Symbol", "Gene Symbol", "ENTREZ_GENE_ID"]
    path.write_text(platform_text(rows, names))
    table = read_platform_table(path)
    assert table["id"].tolist() == ["10", "NA", "11"]
    assert table["symbol"].tolist() == ["TP53", None, None]
    assert table["entrez"].tolist() == ["7157", None, None]


def test_exon_array_assignments_give_symbols_once_each(tmp_path: Path) -> None:
    assignment = (
        "NM_1 // TTLL10 // title // 1p36 // 254173 /// NM_2 // TTLL10 // t // 1p36 // 254173"
        " /// NR_3 // MIR200A // t // 1p36 // 406983"
    )
    rows = [["2315554", assignment], ["2315633", "---"]]
    path = write_gzip(tmp_path / "p.gz", platform_text(rows, ["ID", "gene_assignment"]))
    table = read_platform_table(path)
    assert table["symbol"].tolist() == ["TTLL10///MIR200A", None]
    assert table["entrez"].tolist() == ["254173///406983", None]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (platform_text([["1", "x"]], ["ID", "SEQUENCE"]), "which gene an id measures"),
        (platform_text([["1", "x"]], ["Probe", "Symbol"]), "which gene an id measures"),
        (platform_text([["1", "x"]], ["ID", "Symbol"], end=False), "truncated"),
        (platform_text([], ["ID", "Symbol"]), "has no rows"),
        ("nothing of the kind\n", "holds no platform table"),
    ],
)
def test_a_platform_table_without_use_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(GeoError, match=sentence):
        read_platform_table(write_gzip(tmp_path / "GPL1.annot.gz", text))


def test_counts_and_their_genes_are_read(tmp_path: Path) -> None:
    counts = read_rnaseq_counts(write_gzip(tmp_path / "c.tsv.gz", COUNTS))
    assert counts.index.tolist() == ["7105", "64102"]
    assert counts.columns.tolist() == ["GSM1", "GSM2", "GSM3"]
    np.testing.assert_array_equal(counts.to_numpy(), [[10, 0, 3], [1, 2, 3]])
    genes = read_count_annotation(write_gzip(tmp_path / "a.tsv.gz", COUNT_GENES))
    assert genes.to_dict("list") == {
        "entrez": ["7105", "64102"],
        "symbol": ["TSPAN6", "TNMD"],
        "ensembl": ["ENSG00000000003", None],
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (COUNTS.replace("GeneID", "Gene"), "no count table"),
        ("", "no count table"),
        ("GeneID\tGSM1\n", "holds no gene"),
        (COUNTS.replace("GSM3", "GSM1"), "GSM1 more than once"),
        (COUNTS.replace("64102", "7105"), "gene 7105 more than once"),
        (COUNTS.replace("\t10", "\t-10"), "gene 7105 of sample GSM1 has a negative count"),
        (COUNTS.replace("\t10", "\tten"), "'7105' of sample GSM1 holds 'ten'"),
        (COUNTS.removesuffix("\t3\n"), "'64102' has 2 values for 3 samples"),
    ],
)
def test_a_broken_count_table_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(GeoError, match=sentence):
        read_rnaseq_counts(write_gzip(tmp_path / "c.tsv.gz", text))


def test_a_gene_table_without_symbols_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeoError, match="no gene table"):
        read_count_annotation(write_gzip(tmp_path / "a.tsv.gz", "GeneID\tx\n1\t2\n"))
