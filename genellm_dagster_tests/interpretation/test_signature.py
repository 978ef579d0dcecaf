"""Gene signatures and their stability."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import EvaluationError
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.interpretation.signature import gene_signature

OPTIONS = InterpretationOptions(top_genes=3, bootstraps=200)


def tables(seed: int = 0, n: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Genes whose attribution is weight x value; the weights fall, every second is negative."""
    weights = np.array([8.0, -4.0, 2.0, -0.2, 0.2, -0.1, 0.0])
    columns = [f"G{number}" for number in range(len(weights))]
    index = pd.Index([f"GSM{row}" for row in range(n)], name="gsm")
    inputs = np.random.default_rng(seed).normal(size=(n, len(weights)))
    return (
        pd.DataFrame(inputs * weights, index=index, columns=columns),
        pd.DataFrame(inputs, index=index, columns=columns),
    )


def test_genes_are_ranked_by_the_mean_size_of_their_attributions() -> None:
    values, inputs = tables()
    found = gene_signature(values, inputs, OPTIONS, seed=1)
    assert list(found.columns) == ["gene", "mean_abs", "mean_signed", "stability", "rank"]
    assert found["gene"].tolist()[:3] == ["G0", "G1", "G2"]
    assert found["rank"].tolist() == list(range(1, 8))
    by_gene = found.set_index("gene")["mean_abs"]
    for gene in values.columns:
        assert by_gene[gene] == pytest.approx(values[gene].abs().mean())


def test_the_sign_says_what_more_of_the_gene_does() -> None:
    values, inputs = tables()
    found = gene_signature(values, inputs, OPTIONS, seed=1).set_index("gene")
    assert found.loc["G0", "mean_signed"] == pytest.approx(found.loc["G0", "mean_abs"])
    assert found.loc["G1", "mean_signed"] == pytest.approx(-found.loc["G1", "mean_abs"])


def test_stability_is_one_for_strong_genes_and_zero_for_genes_without_attribution() -> None:
    stability = gene_signature(*tables(), OPTIONS, seed=1).set_index("gene")["stability"]
    assert stability[["G0", "G1", "G2"]].tolist() == [1.0, 1.0, 1.0]
    assert stability["G6"] == 0.0
    assert stability.sum() == pytest.approx(OPTIONS.top_genes)


def test_a_gene_that_one_sample_alone_makes_strong_is_unstable() -> None:
    values, inputs = tables()
    values["G4"] = 0.0
    values.loc["GSM3", "G4"] = 100.0
    stability = gene_signature(values, inputs, OPTIONS, seed=1).set_index("gene")["stability"]
    # It is in the list whenever its sample is drawn: 1 - (1 - 1/30)^30 of the resamples.
    assert stability["G4"] == pytest.approx(1 - (29 / 30) ** 30, abs=0.12)


def test_a_gene_counts_over_the_samples_that_have_it() -> None:
    values, inputs = tables()
    values.loc["GSM0":"GSM14", "G1"] = np.nan
    values["G5"] = np.nan
    found = gene_signature(values, inputs, OPTIONS, seed=1)
    assert "G5" not in found["gene"].tolist()
    assert found.set_index("gene").loc["G1", "mean_abs"] == pytest.approx(
        values["G1"].dropna().abs().mean()
    )
    assert not found.isna().any().any()


def test_the_same_seed_gives_the_same_table_whatever_the_order_of_the_genes() -> None:
    values, inputs = tables(seed=4)
    found = gene_signature(values, inputs, OPTIONS, seed=7)
    turned = gene_signature(values[values.columns[::-1]], inputs, OPTIONS, seed=7)
    pd.testing.assert_frame_equal(found, turned)


def test_fewer_genes_than_the_signature_is_long_are_no_hindrance() -> None:
    values, inputs = tables()
    found = gene_signature(values[["G0"]], inputs, OPTIONS, seed=1)
    assert found["stability"].tolist() == [1.0]


def test_no_attributions_are_said() -> None:
    values, inputs = tables()
    with pytest.raises(EvaluationError, match="no attributions"):
        gene_signature(values.iloc[:0], inputs, OPTIONS, seed=1)
