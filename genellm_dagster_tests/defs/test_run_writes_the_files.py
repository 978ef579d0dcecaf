"""A whole run writes every file that others read, in the format of the design."""

from __future__ import annotations

import html
import json
import math
import re

import pandas as pd
import pytest

from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, ONE_CLASS, Finished

COHORTS = [*CELLS[CHILDREN], *CELLS[ADULTS], ONE_CLASS]
PREDICTIONS = [
    "gsm", "cohort", "stratum", "subject", "case", "fold", "model", "score", "uncertainty",
]  # fmt: skip
CONTROLS = {
    "genellm", "genellm_random_backbone", "genellm_shuffled_labels", "genellm_shuffled_genes",
}  # fmt: skip
FITTED = {
    "best_single_gene", "logistic_regression", "elastic_net", "linear_svm", "pca_logistic",
    "random_forest", "gradient_boosting",
}  # fmt: skip
INTERVALS = ("auroc", "average_precision", "average_precision_at_half")
NUMBERS = (
    "balanced_accuracy", "sensitivity", "specificity", "brier", "ece", "calibration_slope",
    "calibration_intercept",
)  # fmt: skip


def _is_interval(value: dict[str, float]) -> bool:
    return (
        set(value) == {"value", "low", "high"} and value["low"] <= value["value"] <= (value["high"])
    )


def test_every_asset_has_its_file_where_the_design_says(finished: Finished) -> None:
    by_cohort = {
        f"{asset}/{name}{end}"
        for asset, end in (
            ("raw_series", ".json"), ("sample_sheet", ".parquet"), ("gene_expression", ".parquet"),
        )
        for name in COHORTS
    }  # fmt: skip
    by_cell = {
        f"{asset}/{stratum}/{name}{end}"
        for asset, end in (
            ("qc_expression", ".parquet"), ("blood_composition", ".parquet"),
            ("token_dataset", ".parquet"),
            ("prefix_states", ".json"),
        )
        for stratum, names in CELLS.items()
        for name in names
    }  # fmt: skip
    by_stratum = {
        f"{asset}/{stratum}{end}"
        for asset, end in (
            ("gene_vocabulary", ".parquet"), ("profiles", ".parquet"),
            ("cross_validation", ".parquet"),
            ("baseline_predictions", ".parquet"), ("adapter", ".json"),
            ("evaluation_report", ".json"), ("gene_attributions", ".parquet"),
        )
        for stratum in CELLS
    }  # fmt: skip
    alone = {
        "sample_overlap.parquet", "backbone.json", "age_comparison.json",
        "stratum_transfer.parquet", "stratum_transfer.json",
        "model_comparison.parquet", "report.html",
    }  # fmt: skip
    expected = by_cohort | by_cell | by_stratum | alone
    missing = {name for name in expected if not (finished.study_folder / name).is_file()}
    assert missing == set()


def test_only_cells_with_both_classes_have_files(finished: Finished) -> None:
    for asset in ("qc_expression", "token_dataset"):
        found = {
            (path.parent.name, path.stem)
            for path in (finished.study_folder / asset).rglob("*.parquet")
        }
        assert found == {(stratum, name) for stratum, names in CELLS.items() for name in names}


def test_nothing_half_written_is_left(finished: Finished) -> None:
    files = json.loads((finished.folder / "files.json").read_text())
    assert files
    assert [name for name in files if name.endswith((".part", ".old", ".tmp"))] == []


@pytest.mark.parametrize("stratum", CELLS)
def test_predictions_have_the_columns_that_others_read(finished: Finished, stratum: str) -> None:
    own = finished.table("cross_validation", stratum)
    assert list(own.columns) == PREDICTIONS
    assert set(own["model"]) == CONTROLS
    others = finished.table("baseline_predictions", stratum)
    assert list(others.columns) == PREDICTIONS
    assert set(others["model"]) >= FITTED
    for table in (own, others):
        assert table["score"].between(0, 1).all()
        assert (table["uncertainty"] >= 0).all()
        assert set(table["case"]) == {0, 1}
        assert set(table["stratum"]) == {stratum}
        assert not table.duplicated(["gsm", "model"]).any()
        # Whole cohorts are held out: the fold of a sample is its cohort.
        assert (table["fold"] == table["cohort"]).all()
    every = [set(rows["gsm"]) for _, rows in own.groupby("model")]
    assert every == [every[0]] * len(every)


@pytest.mark.parametrize("stratum", CELLS)
def test_evaluation_report_has_the_keys_of_the_design(finished: Finished, stratum: str) -> None:
    report = finished.json("evaluation_report", stratum)
    assert {"study", "stratum", "n", "cases", "prevalence", "folds", "models"} <= set(report)
    assert (report["study"], report["stratum"]) == ("demo", stratum)
    assert report["prevalence"] == pytest.approx(report["cases"] / report["n"])
    assert report["folds"]["kind"] == "leave_one_cohort_out"
    assert sorted(report["folds"]["names"]) == CELLS[stratum]
    assert set(report["models"]) >= CONTROLS | FITTED
    for model in report["models"].values():
        assert set(model) >= {*INTERVALS, *NUMBERS, "cohorts"}
        assert all(_is_interval(model[name]) for name in INTERVALS)
        assert all(isinstance(model[name], float) for name in NUMBERS)
        assert sorted(model["cohorts"]) == CELLS[stratum]
        for cohort in model["cohorts"].values():
            assert {"n", "cases", "auroc"} <= set(cohort)
            assert _is_interval(cohort["auroc"])
        assert sum(cohort["n"] for cohort in model["cohorts"].values()) == report["n"]


