"""New samples in a plain table, and series that no cohort file describes, are scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.errors import ExpressionError, ModelError, StudyError
from genellm_dagster.workflows.new_cohort import NewScores, predict_cohort
from genellm_dagster.workflows.new_samples import predict_table
from genellm_dagster_tests.finished import CELLS, CHILDREN, NEW, Finished

COHORT = CELLS[CHILDREN][0]


@pytest.fixture(scope="module")
def expression(finished: Finished) -> pd.DataFrame:
    table = finished.table("gene_expression", COHORT)
    return table.iloc[:, :12]


def _score(finished: Finished, table: pd.DataFrame, path: Path, **others) -> NewScores:
    table.to_csv(path, sep="\t")
    changes = others.pop("settings", {})
    return predict_table(finished.settings(**changes), finished.study(), CHILDREN, path, **others)


@pytest.fixture(scope="module")
def scored(finished: Finished, expression: pd.DataFrame, tmp_path_factory) -> NewScores:
    return _score(finished, expression, tmp_path_factory.mktemp("new") / "all.tsv")


def test_a_table_gets_the_scores_of_its_cohort(finished: Finished, scored: NewScores) -> None:
    cohort = predict_cohort(finished.settings(), finished.study(), CHILDREN, COHORT).table
    both = scored.table.merge(cohort, on="gsm", suffixes=("_now", "_then"))
    assert len(both) == len(scored.table) == 12
    assert both["score_then"].std() > 0.01
    np.testing.assert_allclose(both["score_now"], both["score_then"], atol=1e-5)
    np.testing.assert_allclose(both["uncertainty_now"], both["uncertainty_then"], atol=1e-5)
    assert list(scored.table.columns) == list(cohort.columns)
    assert scored.table["case"].isna().all()
    assert scored.table["coverage"].between(0.5, 1).all()
    assert scored.marks == []
    assert any("12 samples in columns" in note for note in scored.notes)


def test_a_sample_alone_gets_the_score_it_gets_among_others(
    finished: Finished, expression: pd.DataFrame, scored: NewScores, tmp_path: Path
) -> None:
    whole = scored.table.set_index("gsm")
    for gsm in expression.columns[:3]:
        alone = _score(finished, expression[[gsm]], tmp_path / "one.tsv").table.iloc[0]
        assert alone["score"] == pytest.approx(whole.loc[gsm, "score"], abs=1e-5)
        assert alone["uncertainty"] == pytest.approx(whole.loc[gsm, "uncertainty"], abs=1e-5)


def test_nothing_of_a_table_stays_in_the_store(
    finished: Finished, expression: pd.DataFrame, tmp_path: Path
) -> None:
    before = sorted(finished.store.rglob("*"))
    _score(finished, expression.iloc[:, :2] + 0.25 * np.eye(len(expression), 2), tmp_path / "t.tsv")
    assert sorted(finished.store.rglob("*")) == before


def test_order_of_samples_and_genes_and_company_change_no_score(
    finished: Finished, expression: pd.DataFrame, scored: NewScores, tmp_path: Path
) -> None:
    shuffled = expression.sample(frac=1, random_state=1).iloc[:, [7, 0, 3]]
    # Company with other genes missing makes batches of other lengths.
    company = shuffled.iloc[:, 0].mask(np.arange(len(shuffled)) % 5 == 0).rename("torn")
    again = _score(finished, shuffled.join(company), tmp_path / "t.tsv").table.set_index("gsm")
    whole = scored.table.set_index("gsm")
    for gsm in shuffled.columns:
        assert again.loc[gsm, "score"] == pytest.approx(whole.loc[gsm, "score"], abs=1e-5)


def test_linear_values_and_samples_in_rows_give_the_same_scores(
    finished: Finished, expression: pd.DataFrame, scored: NewScores, tmp_path: Path
) -> None:
    path = tmp_path / "turned.csv"
    (2 ** expression.astype(np.float64)).T.to_csv(path)
    said = predict_table(finished.settings(), finished.study(), CHILDREN, path)
    assert any("read as linear" in note for note in said.notes)
    assert any("12 samples in rows" in note for note in said.notes)
    # The lowest hundredth of linear values is raised to one floor, so that few ranks are tied.
    np.testing.assert_allclose(said.table["score"], scored.table["score"], atol=0.02)


def test_a_sample_with_too_few_genes_is_refused_and_the_others_are_scored(
    finished: Finished, expression: pd.DataFrame, scored: NewScores, tmp_path: Path
) -> None:
    torn = expression.copy()
    torn.iloc[np.arange(len(torn)) % 10 != 0, 4] = np.nan
    said = _score(finished, torn, tmp_path / "torn.tsv")
    gsm = expression.columns[4]
    assert set(said.refused) == {gsm}
    assert 0 < said.refused[gsm] < 0.5
    assert gsm in said.refusal
    kept = scored.table[scored.table["gsm"] != gsm]
    assert list(said.table["gsm"]) == list(kept["gsm"])
    np.testing.assert_allclose(said.table["score"], kept["score"], atol=1e-5)


def test_a_table_of_few_genes_is_refused(
    finished: Finished, expression: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"few.tsv has \d+% of the model's \d+ genes, fewer"):
        _score(finished, expression.head(15), tmp_path / "few.tsv")


def test_a_table_of_no_genes_is_refused(finished: Finished, tmp_path: Path) -> None:
    table = pd.DataFrame({"the first": [1.0, 2.0]}, index=["here", "there"])
    with pytest.raises(ExpressionError, match="names genes neither"):
        _score(finished, table, tmp_path / "t.tsv")


@pytest.fixture(scope="module")
def undescribed(finished: Finished, tmp_path_factory: pytest.TempPathFactory):
    """Settings under which the new cohort has no cohort file, and its GEO."""
    settings = finished.settings()
    geo = settings.geo.model_copy(update={"root": finished.other_geo})
    return settings.with_changes(geo=geo, data_dir=tmp_path_factory.mktemp("data"))


def test_a_series_without_cohort_file_gets_the_scores_of_the_described_one(
    finished: Finished, undescribed
) -> None:
    said = predict_cohort(undescribed, finished.study(), CHILDREN, NEW)
    described = undescribed.with_changes(data_dir=finished.settings().data_dir)
    then = predict_cohort(described, finished.study(), CHILDREN, NEW)
    assert then.notes == []
    assert "no cohort file; assumed: platform GPL" in said.notes[0]
    assert said.table["case"].isna().all()
    both = said.table.merge(then.table, on="gsm")
    assert len(both) == len(then.table)
    np.testing.assert_allclose(both["score_x"], both["score_y"], atol=1e-5)


def test_a_series_that_is_nowhere_is_told(finished: Finished, undescribed) -> None:
    with pytest.raises(StudyError, match=r"GSE404 in .*cohorts, and the series could not be read"):
        predict_cohort(undescribed, finished.study(), CHILDREN, "GSE404")
    with pytest.raises(StudyError, match="names no series"):
        predict_cohort(undescribed, finished.study(), CHILDREN, "../etc")
