"""A cohort enters a stratum only where label and batch can be told apart."""

from __future__ import annotations

import pandas as pd
import pytest

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.plan import STRATUM_COLUMNS, samples_by_stratum
from genellm_dagster.studies.study import Study
from genellm_dagster_tests.studies.makers import cohort_of, samples_of, study_of

RULES = {
    "age": {"field": "characteristics: age"},
    "subject": {"field": "characteristics: who"},
}
ONE, TWO = cohort_of(RULES), cohort_of(RULES, accession="GSE2")


def sheets_of(study: Study, **cohorts: list[tuple[str, str, str]]) -> dict[str, pd.DataFrame]:
    """Make sheets from (label, age, subject) a sample; GSMs are counted through the cohorts."""
    sheets, start = {}, 0
    for name, rows in cohorts.items():
        state, age, who = (list(column) for column in zip(*rows, strict=True))
        samples = samples_of(len(rows), state=state, age=age, who=who)
        samples["gsm"] = [f"GSM{start + i}" for i in range(len(rows))]
        start += len(rows)
        sheets[name] = build_sample_sheet(samples, study.cohort(name), study)
    return sheets


BOTH = [("sepsis", "5", "1"), ("healthy", "6", "2"), ("healthy", "40", "3")]
ADULTS = [("sepsis", "50", "1"), ("healthy", "60", "2")]


def test_single_class_cells_are_left_out_with_a_reason() -> None:
    study = study_of(ONE, TWO)
    plan = samples_by_stratum(sheets_of(study, GSE1=BOTH, GSE2=ADULTS), study)
    assert plan.cells == {"pediatric": ["GSE1"], "adult": ["GSE2"]}
    (out,) = plan.left_out
    assert (out.cohort, out.stratum, out.n, out.cases) == ("GSE1", "adult", 1, 0)
    assert "only controls" in out.reason
    frame = plan.samples("adult")
    assert tuple(frame.columns) == STRATUM_COLUMNS
    assert frame["case"].tolist() == [1, 0] and frame["cohort"].unique().tolist() == ["GSE2"]


def test_single_class_cells_enter_when_the_study_allows_it() -> None:
    study = study_of(ONE, TWO, allow_single_class=True)
    plan = samples_by_stratum(sheets_of(study, GSE1=BOTH, GSE2=ADULTS), study)
    assert plan.cells["adult"] == ["GSE1", "GSE2"] and plan.left_out == []
    assert len(plan.samples("adult")) == 3


def test_people_of_different_series_are_never_taken_for_one() -> None:
    study = study_of(ONE, TWO, allow_single_class=True)
    plan = samples_by_stratum(sheets_of(study, GSE1=BOTH, GSE2=ADULTS), study)
    assert plan.samples("adult")["subject"].tolist() == ["GSE1:3", "GSE2:1", "GSE2:2"]


def test_two_platforms_of_one_series_share_their_people() -> None:
    platforms = {f"GSE1-{name}": cohort_of(RULES, platform=name) for name in ("GPL570", "GPL96")}
    study = study_of(cohorts=list(platforms), cohort_files=platforms)
    plan = samples_by_stratum(sheets_of(study, **dict.fromkeys(platforms, ADULTS)), study)
    assert plan.samples("adult")["subject"].value_counts().to_dict() == {"GSE1:1": 2, "GSE1:2": 2}


def test_a_gsm_of_two_cohorts_is_used_once_and_said() -> None:
    study = study_of(ONE, TWO)
    sheets = sheets_of(study, GSE1=ADULTS, GSE2=[*ADULTS, *ADULTS])
    sheets["GSE2"]["gsm"] = ["GSM0", "GSM1", "GSM8", "GSM9"]
    plan = samples_by_stratum(sheets, study)
    assert plan.samples("adult")["gsm"].tolist() == ["GSM0", "GSM1", "GSM8", "GSM9"]
    (out,) = plan.left_out
    assert (out.n, out.cases, out.cohort) == (2, 1, "GSE2") and "GSE1 already" in out.reason


def test_an_empty_stratum_is_told_and_asking_for_it_is_refused() -> None:
    study = study_of(TWO)
    plan = samples_by_stratum(sheets_of(study, GSE2=ADULTS), study)
    assert plan.empty == {"pediatric": "pediatric: no cohort has a usable sample"}
    with pytest.raises(StudyError, match=r"'pediatric' has no samples.*strata with data are adult"):
        plan.samples("pediatric")


@pytest.mark.parametrize("allowed", [False, True])
def test_a_study_without_both_classes_anywhere_is_refused(allowed: bool) -> None:
    study = study_of(TWO, allow_single_class=allowed)
    with pytest.raises(StudyError, match="GSE2 has 1 cases and 0 controls"):
        samples_by_stratum(sheets_of(study, GSE2=ADULTS[:1]), study)


def test_the_frame_of_a_stratum_is_the_callers_own() -> None:
    study = study_of(TWO)
    plan = samples_by_stratum(sheets_of(study, GSE2=ADULTS), study)
    plan.samples("adult")["case"] = 0
    assert plan.samples("adult")["case"].sum() == 1
