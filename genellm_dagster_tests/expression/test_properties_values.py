"""Properties of the way from ids and submitted values to genes: mapping, scale, collapse."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.expression.collapse import collapse
from genellm_dagster.expression.mapping import GeneMap, map_ids
from genellm_dagster.expression.options import MappingOptions
from genellm_dagster.expression.scale import detect_scale, log2_of, quantiles_of
from genellm_dagster_tests.expression.steps import HOSTILE, TINY, hostile, plain, strange, tables

METHODS = ("median", "mean", "highest_mean", "highest_variance")
ordinary = settings(max_examples=40, deadline=None)
shuffles = st.randoms(use_true_random=False)

# Approved, former, ambiguous, of Excel's, several, padded, unknown, none; TP53 is always there.
NAMES = (
    "A1BG", "IL8", "CXCL8", "C9orf95", "1-Dec", "2-Sep", "A1BG///TP53", "MIR21 /// VMP1", " IL6 ",
    "nobody", "", "---", "NA", "KIAA1370", "SEPT4", "7157", "3576", "ENSG00000141510.17", "0", "-1",
)  # fmt: skip
OF_A_PLATFORM = pd.DataFrame(
    {
        "id": [f"probe{number}" for number in range(12)],
        "symbol": [*NAMES[:10], None, "TP53"],
        "entrez": [*[None] * 5, "3576", "1///7157", "0", None, "999999999", "7157", None],
        "ensembl": [*[None] * 10, "ENSG00000141510", None],
    }
)
IDS = {
    "symbol": (st.sampled_from(NAMES), "TP53"),
    "entrez": (st.sampled_from(NAMES), "7157"),
    "ensembl": (st.sampled_from(NAMES), "ENSG00000141510"),
    "probe": (st.sampled_from([*OF_A_PLATFORM["id"], "no probe"]), "probe11"),
}
RULES = [
    MappingOptions(multi_gene=several, unknown_symbols=unknown, min_mapped_share=0)
    for several in ("one_protein_coding", "drop", "first", "all")
    for unknown in ("drop", "keep")
]


@st.composite
def ids_of(draw: st.DrawFn) -> tuple[str, list[str]]:
    id_type = draw(st.sampled_from(sorted(IDS)))
    some, known = IDS[id_type]
    return id_type, [*draw(st.lists(some, max_size=12)), known]


def mapped(ids: list[str], id_type: str, options: MappingOptions, table=OF_A_PLATFORM) -> GeneMap:
    return map_ids(pd.Index(ids), id_type, table if id_type == "probe" else None, options)


def by_id(ids: list[str], found: GeneMap) -> list[tuple[str, list[str]]]:
    return [(one, list(found.genes[found.rows == row])) for row, one in enumerate(ids)]


@ordinary
@given(ids_of(), st.sampled_from(RULES), shuffles)
def test_an_id_names_its_genes_whatever_ids_stand_beside_it(given_ids, options, random):
    id_type, ids = given_ids
    found = mapped(ids, id_type, options)
    order = random.sample(range(len(ids)), len(ids))
    rows = OF_A_PLATFORM.iloc[random.sample(range(12), 12)]
    other = mapped([ids[place] for place in order], id_type, options, rows)
    expected = by_id(ids, found)
    assert by_id([ids[place] for place in order], other) == [expected[place] for place in order]
    assert (other.counts, other.mapped_by) == (found.counts, found.mapped_by)
    part = random.sample(ids, random.randrange(len(ids)))
    alone = by_id([*part, ids[-1]], mapped([*part, ids[-1]], id_type, options))
    assert all(one in expected for one in alone)


@ordinary
@given(ids_of(), st.sampled_from(RULES))
def test_genes_that_were_mapped_are_mapped_to_themselves(given_ids, options):
    id_type, ids = given_ids
    genes = [str(gene) for gene in mapped(ids, id_type, options).genes]
    again = mapped(genes, "symbol", options)
    assert list(again.genes) == genes
    assert again.rows.tolist() == list(range(len(genes)))


@ordinary
@given(tables(hostile), shuffles)
def test_quantiles_are_of_the_numbers_alone_in_any_order(table, random):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = quantiles_of(table)
        scale = detect_scale(table)
    finite = table.to_numpy(dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    for name, value in found.items():
        assert value == pytest.approx(np.quantile(finite, float(name[1:]) / 100), rel=1e-6)
    # Neither order nor what is no number takes part.
    genes = random.sample(list(table.index), len(table))
    columns = random.sample(list(table.columns), table.shape[1])
    mixed = table.loc[genes, columns]
    nothing = pd.DataFrame([[np.nan] * mixed.shape[1]] * 3, ["x", "y", "z"], mixed.columns)
    nothing.iloc[0, 0], nothing.iloc[1, 0] = np.inf, -np.inf
    assert detect_scale(pd.concat([mixed, nothing]).astype(np.float32)) == scale


@ordinary
@given(st.floats(5, 10), st.floats(1.2, 2.5), st.integers(0, 999), st.floats(0, 0.3))
def test_intensities_brought_to_log2_are_not_brought_there_again(level, spread, seed, gaps):
    random = np.random.default_rng(seed)
    values = np.exp2(random.normal(level, spread, (300, 6))).astype(np.float32)
    values[random.random(values.shape) < gaps] = np.nan
    table = pd.DataFrame(values)
    assert detect_scale(table).kind == "linear"
    to_log2 = log2_of(table, "linear")
    log2 = table.apply(lambda sample: to_log2(sample.to_numpy()))
    assert detect_scale(log2).kind == "log2"
    assert log2_of(log2, "log2") is None
    pd.testing.assert_frame_equal(log2.isna(), table.isna())


@st.composite
def probes(draw: st.DrawFn, values: st.SearchStrategy) -> tuple[pd.DataFrame, np.ndarray]:
    """Few ids and few values, so that ids repeat and probes of a gene are alike but for order."""
    samples = draw(st.integers(1, 4))
    cell = st.one_of(values, values, st.just(np.nan))
    rows = draw(
        st.lists(st.lists(cell, min_size=samples, max_size=samples), min_size=1, max_size=9)
    )
    # The same probe once more with its values the other way round: equal means and variances.
    rows += [row[::-1] for row in rows]
    half = draw(st.lists(st.sampled_from("pqr"), min_size=len(rows) // 2, max_size=len(rows) // 2))
    genes = draw(st.lists(st.sampled_from("AB"), min_size=len(half), max_size=len(half)))
    columns = draw(st.permutations([f"GSM{number}" for number in range(samples)]))
    table = pd.DataFrame(np.array(rows, dtype=np.float32), index=half * 2, columns=columns)
    return table, np.array(genes * 2, dtype=object)


@pytest.mark.parametrize("method", METHODS)
@ordinary
@given(made=probes(st.one_of(plain, st.sampled_from([0.1, 0.2, 0.3, 0.7]))), random=shuffles)
def test_neither_the_order_of_probes_nor_that_of_samples_chooses_a_probe(method, made, random):
    table, genes = made
    expected, counts = collapse(table, genes, method)
    rows = random.sample(range(len(table)), len(table))
    columns = random.sample(list(table.columns), table.shape[1])
    found, other_counts = collapse(table.iloc[rows][columns], genes[rows], method)
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_exact=True)
    assert other_counts == counts


@pytest.mark.parametrize("method", METHODS)
@ordinary
@given(made=probes(hostile))
def test_a_gene_lies_among_its_probes_and_is_missing_where_they_are(method, made):
    table, genes = made
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found, _ = collapse(table, genes, method)
    for gene in found.index:
        of_gene = table[genes == gene].reset_index(drop=True)
        low, high = of_gene.min(), of_gene.max()
        told = found.loc[gene]
        assert not told[of_gene.isna().all()].notna().any()
        if method in ("median", "mean"):
            assert told[of_gene.notna().any()].notna().all()
        else:
            assert (of_gene.eq(told) | (of_gene.isna() & told.isna())).all(axis=1).any()
        known = told.dropna().astype(np.float64)
        # Half of the smallest number that there is is none.
        assert (known >= low[known.index] - TINY).all()
        assert (known <= high[known.index] + TINY).all()
    again, counts = collapse(found, found.index.to_numpy(), method)
    pd.testing.assert_frame_equal(again, found, check_exact=True)
    assert counts["probes"] == counts["genes"]


@ordinary
@given(made=probes(strange), value=st.sampled_from(HOSTILE))
def test_probes_of_another_gene_take_no_part(made, value):
    table, genes = made
    for method in METHODS:
        expected, _ = collapse(table, genes, method)
        for gene in expected.index:
            changed = table.copy()
            changed.loc[genes != gene] = np.float32(value)
            found, _ = collapse(changed, genes, method)
            pd.testing.assert_frame_equal(found.loc[[gene]], expected.loc[[gene]], check_exact=True)
