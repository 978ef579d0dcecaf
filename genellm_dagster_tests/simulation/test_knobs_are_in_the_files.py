"""Every knob of the simulation leaves its mark, of the stated size, in the files it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genellm_dagster.errors import ExpressionError
from genellm_dagster.simulation.genes import FACTORS
from genellm_dagster.simulation.options import SimulationOptions
from genellm_dagster_tests.simulation.written import (
    ADULTS,
    CHILDREN,
    SECOND,
    Written,
    plan,
    study_options,
    write_and_read,
)


def _planted(truth: dict[str, Any], stratum: str) -> pd.DataFrame:
    return pd.DataFrame(truth["strata"][stratum]["planted"]).set_index("gene")


def _slope(found: pd.Series, stated: pd.Series) -> float:
    both = found.index.intersection(stated.index)
    return float(np.polyfit(stated[both], found[both], 1)[0])


def _with_strata(options: SimulationOptions, **changes: Any) -> SimulationOptions:
    strata = {name: truth.model_copy(update=changes) for name, truth in options.strata.items()}
    return options.model_copy(update={"strata": strata})


@pytest.mark.parametrize("effect", [0.3, 1.2])
def test_differences_have_the_stated_size(tmp_path: Path, effect: float) -> None:
    options = study_options(
        plan(CHILDREN, "pediatric"), plan(ADULTS, "adult", effect_scale=0.5), gain_sd=0.0
    )
    options = _with_strata(options, effect=effect, endotypes=3, endotype_share=0.6)
    found, truth = write_and_read(tmp_path, options)
    for accession, scale in ((CHILDREN, 1.0), (ADULTS, 0.5)):
        stated = _planted(truth, found[accession].truth["stratum"])
        assert _slope(found[accession].difference, stated["difference_log2"]) == pytest.approx(
            scale, abs=0.2 * scale + 0.04 / effect
        )
    stated = _planted(truth, "pediatric")["cohens_d"]
    realised = found[CHILDREN].cohens_d.reindex(stated.index).dropna()
    # Cohen's d of two groups of 80 has a standard error of about .16.
    error = (realised - stated[realised.index]).to_numpy()
    assert abs(error.mean()) < 0.12
    assert error.std() < 0.35


@pytest.mark.parametrize(("shared", "opposite"), [(0, 0), (12, 5), (30, 30)])
def test_strata_share_as_many_genes_as_asked_and_in_the_directions_asked(
    tmp_path: Path, shared: int, opposite: int
) -> None:
    options = study_options(shared_genes=shared, discordant_genes=opposite)
    found, truth = write_and_read(tmp_path, options)
    assert len(truth["planted_in_all"]) == shared
    assert len(truth["planted_in_opposite_directions"]) == opposite
    strongest = {name: one.cohens_d.abs().nlargest(30).index for name, one in found.items()}
    both = strongest[CHILDREN].intersection(strongest[ADULTS])
    # One platform may lack a planted gene, and a strong neighbour takes its place.
    assert abs(len(both) - shared) <= 3
    signs = [np.sign(one.difference.reindex(both)) for one in found.values()]
    assert abs((signs[0] != signs[1]).sum() - opposite) <= 2


@pytest.mark.parametrize("spread", [0.0, 0.8])
def test_series_are_shifted_as_far_as_asked(tmp_path: Path, spread: float) -> None:
    two = (plan(CHILDREN, "pediatric"), plan(SECOND, "pediatric"))
    found, truth = write_and_read(tmp_path, study_options(*two, batch_sd=spread, gain_sd=0.0))
    quiet = found[CHILDREN].values.index.difference(_planted(truth, "pediatric").index)
    means = [one.values.reindex(quiet).mean(axis=1) for one in found.values()]
    assert (means[0] - means[1]).std() == pytest.approx(np.sqrt(2) * spread, rel=0.15, abs=0.1)


@pytest.mark.parametrize("follows", [0.0, 1.0])
def test_batches_of_a_series_shift_genes_and_follow_the_label_as_asked(
    tmp_path: Path, follows: float
) -> None:
    one = plan(ADULTS, "adult", batches=2, batch_follows_label=follows)
    found, truth = write_and_read(tmp_path, study_options(one, batch_sd=0.8))
    series = found[ADULTS]
    batch = series.fields.set_index("gsm")["characteristics: processing batch"].astype(int)
    pd.testing.assert_series_equal(batch, series.people("batch"), check_names=False)
    case = series.sheet["case"].astype(float)
    together = abs(np.corrcoef(batch[case.index], case)[0, 1])
    assert together == pytest.approx(follows, abs=0.2)
    quiet = series.values.index.difference(_planted(truth, "adult").index)
    means = [series.values.loc[quiet, batch.index[batch == at]].mean(axis=1) for at in (1, 2)]
    assert (means[0] - means[1]).std() == pytest.approx(np.sqrt(2) * 0.8, rel=0.15)


def test_a_series_in_one_batch_says_nothing_of_batches(tmp_path: Path) -> None:
    found, _ = write_and_read(tmp_path, study_options())
    assert not [name for name in found[ADULTS].fields if "batch" in name]


@pytest.mark.parametrize(("absent", "missing"), [(0.0, 0.0), (0.2, 0.1)])
def test_genes_and_values_are_missing_as_often_as_asked(
    tmp_path: Path, absent: float, missing: float
) -> None:
    options = study_options(plan(ADULTS, "adult"), absent_share=absent, missing_share=missing)
    found, _ = write_and_read(tmp_path, options)
    series = found[ADULTS]
    assert len(series.values) + len(series.truth["absent_genes"]) == options.genes
    assert not set(series.values.index) & set(series.truth["absent_genes"])
    assert len(series.truth["absent_genes"]) / options.genes == pytest.approx(absent, abs=0.08)
    assert series.values.isna().to_numpy().mean() == pytest.approx(missing, abs=0.005)


@pytest.mark.parametrize("copies", [0, 5])
def test_arrays_are_used_again_as_often_as_asked(tmp_path: Path, copies: int) -> None:
    two = (plan(CHILDREN, "pediatric"), plan(SECOND, "pediatric", duplicates=copies))
    found, truth = write_and_read(tmp_path, study_options(*two, missing_share=0.0))
    pairs = {(one["gsm_a"], one["gsm_b"]) for one in truth["same_person"]}
    assert len(pairs) == copies
    genes = found[CHILDREN].values.index.intersection(found[SECOND].values.index)
    first, second = (
        one.values.loc[genes].sub(one.values.loc[genes].mean(axis=1), axis=0)
        for one in found.values()
    )
    likeness = np.corrcoef(first.T, second.T)[: first.shape[1], first.shape[1] :]
    alike = np.argwhere(likeness > 0.8)
    assert {(first.columns[a], second.columns[b]) for a, b in alike} == pairs


def test_labels_are_wrong_as_often_as_asked_and_the_truth_says_where(tmp_path: Path) -> None:
    two = (plan(CHILDREN, "pediatric"), plan(ADULTS, "adult", mislabelled_share=0.3))
    found, _ = write_and_read(tmp_path, study_options(*two))
    for accession, share in ((CHILDREN, 0.0), (ADULTS, 0.3)):
        series = found[accession]
        truly = series.people("case")
        wrong = series.sheet.index[series.sheet["case"].ne(truly[series.sheet.index])]
        assert set(wrong) == set(series.truth["mislabelled"])
        assert len(wrong) / len(truly) == pytest.approx(share, abs=0.11 * (share > 0))


def _neutrophil_score(series: Written) -> pd.Series:
    own = series.values.index.intersection(list(FACTORS["neutrophil"]))
    return series.values.loc[own].mean()


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_the_label_moves_cells_and_genes_follow_the_cells(tmp_path: Path, shift: float) -> None:
    options = _with_strata(study_options(composition_shift=shift), effect=0.0)
    found, _ = write_and_read(tmp_path, options)
    for series in found.values():
        shares = pd.DataFrame({gsm: one["cells"] for gsm, one in series.truth["people"].items()})
        np.testing.assert_allclose(shares.sum(), 1.0, atol=2e-4)
        assert shares.mean(axis=1).idxmax() == "neutrophil"
        score = _neutrophil_score(series)
        share = shares.loc["neutrophil", score.index]
        assert np.corrcoef(score, share)[0, 1] > 0.4
        case = series.sheet.loc[score.index, "case"].astype(int)
        told_by_genes, told_by_cells = (roc_auc_score(case, one) for one in (score, share))
        if shift:
            assert min(told_by_genes, told_by_cells) > 0.8
        else:
            assert 0.35 < told_by_genes < 0.65
            assert 0.35 < told_by_cells < 0.65


def test_planted_genes_move_by_their_effect_and_by_their_cells(tmp_path: Path) -> None:
    options = study_options(composition_shift=3.0, gain_sd=0.0, shared_genes=30)
    found, truth = write_and_read(tmp_path, options)
    stated = _planted(truth, "pediatric")
    by_cells = stated["difference_by_cells_log2"]
    assert by_cells.abs().max() > 0.3
    together = np.mean([one.difference.reindex(stated.index) for one in found.values()], axis=0)
    rest = pd.Series(together - stated["difference_log2"], stated.index).dropna()
    assert _slope(rest, by_cells) == pytest.approx(1.0, abs=0.35)


def test_a_series_may_have_a_composition_of_its_own(tmp_path: Path) -> None:
    two = (plan(CHILDREN, "pediatric"), plan(SECOND, "pediatric", composition_shift=2.0))
    found, _ = write_and_read(tmp_path, _with_strata(study_options(*two), effect=0.0))
    told = {
        name: roc_auc_score(one.sheet["case"].astype(int), _neutrophil_score(one)[one.sheet.index])
        for name, one in found.items()
    }
    assert told[CHILDREN] < 0.65 < 0.8 < told[SECOND]
    assert [one.truth["composition_shift"] for one in found.values()] == [0.0, 2.0]


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_the_disease_grows_with_age_as_asked(tmp_path: Path, slope: float) -> None:
    options = _with_strata(study_options(plan(ADULTS, "adult")), age_slope=slope)
    found, truth = write_and_read(tmp_path, options)
    series = found[ADULTS]
    effects = _planted(truth, "adult")["effect_log2"]
    effects = effects[effects.index.isin(series.values.index)]
    activity = series.values.loc[effects.index].mul(effects, axis=0).sum() / (effects**2).sum()
    ages = series.sheet["age_years"] / 10
    grows = {}
    for case in (True, False):
        of_class = series.sheet.index[series.sheet["case"].eq(case) & ages.notna()]
        grows[case] = np.polyfit(ages[of_class], activity[of_class], 1)[0]
    assert grows[True] == pytest.approx(slope, abs=0.08)
    assert grows[False] == pytest.approx(0.0, abs=0.08)


def test_genes_follow_age_as_asked_in_cases_and_controls_alike(tmp_path: Path) -> None:
    options = study_options(
        plan(ADULTS, "adult", cases=200, controls=200), age_genes=20, age_effect=0.3, gain_sd=0.0
    )
    found, truth = write_and_read(tmp_path, options)
    series = found[ADULTS]
    stated = pd.Series(truth["age_genes"])
    assert len(stated) == 20
    assert not set(stated.index) & set(_planted(truth, "adult").index)
    filled = series.values.apply(lambda row: row.fillna(row.mean()), axis=1)
    decades = series.sheet.loc[filled.columns, "age_years"].to_numpy() / 10
    for case in (True, False):
        own = series.sheet.loc[filled.columns, "case"].eq(case).to_numpy()
        slopes = pd.Series(
            np.polyfit(decades[own], filled.loc[:, own].T.to_numpy(), 1)[0], filled.index
        )
        known = stated.index.intersection(slopes.index)
        assert (slopes[known] - stated[known]).abs().max() < 0.15
        assert slopes.drop(known).abs().median() < 0.03


def test_a_series_larger_than_its_numbers_is_refused(tmp_path: Path) -> None:
    options = study_options(plan(ADULTS, "adult", cases=900, controls=900))
    with pytest.raises(ExpressionError, match="GSE9900102 would hold 1800 samples"):
        write_and_read(tmp_path, options)
    assert list(tmp_path.iterdir()) == []


def test_more_genes_following_age_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExpressionError, match="follow age but only"):
        write_and_read(tmp_path, study_options(age_genes=300))
