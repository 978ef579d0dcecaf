"""The sex a sample expresses: told where two groups stand apart, unknown everywhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.expression.qc import quality_control
from genellm_dagster.expression.qc_options import QcOptions
from genellm_dagster.expression.sex import Y_GENES, expressed_sex
from genellm_dagster_tests.expression.tables import factor_table, sheet_of, two_sexes

SERIES = Path(__file__).parents[3] / "shared" / "geo" / "series"
STUDIES = Path(__file__).parents[3] / "shared" / "studies"


def told(table: pd.DataFrame, **known: object) -> list[str | None]:
    return expressed_sex(table, **known).samples["sex_expressed"].tolist()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 300), women=st.integers(4, 20), men=st.integers(4, 20))
def test_both_sexes_are_told_however_they_are_mixed(seed, women, men):
    table, sexes = two_sexes(50, women + men, seed, men=men)
    assert told(table) == sexes
    order = np.random.default_rng(seed).permutation(women + men)
    assert told(table.iloc[::-1, order]) == [sexes[at] for at in order]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 300), n=st.integers(14, 40), men=st.booleans(), noise=st.floats(0, 2))
def test_nobody_is_told_where_all_are_of_one_sex(seed, n, men, noise):
    table, _ = two_sexes(50, n, seed, men=n if men else 0)
    table += np.random.default_rng(seed).normal(0, noise, table.shape).astype(np.float32)
    found = expressed_sex(table)
    assert found.samples["sex_expressed"].isna().all()
    assert "one sex" in str(found.why_not)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 300), n=st.integers(2, 40))
def test_nobody_is_told_by_noise(seed, n):
    # In noise eight to twelve samples fall in two groups in one of a thousand draws.
    n = n + 6 if 8 <= n < 14 else n
    table = factor_table(60, n, seed)
    for at, gene in enumerate(("XIST", *Y_GENES)):
        table.loc[gene] = np.random.default_rng([seed, at]).normal(6, 1, n)
    assert set(told(table.astype(np.float32))) == {None}


@pytest.mark.parametrize("genes", [["XIST"], ["DDX3Y"], ["DDX3Y", "KDM5D"]])
def test_probes_that_fall_in_two_groups_tell_nobody_unless_xist_and_y_genes_agree(genes):
    table, _ = two_sexes(50, 20, 3, men=20)
    table.loc[genes] = np.array([2.0, 10.0] * 10, dtype=np.float32) + table.loc[genes] / 10
    assert set(told(table)) == {None}
    if len(genes) == 1:
        assert set(told(table.drop(index="XIST"))) == {None}


def test_a_mixture_and_a_sample_without_the_genes_stay_unknown():
    table, sexes = two_sexes(50, 20, 3)
    y = ["RPS4Y1", "DDX3Y", "KDM5D"]
    table.loc[y, "GSM1000"] = 8.0  # two X and a Y
    table.loc[y, "GSM1019"] = 4.0  # a man whose blood has lost its Y
    table.loc["XIST", "GSM1001"] = np.nan
    table.loc["DDX3Y", "GSM1018"] = np.nan
    found = told(table)
    assert found == [None, None, *sexes[2:-2], None, None]


def test_without_xist_the_y_genes_tell_alone_and_one_of_them_does_not():
    table, sexes = two_sexes(50, 20, 3)
    found = expressed_sex(table.drop(index="XIST"))
    assert found.samples["sex_expressed"].tolist() == sexes
    assert found.as_json()["told_by"] == ["RPS4Y1", "DDX3Y", "KDM5D"]
    assert found.samples["xist_minus_y"].isna().all()
    lone = expressed_sex(table.drop(index=["RPS4Y1", "DDX3Y"]))
    assert lone.samples["sex_expressed"].isna().all()
    assert lone.why_not == "fewer than 2 Y genes are measured"


def test_centred_values_are_not_judged_be_it_recorded_or_seen():
    table, sexes = two_sexes(200, 20, 3)
    assert told(table, scale="log2") == sexes
    assert set(told(table, scale="centred")) == {None}
    centred = table.sub(table.median(axis=1), axis=0)
    assert "centred" in str(expressed_sex(centred).why_not)


def test_a_lone_sample_of_the_other_sex_is_told_only_when_asked():
    table, sexes = two_sexes(50, 20, 3, men=1)
    assert set(told(table)) == {None}
    assert told(table, options=QcOptions(min_sex_group=1)) == sexes


def test_the_recorded_sex_is_held_against_the_expressed_one_and_told_with_its_evidence():
    table, sexes = two_sexes(200, 20, 3)
    recorded = ["male", None, *sexes[2:]]
    found = quality_control(table, sheet_of(table, sex=recorded))
    row = found.samples.set_index("gsm").loc["GSM1000"]
    assert row["kept"]
    assert "recorded as male, expresses female" in row["reasons"]
    assert row["xist_minus_y"] == pytest.approx(row["xist"] - row["y_level"])
    assert row["xist_minus_y"] > 2
    sex = found.summary["sex"]
    assert (sex["agree"], sex["disagree"], sex["unknown"]) == (18, 1, 1)
    assert any("GSM1000" in warning for warning in found.summary["warnings"])
    strict = quality_control(
        table, sheet_of(table, sex=recorded), QcOptions(sex_mismatch="leave_out")
    )
    assert set(table.columns) - set(strict.table.columns) == {"GSM1000"}
    assert strict.summary["sex"]["disagree"] == 1


def test_sexes_read_the_wrong_way_round_are_put_down_to_the_rule():
    table, sexes = two_sexes(200, 20, 3)
    turned = ["male" if sex == "female" else "female" for sex in sexes]
    found = quality_control(table, sheet_of(table, sex=turned))
    assert any("rule for sex" in warning for warning in found.summary["warnings"])
    assert found.samples["kept"].all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["female", "male", None, "unknown", ""]), min_size=20, max_size=20))
def test_the_recorded_sex_takes_no_part_in_the_expressed_one(recorded):
    table, sexes = two_sexes(60, 20, 3)
    found = quality_control(table, sheet_of(table, sex=recorded))
    assert found.samples["sex_expressed"].tolist() == sexes
    known = [one if one in ("female", "male") else None for one in recorded]
    assert found.samples["sex_recorded"].tolist() == known


@pytest.mark.skipif(not SERIES.is_dir(), reason="no ../shared/geo beside the repository")
@pytest.mark.parametrize(("name", "women", "men"), [("GSE41055", 17, 10), ("GSE19439", 23, 19)])
def test_every_recorded_sex_of_real_transcriptomes_is_found_and_a_planted_swap_too(
    name, women, men, tmp_path
):
    from genellm_dagster.expression.build import build_expression
    from genellm_dagster.geo.client import GeoClient
    from genellm_dagster.geo.options import GeoOptions
    from genellm_dagster.geo.series import fetch_series, read_series
    from genellm_dagster.studies.curation import build_sample_sheet
    from genellm_dagster.studies.loading import load_study

    study = load_study(STUDIES / "tb_real.yaml", data_dir=tmp_path)
    cohort = study.cohort(name)
    with GeoClient(str(SERIES.parent), GeoOptions()) as client:
        series = read_series(tmp_path, fetch_series(client, cohort, tmp_path))
    sheet = build_sample_sheet(series.samples, cohort, study)
    table = build_expression(series.values, series.id_table, cohort, series.kind).table
    sex = quality_control(table, sheet).summary["sex"]
    assert (sex["agree"], sex["disagree"], sex["unknown"]) == (women + men, 0, 0)
    assert (sex["expressed_female"], sex["expressed_male"]) == (women, men)
    swapped = sheet.copy()
    one, other = (sheet.index[sheet["sex"] == which][0] for which in ("female", "male"))
    swapped.loc[[one, other], "sex"] = ["male", "female"]
    found = quality_control(table, swapped).samples
    wrong = found.loc[found["reasons"].str.contains("recorded as"), "gsm"]
    assert set(wrong) == set(sheet.loc[[one, other], "gsm"])
    # Each sex alone has no second group, although it varies.
    for which in ("female", "male"):
        part = sheet[sheet["sex"] == which]
        assert quality_control(table, part).summary["sex"]["why_not"] is not None
