"""The vocabulary: shared, lively genes, chosen without labels."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.gene_lists import read_gene_list
from genellm_dagster.expression.profile_options import VocabularyOptions
from genellm_dagster.expression.vocabulary import choose_vocabulary
from genellm_dagster_tests.expression.tables import factor_table


def test_only_genes_of_enough_cohorts_are_chosen():
    whole = factor_table(40, 8, 1)
    tables = {"GSE1": whole, "GSE2": whole.iloc[:30], "GSE3": whole.iloc[:20]}
    two_of_three = choose_vocabulary(tables, VocabularyOptions(min_cohort_share=0.6)).table
    assert set(two_of_three["gene"]) == set(whole.index[:30])
    everywhere = choose_vocabulary(tables, VocabularyOptions(min_cohort_share=1)).table
    assert set(everywhere["gene"]) == set(whole.index[:20])
    assert set(everywhere["share_of_cohorts"]) == {1.0}
    assert two_of_three["n_cohorts"].min() == 2


def test_the_liveliest_genes_come_first_whatever_the_scale_of_a_platform():
    rng = np.random.default_rng(0)
    table = factor_table(60, 20, 1, factors=1)
    quiet = table.apply(
        lambda row: row.mean() + rng.normal(0, 0.01, 20), axis=1, result_type="expand"
    )
    quiet.columns = table.columns
    quiet.iloc[20:25] = 8 + rng.normal(0, 6, (5, 20))
    vocabulary = choose_vocabulary(
        {"GSE1": quiet, "GSE2": 0.1 * quiet}, VocabularyOptions(max_genes=5)
    ).table
    assert set(vocabulary["gene"]) == set(table.index[20:25])
    assert vocabulary["position"].tolist() == [0, 1, 2, 3, 4]
    assert vocabulary["variability"].is_monotonic_decreasing


def test_a_gene_without_any_value_is_not_measured():
    table = factor_table(10, 5, 1)
    table.iloc[2] = np.nan
    assert table.index[2] not in set(choose_vocabulary({"GSE1": table}).table["gene"])


def test_genes_at_the_floor_give_way_but_panels_lose_nothing():
    rng = np.random.default_rng(0)
    table = factor_table(60, 20, 1)
    table.iloc[:10] = rng.normal(-8, 3, (10, 20)).astype(np.float32)
    chosen = choose_vocabulary({"GSE1": table}, VocabularyOptions(max_genes=40)).table
    assert not set(chosen["gene"]) & set(table.index[:10])
    assert len(choose_vocabulary({"GSE1": table}, VocabularyOptions(max_genes=60)).table) == 60


def test_genes_that_tell_men_from_women_are_passed_over():
    table = factor_table(10, 5, 1).rename(index={factor_table(10, 5, 1).index[0]: "XIST"})
    assert "XIST" not in set(choose_vocabulary({"GSE1": table}).table["gene"])
    assert "XIST" in set(
        choose_vocabulary({"GSE1": table}, VocabularyOptions(exclude=())).table["gene"]
    )


def test_cohorts_without_a_common_gene_are_refused_with_their_sizes():
    table = factor_table(20, 5, 1)
    with pytest.raises(ExpressionError, match="GSE1 10, GSE2 10"):
        choose_vocabulary({"GSE1": table.iloc[:10], "GSE2": table.iloc[10:]})


def test_no_cohort_is_refused():
    with pytest.raises(ExpressionError, match="no cohort"):
        choose_vocabulary({})


def test_one_sample_gives_genes_without_a_variability():
    vocabulary = choose_vocabulary({"GSE1": factor_table(10, 1, 1)}).table
    assert len(vocabulary) == 10
    assert vocabulary["variability"].isna().all()


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_cohorts_genes_and_samples_changes_nothing(random):
    tables = {"GSE1": factor_table(40, 6, 1), "GSE2": factor_table(40, 7, 2).iloc[5:]}
    options = VocabularyOptions(max_genes=15)
    expected = choose_vocabulary(tables, options).table
    shuffled = {}
    for name in random.sample(sorted(tables), 2):
        table = tables[name]
        genes = random.sample(list(table.index), len(table))
        shuffled[name] = table.loc[genes, random.sample(list(table.columns), table.shape[1])]
    pd.testing.assert_frame_equal(choose_vocabulary(shuffled, options).table, expected, atol=1e-6)


def listed(tmp_path, genes, **changes):
    file = tmp_path / "list.txt"
    file.write_text("\n".join(genes))
    return VocabularyOptions(choice="gene_list", gene_list=str(file), **changes)


def test_a_list_gives_its_genes_and_tells_which_are_lacking(tmp_path):
    whole = factor_table(40, 8, 1)
    genes = list(whole.index)
    tables = {"GSE1": whole, "GSE2": whole.iloc[:30], "GSE3": whole.iloc[:20]}
    options = listed(tmp_path, [*genes[15:35], "XIST", "CD3D", "nosuch"], min_cohort_share=0.6)
    found = choose_vocabulary(tables, options)
    assert set(found.table["gene"]) == set(genes[15:30])
    report = found.report["gene_list"]
    assert report["lacking"] == {**dict.fromkeys(genes[30:35], 1), "CD3D": 0}
    assert report["excluded"] == ["XIST"]
    assert report["lost"] == ["nosuch"]
    assert report["names"]["unknown"] == 1
    assert found.report["cohorts_needed"] == 2
    json.dumps(found.report, allow_nan=False)


def test_of_a_list_that_is_too_long_the_liveliest_genes_are_taken(tmp_path):
    tables = {"GSE1": factor_table(60, 20, 1), "GSE2": factor_table(60, 20, 2)}
    everything = choose_vocabulary(tables, VocabularyOptions(max_genes=60)).table
    half = everything["gene"].tolist()[::2]
    found = choose_vocabulary(tables, listed(tmp_path, half, max_genes=10, low_expression_share=0))
    assert found.table["gene"].tolist() == half[:10]
    assert found.report["passed_over"] == 20
    # As lively in a list as among all genes.
    same = everything.set_index("gene").loc[half[:10], "variability"]
    assert found.table.set_index("gene")["variability"].equals(same)


def test_a_list_is_read_under_the_names_of_today(tmp_path):
    table = factor_table(10, 5, 1)
    table = table.rename(index={table.index[0]: "CXCL8"})
    chosen = choose_vocabulary({"GSE1": table}, listed(tmp_path, ["IL8"])).table
    assert chosen["gene"].tolist() == ["CXCL8"]


def test_sets_of_the_packaged_modules_are_a_vocabulary():
    names = sorted(read_gene_list("btm", ["M37.1", "M7.0"]).genes)[:40]
    table = factor_table(40, 6, 1).set_axis(names, axis=0)
    options = VocabularyOptions(choice="gene_list", gene_list="btm", gene_sets=("M37.1",))
    found = choose_vocabulary({"GSE1": table}, options)
    neutrophil = set(read_gene_list("btm", ["M37.1"]).genes)
    assert set(found.table["gene"]) == neutrophil & set(names)
    assert found.report["gene_list"]["sets"] == ["enriched in neutrophils (I) (M37.1)"]


def test_a_list_of_other_words_or_of_unmeasured_genes_is_refused(tmp_path):
    tables = {"GSE1": factor_table(10, 5, 1)}
    with pytest.raises(ExpressionError, match=r"3 of the 4 names in .* mean no gene"):
        choose_vocabulary(tables, listed(tmp_path, ["CD3D", "one", "two", "three"]))
    with pytest.raises(ExpressionError, match="none is measured in 1 of the 1 cohorts"):
        choose_vocabulary(tables, listed(tmp_path, ["XIST"]))


@pytest.mark.parametrize(
    ("given_options", "told"),
    [
        ({"choice": "gene_list"}, "names none"),
        ({"gene_list": "btm"}, "set that too"),
        ({"gene_sets": ("M1.0",)}, "set that too"),
    ],
)
def test_a_list_that_would_not_be_read_is_no_setting(given_options, told):
    with pytest.raises(ValueError, match=told):
        VocabularyOptions(**given_options)


@settings(max_examples=20, deadline=None)
@given(
    chosen=st.sets(st.integers(0, 39), min_size=1),
    max_genes=st.integers(1, 40),
    share=st.floats(0.1, 1),
)
def test_every_gene_of_a_list_is_accounted_for(tmp_path_factory, chosen, max_genes, share):
    whole = factor_table(40, 6, 1)
    tables = {"GSE1": whole, "GSE2": whole.iloc[5:], "GSE3": whole.iloc[10:30]}
    genes = [whole.index[at] for at in sorted(chosen)]
    options = listed(
        tmp_path_factory.mktemp("list"), genes, max_genes=max_genes, min_cohort_share=share
    )
    try:
        found = choose_vocabulary(tables, options)
    except ExpressionError as error:
        assert "none is measured" in str(error)
        return
    report = found.report["gene_list"]
    taken = found.table["gene"].tolist()
    assert set(taken) <= set(genes) - set(report["lacking"])
    assert len(taken) <= max_genes
    parts = (len(taken), found.report["passed_over"], len(report["lacking"]))
    assert sum(parts) == len(genes) == report["genes"]
    assert all(
        count == sum(gene in table.index for table in tables.values())
        for gene, count in report["lacking"].items()
    )
