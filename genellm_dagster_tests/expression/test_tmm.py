"""Counts scaled by TMM: edgeR's factors, and what they change of a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.normalisation import rank_normal, within_sample_z
from genellm_dagster.expression.options import (
    ExpressionOptions,
    ScaleOptions,
)
from genellm_dagster.expression.tmm import tmm_factors
from genellm_dagster.geo.counts import read_rnaseq_counts
from genellm_dagster_tests.expression.tables import cohort, gene_names

MIRROR = Path(__file__).resolve().parents[2].parent / "shared" / "geo"
TMM = ExpressionOptions(scale=ScaleOptions(counts="tmm"))


def counts(n_ids: int = 400, n_samples: int = 6, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    level = rng.lognormal(3, 2, (n_ids, 1)) * rng.lognormal(0, 0.3, (n_ids, n_samples))
    reads = rng.poisson(level * rng.uniform(0.5, 2, n_samples))
    # One sample is flooded by a few genes: what TMM is for.
    reads[:5, 0] += 200_000
    columns = [f"GSM{i}" for i in range(n_samples)]
    return pd.DataFrame(reads.astype(np.float32), index=gene_names(n_ids), columns=columns)


def built(reads: pd.DataFrame, options: ExpressionOptions | None = None) -> pd.DataFrame:
    return build_expression(reads, None, cohort(scale="counts"), "array", options).table


def test_factors_are_those_of_edger():
    # edgeR 3.36.0, calcNormFactors(method="TMM") of the 30 lung samples of GTEx (chromosome 21)
    # that come with RNAnorm; of its tests/files/gtex.lung.30.chr21.tmm_factors_edgeR.tsv.
    from rnanorm.datasets import load_gtex

    reads = load_gtex().exp.T
    found = pd.Series(tmm_factors(reads), index=reads.columns)
    edger = {
        "GTEX-111CU-0326-SM-5GZXO": 0.912083033240895,
        "GTEX-111FC-1126-SM-5GZWU": 1.1252919237615,
        "GTEX-11OF3-1126-SM-5986C": 0.736492185411984,
        "GTEX-11WQK-1226-SM-5GU5Z": 0.813074986422368,
    }
    for gsm, factor in edger.items():
        assert found[gsm] == pytest.approx(factor, rel=1e-12)


def test_a_sample_flooded_by_a_few_genes_is_brought_back_to_the_others():
    reads = counts()
    plain, scaled = built(reads), built(reads, TMM)
    others = [f"GSM{i}" for i in range(1, 6)]
    ordinary = plain.index.difference(gene_names(400)[:5])

    def apart(table: pd.DataFrame) -> float:
        return abs(
            (table.loc[ordinary, "GSM0"] - table.loc[ordinary, others].mean(axis=1)).median()
        )

    assert apart(plain) > 1
    assert apart(scaled) < 0.2


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.sampled_from(["median", "mean", "highest_mean"]))
def test_tmm_adds_one_number_to_a_sample_so_that_ranks_and_z_within_it_stay(seed, collapse):
    reads = counts(120, 4, seed)
    reads.index = [reads.index[i // 2] for i in range(120)]
    plain = built(reads, ExpressionOptions(collapse=collapse))
    scaled = built(reads, TMM.model_copy(update={"collapse": collapse}))
    moved = scaled - plain
    assert moved.abs().to_numpy().max() > 0.01
    np.testing.assert_allclose(moved, np.broadcast_to(moved.iloc[0], moved.shape), atol=1e-5)
    # Rounding to float32 can part values that were one, or join neighbours, and no more.
    for gsm in plain:
        in_order = scaled[gsm].to_numpy()[np.argsort(plain[gsm].to_numpy(), kind="stable")]
        assert (np.diff(in_order) >= -1e-5).all()
    np.testing.assert_allclose(within_sample_z(scaled), within_sample_z(plain), atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_samples_and_ids_changes_no_factor(random):
    reads = counts(80, 5, random.randrange(100))
    expected = dict(zip(reads.columns, tmm_factors(reads), strict=True))
    rows, columns = list(range(80)), list(reads.columns)
    random.shuffle(rows)
    random.shuffle(columns)
    found = dict(zip(columns, tmm_factors(reads.iloc[rows][columns]), strict=True))
    assert found == pytest.approx(expected, rel=1e-9)


def test_samples_that_could_all_be_the_reference_are_not_told_apart_by_their_order():
    # The same reads on other ids: libraries and quantiles, by which it is chosen, are one.
    reads = counts(200, 1)
    rng = np.random.default_rng(0)
    for place in range(1, 4):
        reads[f"GSM{place}"] = rng.permutation(reads["GSM0"].to_numpy())
    back = reads[reads.columns[::-1]]
    np.testing.assert_allclose(tmm_factors(back)[::-1], tmm_factors(reads), rtol=1e-9)


def test_factors_are_of_the_whole_library_where_an_id_has_gaps():
    reads = counts()
    expected = tmm_factors(reads)
    gap = pd.DataFrame([[np.nan, *[500.0] * 5]], index=["gap"], columns=reads.columns)
    library = reads.sum().to_numpy() + np.array([0, 500, 500, 500, 500, 500])
    effective = expected * reads.sum().to_numpy()
    found = tmm_factors(pd.concat([reads, gap])) * library
    np.testing.assert_allclose(found / found[0], effective / effective[0], rtol=1e-6)


def test_a_sample_alone_and_one_without_reads_are_as_without_tmm():
    reads = counts()
    alone = reads[["GSM3"]]
    pd.testing.assert_frame_equal(built(alone, TMM), built(alone))
    empty = reads.assign(GSM9=np.float32(0))
    assert tmm_factors(empty)[-1] == 1
    np.testing.assert_allclose(tmm_factors(empty)[:-1], tmm_factors(reads))
    assert built(empty, TMM)["GSM9"].isna().all()


def test_samples_that_cannot_be_compared_are_refused_with_the_setting_that_can():
    reads = counts()
    reads["GSM4"] = np.float32(0)
    reads.loc[reads.index[:3], "GSM4"] = 7
    with pytest.raises(ExpressionError, match=r"GSE1: Sample GSM4 shares .*log2_cpm"):
        built(reads, TMM)
    torn = counts().mask(np.eye(400, 6, dtype=bool)).iloc[:6]
    with pytest.raises(ExpressionError, match="log2_cpm"):
        tmm_factors(torn)


def test_tmm_is_marked_transductive_where_there_are_counts_only():
    reads = counts()
    report = build_expression(reads, None, cohort(scale="counts"), "array", TMM).report
    assert report["transductive"] == ["TMM of read counts"]
    assert report["scale"]["counts"] == "tmm"
    plain = build_expression(reads, None, cohort(scale="counts"), "array").report
    assert plain["transductive"] == []
    assert plain["scale"]["counts"] == "log2_cpm"
    array = build_expression(np.log2(reads + 1), None, cohort(scale="log2"), "array", TMM).report
    assert array["transductive"] == []
    assert array["scale"]["counts"] is None


@pytest.mark.skipif(not MIRROR.is_dir(), reason="no mirror of real series in ../shared/geo")
def test_ranks_of_a_real_series_do_not_hang_on_tmm():
    (path,) = MIRROR.rglob("GSE107991_raw_counts*.tsv.gz")
    reads = read_rnaseq_counts(path).iloc[:, :12]
    options = cohort(accession="GSE107991", platform="GPL20301", id_type="entrez")
    plain = build_expression(reads, None, options, "counts").table
    scaled = build_expression(reads, None, options, "counts", TMM).table
    assert (scaled - plain).iloc[0].abs().max() > 0.02
    apart = (rank_normal(scaled) - rank_normal(plain)).abs().to_numpy()
    assert apart.max() < 1e-3
