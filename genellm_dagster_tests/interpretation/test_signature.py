"""Gene signatures and their stability."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import EvaluationError
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.interpretation.signature import (
    Everyone,
    by_separation,
    gene_separation,
    gene_signature,
)

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


def signature(values: pd.DataFrame, inputs: pd.DataFrame, seed: int) -> pd.DataFrame:
    halves = np.arange(len(inputs)) % 2
    everyone = Everyone(inputs, np.zeros(len(inputs)), halves)
    return gene_signature(values, inputs, everyone, OPTIONS, seed)


def test_genes_are_ranked_by_the_mean_size_of_their_attributions() -> None:
    values, inputs = tables()
    found = signature(values, inputs, seed=1)
    assert list(found.columns) == [
        "gene", "mean_abs", "mean_signed", "stability", "rank", "separation",
    ]  # fmt: skip
    assert found["gene"].tolist()[:3] == ["G0", "G1", "G2"]
    assert found["rank"].tolist() == list(range(1, 8))
    by_gene = found.set_index("gene")["mean_abs"]
    for gene in values.columns:
        assert by_gene[gene] == pytest.approx(values[gene].abs().mean())


def test_the_sign_says_what_more_of_the_gene_does() -> None:
    values, inputs = tables()
    found = signature(values, inputs, seed=1).set_index("gene")
    assert found.loc["G0", "mean_signed"] == pytest.approx(found.loc["G0", "mean_abs"])
    assert found.loc["G1", "mean_signed"] == pytest.approx(-found.loc["G1", "mean_abs"])


def test_stability_is_one_for_strong_genes_and_zero_for_genes_without_attribution() -> None:
    stability = signature(*tables(), seed=1).set_index("gene")["stability"]
    assert stability[["G0", "G1", "G2"]].tolist() == [1.0, 1.0, 1.0]
    assert stability["G6"] == 0.0
    assert stability.sum() == pytest.approx(OPTIONS.top_genes)


def test_a_gene_that_one_sample_alone_makes_strong_is_unstable() -> None:
    values, inputs = tables()
    values["G4"] = 0.0
    values.loc["GSM3", "G4"] = 100.0
    stability = signature(values, inputs, seed=1).set_index("gene")["stability"]
    # It is in the list whenever its sample is drawn: 1 - (1 - 1/30)^30 of the resamples.
    assert stability["G4"] == pytest.approx(1 - (29 / 30) ** 30, abs=0.12)


def test_a_gene_counts_over_the_samples_that_have_it() -> None:
    values, inputs = tables()
    values.loc["GSM0":"GSM14", "G1"] = np.nan
    values["G5"] = np.nan
    found = signature(values, inputs, seed=1)
    assert "G5" not in found["gene"].tolist()
    assert found.set_index("gene").loc["G1", "mean_abs"] == pytest.approx(
        values["G1"].dropna().abs().mean()
    )
    assert not found.isna().any().any()


def test_the_same_seed_gives_the_same_table_whatever_the_order_of_the_genes() -> None:
    values, inputs = tables(seed=4)
    found = signature(values, inputs, seed=7)
    turned = signature(values[values.columns[::-1]], inputs, seed=7)
    pd.testing.assert_frame_equal(found, turned)


def test_fewer_genes_than_the_signature_is_long_are_no_hindrance() -> None:
    values, inputs = tables()
    found = signature(values[["G0"]], inputs, seed=1)
    assert found["stability"].tolist() == [1.0]


def test_no_attributions_are_said() -> None:
    values, inputs = tables()
    with pytest.raises(EvaluationError, match="no attributions"):
        signature(values.iloc[:0], inputs, seed=1)


def everyone_with(shift: dict[str, float], n: int = 400, cohorts: int = 2) -> Everyone:
    """Samples whose cases have more of some genes; cohorts lie far apart, and differ in cases."""
    random = np.random.default_rng(9)
    case = (random.uniform(size=n) < np.where(np.arange(n) % cohorts, 0.8, 0.3)).astype(int)
    cohort = np.arange(n) % cohorts
    columns = [f"G{number}" for number in range(7)]
    inputs = pd.DataFrame(random.normal(size=(n, 7)), columns=columns)
    inputs += 5.0 * cohort[:, None]
    for gene, by in shift.items():
        inputs[gene] += by * case
    return Everyone(inputs, cohort, case)


def test_separation_is_weight_times_the_difference_of_the_classes_within_cohorts() -> None:
    values, inputs = tables()
    found = gene_separation(values, inputs, everyone_with({"G0": 1.0, "G1": -2.0}))
    assert found["G0"] == pytest.approx(8.0 * 1.0, abs=1.5)
    assert found["G1"] == pytest.approx(-4.0 * -2.0, abs=0.8)
    # A large weight on a gene that does not differ moves nothing apart, whatever the cohorts do.
    assert abs(found["G2"]) < 0.5


def test_separation_of_a_plain_linear_model_is_that_of_its_mean_logits() -> None:
    values, inputs = tables()
    everyone = everyone_with({"G0": 1.0, "G3": 1.0}, cohorts=1)
    weights = np.array([8.0, -4.0, 2.0, -0.2, 0.2, -0.1, 0.0])
    logit = everyone.inputs.to_numpy() @ weights
    wanted = logit[everyone.case == 1].mean() - logit[everyone.case == 0].mean()
    assert gene_separation(values, inputs, everyone).sum() == pytest.approx(wanted)


def test_genes_that_push_the_wrong_way_come_last_by_separation() -> None:
    values, inputs = tables()
    found = gene_signature(
        values, inputs, everyone_with({"G0": -1.0, "G1": -1.0, "G2": 3.0}), OPTIONS, seed=1
    )
    order = by_separation(found)
    assert order[:2] == ["G2", "G1"]
    assert order[-1] == "G0"


def test_absent_genes_play_no_part_in_separation() -> None:
    values, inputs = tables()
    everyone = everyone_with({"G0": 1.0, "G1": 1.0})
    holes = everyone.inputs.copy()
    holes.loc[everyone.cohorts == 1, "G1"] = np.nan
    found = gene_separation(values, inputs, Everyone(holes, everyone.cohorts, everyone.case))
    own = everyone.cohorts == 0
    told, case = everyone.inputs["G1"].to_numpy()[own], everyone.case[own]
    assert found["G1"] == pytest.approx(-4.0 * (told[case == 1].mean() - told[case == 0].mean()))
    assert gene_separation(values, inputs, everyone)["G0"] == pytest.approx(found["G0"])


def test_one_class_alone_separates_nothing() -> None:
    values, inputs = tables()
    everyone = everyone_with({"G0": 1.0})
    alone = Everyone(everyone.inputs, everyone.cohorts, np.ones_like(everyone.case))
    assert (gene_separation(values, inputs, alone) == 0.0).all()
