"""Lists of genes: whatever the file, approved symbols come out and what was lost is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.gene_lists import (
    MAX_BYTES,
    GeneList,
    gene_list_digest,
    packaged_gene_lists,
    read_gene_list,
)
from genellm_dagster.expression.symbols import approved_symbols
from genellm_dagster_tests.expression.tables import gene_names


def written(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def read(folder: Path, name: str, text: str, *sets: str) -> GeneList:
    return read_gene_list(written(folder, name, text), sets)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "# a comment\nCD3D\n\n  CD14  # monocytes\nCD3D\n"),
        ("list.txt", "\ufeffCD3D\r\nCD14\r\n"),
        ("list.gmt", "one\tfrom somewhere\tCD3D\tCD14\ntwo\t\tCD14\n"),
        ("list.csv", "CD3D\nCD14\n"),
        ("list.csv", "rank,Gene,fold\n1,CD3D,2.5\n2,CD14,-1\n"),
        ("list.csv", "symbol;p\nCD3D;0,01\nCD14;0,02\n"),
        ("list.tsv", "p\tgene_symbol\n0.1\tCD14\n0.2\tCD3D\n"),
    ],
)
def test_every_form_of_file_gives_the_same_genes(tmp_path, name, text):
    assert read(tmp_path, name, text).genes == ("CD14", "CD3D")


def test_names_are_brought_to_approved_symbols_and_counted(tmp_path):
    found = read(tmp_path, "list.txt", "CXCL8\nIL8\nFAM214A\n2-Sep\nnosuchgene\nSEPT2 /// CD14\n")
    assert found.genes == ("ATOSA", "CD14", "CXCL8", "SEPTIN2")
    assert found.lost == ("nosuchgene",)
    assert found.counts == {
        "names": 7, "approved": 2, "renamed": 3, "excel_date": 1, "ambiguous": 0, "unknown": 1,
    }  # fmt: skip


def test_sets_are_chosen_by_name_or_by_code(tmp_path):
    text = (
        "T cells (M1.0)\tx\tCD3D\nMonocytes (M1.1)\tx\tCD14\nBlood (I)\tx\tHBB\nMore (I)\tx\tHBD\n"
    )
    assert read(tmp_path, "a.gmt", text, "t cells (m1.0)").genes == ("CD3D",)
    both = read(tmp_path, "a.gmt", text, "M1.1", "Monocytes (M1.1)", "M1.0")
    assert both.genes == ("CD14", "CD3D")
    assert both.sets == ("Monocytes (M1.1)", "T cells (M1.0)")
    with pytest.raises(ExpressionError, match=r"no set 'I'"):
        read(tmp_path, "a.gmt", text, "I")
    with pytest.raises(ExpressionError, match=r"close to it: 'Monocytes \(M1.1\)'"):
        read(tmp_path, "a.gmt", text, "monocyte")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("list.txt", b"\xff\xfe\x00", "no UTF-8"),
        ("list.txt", b"", "names no gene"),
        ("list.txt", b"hello\nworld\n", "names no gene"),
        ("list.xlsx", b"CD3D", "ends in none of"),
        ("list.gmt", b"one\tCD3D\n", "line 1"),
        ("list.gmt", b"\n", "is empty"),
        ("list.csv", b"name,value\nCD3D,1\n", "no column named gene"),
        ("list.csv", b"gene,symbol\nCD3D,CD3D\n", "2 columns of genes"),
        ("list.csv", b'gene\n"CD3D' + b"x" * 200_000, "no readable table"),
        ("list.txt", b"CD3D\n" * (MAX_BYTES // 5 + 1), "larger than"),
    ],
)
def test_a_file_that_is_no_list_is_refused_with_the_reason(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExpressionError, match=told):
        read_gene_list(str(tmp_path / name))


def test_sets_of_a_file_without_sets_are_refused(tmp_path):
    with pytest.raises(ExpressionError, match="holds no sets"):
        read(tmp_path, "list.txt", "CD3D\n", "M1.0")


def test_an_unknown_name_tells_the_known_ones():
    with pytest.raises(ExpressionError, match="there are: btm"):
        read_gene_list("hallmark")


def test_a_changed_file_has_another_digest(tmp_path):
    file = written(tmp_path, "list.txt", "CD3D\n")
    before = gene_list_digest(file)
    assert before == read_gene_list(file).sha256
    written(tmp_path, "list.txt", "CD14\n")
    assert gene_list_digest(file) != before
    assert gene_list_digest(None) is None


def test_the_packaged_modules_are_genes_of_their_names():
    assert set(packaged_gene_lists()) == {"btm"}
    modules = read_gene_list("btm")
    assert len(modules.sets) == 346
    assert len(modules.lost) < 0.02 * modules.counts["names"]
    assert set(modules.genes) <= set(approved_symbols()["symbol"])
    # The package that the modules are from has M4.2 to M4.15 under each other's names.
    assert {"MCM10", "CDC45"} <= set(read_gene_list("btm", ["M4.4"]).genes)
    assert {"CD14", "CCR1"} <= set(read_gene_list("btm", ["M4.3"]).genes)
    assert "CDK1" not in read_gene_list("btm", ["enriched in monocytes (I) (M4.15)"]).genes


NAMES = st.lists(st.sampled_from([*gene_names(40), "IL8", "nosuch", ""]), min_size=1, max_size=30)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=NAMES, random=st.randoms(use_true_random=False))
def test_order_repetition_and_case_of_former_names_change_nothing(tmp_path, names, random):
    text = "\n".join(["CD3D", *names])
    again = [*names, *names, "CD3D"]
    random.shuffle(again)
    found = read(tmp_path, "a.txt", text)
    other = read(tmp_path, "b.txt", "\n".join(again).replace("IL8", "il8"))
    assert found.genes == other.genes
    assert found.counts == other.counts
    # Its own genes are a list of which nothing is lost.
    assert read(tmp_path, "c.txt", "\n".join(found.genes)).genes == found.genes
