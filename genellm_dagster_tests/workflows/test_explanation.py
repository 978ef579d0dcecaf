"""What a run tells of its attributions: how exact they are, and what they agree with."""

from __future__ import annotations

import pandas as pd
import pytest

from genellm_dagster.files import read_json
from genellm_dagster.simulation.study import TRUTH_FILE
from genellm_dagster.workflows.explanation import (
    LOGISTIC,
    SAMPLE_COLUMNS,
    planted_genes,
    planted_in_common,
)
from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, Finished

STRATA = pytest.mark.parametrize("stratum", CELLS)


@STRATA
def test_the_facts_tell_how_exact_the_attributions_are(finished: Finished, stratum: str) -> None:
    facts = finished.json("gene_attributions", stratum)
    values = finished.table("gene_attributions", stratum)
    rows = finished.table("gene_attributions", f"{stratum}.samples")
    assert (facts["stratum"], facts["note"]) == (stratum, "")
    assert (facts["n"], facts["cases"]) == (len(values), int(rows["case"].sum()))
    assert (facts["background"], facts["genes"]) == (4, values.shape[1])
    error = facts["completeness_error"]
    assert error["median"] == pytest.approx(rows["completeness_error"].median())
    assert error["median"] <= error["p95"] <= error["worst"]
    assert error["beyond_tolerance"] == (rows["completeness_error"] > error["tolerance"]).sum()
    assert error["beyond_tolerance"] == 0


@STRATA
def test_the_attributions_of_a_sample_add_up_to_its_logit_less_the_base(
    finished: Finished, stratum: str
) -> None:
    values = finished.table("gene_attributions", stratum)
    rows = finished.table("gene_attributions", f"{stratum}.samples")
    assert tuple(rows.columns) == SAMPLE_COLUMNS
    assert rows["gsm"].tolist() == values.index.tolist()
    told = rows.set_index("gsm")
    difference = told["logit"] - told["base"]
    missed = (values.sum(axis=1) - difference).abs()
    # Not more than the tolerance of the difference, or of the largest where it is near zero.
    assert (missed <= 0.02 * difference.abs().max()).all()


@STRATA
def test_the_inputs_are_there_for_every_attribution(finished: Finished, stratum: str) -> None:
    values = finished.table("gene_attributions", stratum)
    inputs = finished.table("gene_attributions", f"{stratum}.inputs")
    pd.testing.assert_index_equal(inputs.index, values.index)
    assert inputs.isna().equals(values.isna())


@STRATA
def test_logistic_regression_is_explained_exactly_and_compared(
    finished: Finished, stratum: str
) -> None:
    facts = finished.json("gene_attributions", stratum)[LOGISTIC]
    signature = finished.table("gene_attributions", f"{stratum}.{LOGISTIC}")
    assert facts["completeness_error"]["worst"] < 1e-6
    found = facts["rank_correlation"]
    assert found["low"] <= found["value"] <= found["high"]
    assert (found["n"], found["genes"]) == (4, len(signature))
    assert 0 <= facts["top"]["overlap"] <= facts["top"]["k"]


@STRATA
def test_members_and_halves_of_the_background_are_compared(
    finished: Finished, stratum: str
) -> None:
    agreement = finished.json("gene_attributions", stratum)["agreement"]
    assert agreement["members"]["members"] == 2
    assert len(agreement["members"]["pairs"]) == 1
    for found in (agreement["members"], agreement["background"]):
        assert -1.0 <= found["value"] <= 1.0


@STRATA
def test_a_simulated_study_says_how_many_of_its_planted_genes_were_found(
    finished: Finished, stratum: str
) -> None:
    truth = read_json(finished.study_file.parent / TRUTH_FILE)["strata"][stratum]["planted"]
    genes = set(finished.table("gene_attributions", stratum).columns)
    planted = finished.json("gene_attributions", stratum)["planted"]
    assert set(planted) == {"genellm", LOGISTIC}
    for found in (planted["genellm"]["by_size"], planted[LOGISTIC]["by_separation"]):
        assert found["planted"] == len(truth)
        assert found["k"] == len(genes & {one["gene"] for one in truth})
        assert found["found"] + len(found["missed"]) == found["k"]


def test_a_real_study_has_no_planted_genes(finished: Finished) -> None:
    study = finished.study()
    assert planted_genes(study, CHILDREN)
    assert planted_genes(study.model_copy(update={"simulated": False}), CHILDREN) is None
    elsewhere = study.model_copy(update={"geo_root": "file:///nowhere/geo"})
    assert planted_genes(elsewhere, CHILDREN) is None


def test_the_comparison_of_strata_knows_what_was_planted_in_common(finished: Finished) -> None:
    truth = read_json(finished.study_file.parent / TRUTH_FILE)["strata"]
    genes = {
        stratum: set(finished.table("gene_attributions", f"{stratum}.signature")["gene"])
        for stratum in CELLS
    }
    common = genes[CHILDREN] & genes[ADULTS]
    sides = [{one["gene"] for one in truth[stratum]["planted"]} & common for stratum in CELLS]
    planted = finished.json("age_comparison")["signatures"]["planted"]
    assert set(planted) == {"by_size", "by_separation"}
    for (found,) in planted.values():
        assert found["strata"] == list(CELLS)
        assert found["genes"] == len(common)
        assert found["planted_in_common"] == len(sides[0] & sides[1])
        assert found["k"] == min(map(len, sides))
        assert isinstance(found["recovered"], bool)


def test_signatures_of_the_planted_genes_alone_are_recovered(finished: Finished) -> None:
    study = finished.study()
    signatures = {}
    for stratum in CELLS:
        signature = finished.table("gene_attributions", f"{stratum}.signature")
        planted = signature["gene"].isin(planted_genes(study, stratum)).astype(float)
        signatures[stratum] = signature.assign(mean_abs=planted, separation=1 - planted)
    found = planted_in_common(study, signatures)
    assert found["by_size"][0]["recovered"] is True
    assert found["by_size"][0]["overlap"] == found["by_size"][0]["planted_in_common"]


def test_a_real_study_or_one_stratum_has_nothing_planted_in_common(finished: Finished) -> None:
    study = finished.study()
    tables = {one: finished.table("gene_attributions", f"{one}.signature") for one in CELLS}
    assert planted_in_common(study, {CHILDREN: tables[CHILDREN]}) is None
    assert planted_in_common(study.model_copy(update={"simulated": False}), tables) is None