def test_numbers_of_the_report_are_those_of_the_predictions(finished: Finished) -> None:
    report = finished.json("evaluation_report", CHILDREN)
    own = finished.table("cross_validation", CHILDREN).query("model == 'genellm'")
    cases, controls = (own.loc[own["case"] == kind, "score"] for kind in (1, 0))
    above = sum((case > controls).sum() + 0.5 * (case == controls).sum() for case in cases)
    said = report["models"]["genellm"]
    assert said["auroc"]["value"] == pytest.approx(above / (len(cases) * len(controls)))
    assert said["brier"] == pytest.approx(((own["score"] - own["case"]) ** 2).mean())


def test_easy_children_are_told_apart_and_shuffled_labels_are_not(finished: Finished) -> None:
    models = finished.json("evaluation_report", CHILDREN)["models"]
    assert models["genellm"]["auroc"]["value"] > 0.75
    assert models["logistic_regression"]["auroc"]["value"] > 0.85
    shuffled = models["genellm_shuffled_labels"]["auroc"]
    assert shuffled["value"] < models["genellm"]["auroc"]["value"] - 0.1


def test_age_comparison_compares_both_strata(finished: Finished) -> None:
    comparison = finished.json("age_comparison")
    assert comparison["strata"] == [CHILDREN, ADULTS]
    for part in ("discrimination", "uncertainty", "separability", "signatures"):
        assert comparison[part]
    assert comparison["samples"][ADULTS]["cohorts"] == CELLS[ADULTS]


def test_model_comparison_has_a_row_for_each_model_and_stratum(finished: Finished) -> None:
    table = finished.table("model_comparison")
    assert not table.duplicated(["study", "stratum", "model"]).any()
    for stratum in CELLS:
        models = set(finished.json("evaluation_report", stratum)["models"])
        rows = table[table["stratum"] == stratum]
        assert set(rows["model"]) == models
        assert rows["auroc_low"].le(rows["auroc"]).all()


def test_stored_json_holds_no_nan(finished: Finished) -> None:
    def refuse(word: str) -> float:
        raise AssertionError(word)

    files = list(finished.study_folder.rglob("*.json"))
    assert len(files) > 10
    for file in files:
        json.loads(file.read_text(), parse_constant=refuse)


def test_attributions_are_of_the_samples_and_genes_of_the_stratum(finished: Finished) -> None:
    values = finished.table("gene_attributions", ADULTS)
    genes = finished.table("gene_vocabulary", ADULTS)["gene"]
    samples = finished.table("cross_validation", ADULTS)["gsm"]
    assert len(values) == finished.settings().interpretation.samples
    assert set(values.columns) <= set(genes)
    assert set(values.index) <= set(samples)
    signature = finished.table("gene_attributions", f"{ADULTS}.signature")
    assert signature["mean_abs"].is_monotonic_decreasing


def test_report_is_one_file_that_says_simulated_and_research_use_only(finished: Finished) -> None:
    page = (finished.study_folder / "report.html").read_text()
    assert "SIMULATED" in page
    assert "esearch use only" in page
    addresses = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']+)""", page)
    assert [one for one in addresses if re.match(r"(https?:)?//.*\.(js|css|png|woff)", one)] == []
    assert re.findall(r"<script[^>]+src|<link[^>]+stylesheet", page) == []


def test_report_says_which_adapter_is_registered_and_why(finished: Finished) -> None:
    page = html.unescape((finished.study_folder / "report.html").read_text())
    for stratum in CELLS:
        facts = finished.json("adapter", stratum)
        assert f"{facts['registered_model']} version {facts['version']}" in page
        assert facts["promotion"]["reason"] in page


def test_report_names_the_cohort_of_one_class(finished: Finished) -> None:
    page = (finished.study_folder / "report.html").read_text()
    assert ONE_CLASS in page
    assert "only controls" in page
    sheet = finished.table("sample_sheet", ONE_CLASS)
    assert sheet["used"].any()
    predicted = pd.concat(finished.table("cross_validation", name) for name in CELLS)
    assert ONE_CLASS not in set(predicted["cohort"])


def test_later_time_points_and_people_outside_are_kept_out(finished: Finished) -> None:
    sheet = finished.table("sample_sheet", "GSE9900003")
    later = sheet["timepoint"].notna() & (sheet["timepoint"] != "0h")
    assert later.any()
    assert not sheet.loc[later, "used"].any()
    assert (sheet.loc[~sheet["used"], "why_not"] != "").all()
    scored = finished.table("cross_validation", CHILDREN)["gsm"]
    assert set(scored).isdisjoint(sheet.loc[~sheet["used"], "gsm"])


def test_json_output_of_the_run_is_json_and_names_the_report(finished: Finished) -> None:
    said = json.loads((finished.folder / "stdout.txt").read_text())
    assert said["report"] == str(finished.study_folder / "report.html")
    assert set(said["strata"]) == set(CELLS)
    value = said["strata"][CHILDREN]["models"]["genellm"]["auroc"]["value"]
    assert math.isfinite(value)
