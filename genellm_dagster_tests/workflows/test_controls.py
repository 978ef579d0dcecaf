"""Controls of GeneLLM: permuted labels several times, and names that belong to other genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from sklearn.metrics import roc_auc_score

from genellm_dagster.evaluation.folds import make_folds
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.workflows.control_results import control_results
from genellm_dagster.workflows.sessions import SHUFFLED_GENES, sessions, with_permuted_genes
from genellm_dagster_tests.finished import CELLS, CHILDREN, Finished

OPTIONS = EvaluationOptions()


def permutations(count: int) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    random = np.random.default_rng(2)
    samples = pd.DataFrame(
        {
            "gsm": [f"GSM{i}" for i in range(80)],
            "cohort": np.repeat(["GSE1", "GSE2"], 40),
            "subject": [f"p{i}" for i in range(80)],
            "case": np.tile([0, 1], 40),
        }
    )
    return [samples.assign(score=random.random(80)) for _ in range(count)], samples


def results(count: int) -> tuple[dict, list[pd.DataFrame]]:
    tables, samples = permutations(count)
    folds = make_folds(samples, None, OPTIONS)
    return control_results("s", "adult", tables, folds, OPTIONS, None), tables


def test_every_permutation_has_its_number_and_the_mean_is_students() -> None:
    found, tables = results(5)
    said = found["shuffled_labels"]
    values = [roc_auc_score(table["case"], table["score"]) for table in tables]
    assert [one["auroc"]["value"] for one in said["each"]] == pytest.approx(values)
    assert said["auroc"]["value"] == pytest.approx(np.mean(values))
    interval = ttest_1samp(values, 0.5).confidence_interval(0.95)
    assert (said["auroc"]["low"], said["auroc"]["high"]) == pytest.approx(tuple(interval))
    assert said["auroc"]["lowest"] == pytest.approx(min(values))
    assert said["auroc"]["highest"] == pytest.approx(max(values))
    inside = [
        np.mean([roc_auc_score(p["case"], p["score"]) for _, p in table.groupby("cohort")])
        for table in tables
    ]
    assert [one["auroc_within_cohorts"] for one in said["each"]] == pytest.approx(inside)
    assert (found["n"], found["cases"], found["prevalence"]) == (80, 40, 0.5)
    assert found["shuffled_genes"] is None


def test_one_permutation_has_no_spread_and_none_has_no_entry() -> None:
    one = results(1)[0]["shuffled_labels"]["auroc"]
    assert one["value"] is not None and one["low"] is None
    assert "no spread" in one["reason"]
    assert results(0)[0]["shuffled_labels"] is None


@given(st.integers(2, 400), st.integers(0, 1000))
def test_no_gene_keeps_its_name_and_no_name_is_lost(genes: int, seed: int) -> None:
    names = [f"G{i}" for i in range(genes)]
    description = {"kind": "value", "genes": names, "medians": [1.0]}
    found = with_permuted_genes(description, seed)
    assert sorted(found["genes"]) == sorted(names)
    assert all(one != other for one, other in zip(found["genes"], names, strict=True))
    assert found["medians"] == [1.0] and description["genes"] == names
    assert found == with_permuted_genes(description, seed)


def test_controls_that_are_switched_off_need_no_session(finished: Finished) -> None:
    backbone = finished.json("backbone")
    tokenizer = finished.json("tokenizer", CHILDREN)

    def names(controls: dict | bool) -> set[str]:
        settings = finished.settings(controls=controls)
        return set(sessions(settings, finished.of_study, backbone, tokenizer))

    assert names(True) == {"pretrained", "random", "shuffled_genes"}
    assert names({"shuffled_genes": False}) == {"pretrained", "random"}
    assert names({"random_backbone": False}) == {"pretrained", "shuffled_genes"}
    assert names(False) == {"pretrained"}


def test_permuted_names_change_the_embedding_of_a_gene_and_nothing_else(
    finished: Finished,
) -> None:
    found = sessions(
        finished.settings(), finished.of_study, finished.json("backbone"),
        finished.json("tokenizer", CHILDREN),
    )  # fmt: skip
    own, permuted = found["pretrained"], found[SHUFFLED_GENES]
    assert permuted.weights is own.weights
    assert permuted.states.address != own.states.address
    table, other = (one.encoder.embedding for one in (own, permuted))
    names = own.tokenizer["genes"]
    moved = [names.index(name) for name in permuted.tokenizer["genes"]]
    np.testing.assert_array_equal(other.table.numpy(), table.table.numpy()[moved])
    np.testing.assert_array_equal(other.direction.numpy(), table.direction.numpy())


@pytest.mark.parametrize("stratum", CELLS)
def test_a_run_keeps_every_permutation_and_the_first_is_the_models(
    finished: Finished, stratum: str
) -> None:
    found = finished.json("cross_validation", f"{stratum}.controls")
    said = found["shuffled_labels"]
    assert said["permutations"] == len(said["each"]) == 2
    report = finished.json("evaluation_report", stratum)
    first = report["models"]["genellm_shuffled_labels"]["auroc"]
    assert said["each"][0]["auroc"] == first
    assert said["each"][1]["auroc"]["value"] != first["value"]
    assert found["shuffled_genes"]["model"] in report["models"]
    assert (found["n"], found["cases"]) == (report["n"], report["cases"])
