"""Folds that no person crosses."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation.folds import (
    Fold,
    leave_one_stratum_out,
    make_folds,
    repeated_grouped_folds,
    train_on_one,
)
from genellm_dagster.evaluation.options import EvaluationOptions

OPTIONS = EvaluationOptions()


def stratum(rows: list[tuple[str, str, str, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["gsm", "cohort", "subject", "case"])
    return table.assign(stratum="adult", age_years=40.0)


def cohort(name: str, size: int = 8) -> list[tuple[str, str, str, int]]:
    return [(f"{name}-{i}", name, str(i), i % 2) for i in range(size)]


def pairs(*found: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [(a, "", b, "", "expression", 0.99) for a, b in found],
        columns=["gsm_a", "cohort_a", "gsm_b", "cohort_b", "reason", "similarity"],
    )


def test_two_cohorts_are_left_out_one_at_a_time():
    folds = make_folds(stratum(cohort("GSE1") + cohort("GSE2")), None, OPTIONS)
    assert folds.summary() == {"kind": "leave_one_cohort_out", "n": 2, "names": ["GSE1", "GSE2"]}
    assert all(gsm.startswith("GSE1") for gsm in folds[0].test)
    assert all(gsm.startswith("GSE2") for gsm in folds[0].train)


def test_equal_subject_names_of_two_cohorts_are_strangers():
    folds = make_folds(stratum(cohort("GSE1") + cohort("GSE2")), None, OPTIONS)
    assert all(not fold.dropped for fold in folds)


def test_overlapping_training_samples_and_the_rest_of_their_person_are_dropped():
    rows = cohort("GSE1") + cohort("GSE2")
    rows.append(("GSE2-later", "GSE2", "3", 1))
    folds = make_folds(stratum(rows), pairs(("GSE1-1", "GSE2-3"), ("GSE1-0", "GSE9-1")), OPTIONS)
    by_name = {fold.name: fold for fold in folds}
    assert set(by_name["GSE1"].dropped) == {"GSE2-3", "GSE2-later"}
    assert set(by_name["GSE2"].dropped) == {"GSE1-1"}


def test_one_cohort_gets_grouped_folds_that_keep_a_person_together():
    rows = [(f"G{i}-{t}", "GSE1", str(i), i % 2) for i in range(12) for t in range(3)]
    folds = make_folds(stratum(rows), None, OPTIONS)
    assert folds.kind == "grouped_stratified_k_fold"
    assert len(folds) == 5
    for fold in folds:
        assert not {g.split("-")[0] for g in fold.train} & {g.split("-")[0] for g in fold.test}
    assert make_folds(stratum(rows), None, OPTIONS).folds == folds.folds


def test_few_persons_reduce_the_number_of_folds():
    rows = [(f"G{i}", "GSE1", str(i), int(i < 2)) for i in range(9)]
    assert len(make_folds(stratum(rows), None, OPTIONS)) == 2


def test_a_single_case_in_one_cohort_cannot_be_held_out():
    rows = [(f"G{i}", "GSE1", str(i), int(i == 0)) for i in range(9)]
    with pytest.raises(EvaluationError, match="GSE1, has 1 person"):
        make_folds(stratum(rows), None, OPTIONS)


def test_a_training_side_with_one_class_is_refused_by_name():
    rows = cohort("GSE1") + [(f"C{i}", "GSE2", str(i), 0) for i in range(5)]
    with pytest.raises(EvaluationError, match="Fold GSE1 leaves 0 cases among 5"):
        make_folds(stratum(rows), None, OPTIONS)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no sample"),
        ([("G1", "GSE1", "1", 1), ("G1", "GSE2", "1", 0)], r"G1 stands twice .*GSE1, GSE2"),
        ([("G1", "GSE1", "1", 1), ("G2", "GSE1", "2", 1)], "both cases and controls"),
    ],
)
def test_unusable_strata_end_with_a_sentence(rows, words):
    with pytest.raises(EvaluationError, match=words):
        make_folds(stratum(rows), None, OPTIONS)


def broken(folds, **changes):
    changed = [dataclasses.replace(folds[0], **changes), *folds.folds[1:]]
    return dataclasses.replace(folds, folds=tuple(changed))


def test_the_proof_fails_on_a_person_who_crosses_or_a_sample_on_no_side():
    rows = cohort("GSE1") + cohort("GSE2")
    folds = make_folds(stratum(rows), pairs(("GSE1-1", "GSE2-3")), OPTIONS)
    back = (*folds[0].train, *folds[0].dropped)
    with pytest.raises(EvaluationError, match="GSE1-1, GSE2-3"):
        broken(folds, train=back, dropped=()).prove()
    with pytest.raises(EvaluationError, match="on two sides or on none"):
        broken(folds, train=folds[0].train[1:]).prove()
    with pytest.raises(EvaluationError, match="No fold tests"):
        dataclasses.replace(folds, folds=folds.folds[:1]).prove()
    with pytest.raises(EvaluationError, match="again"):
        dataclasses.replace(folds, folds=(folds[0], folds[0])).prove()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_person_or_overlap_ever_crosses_a_fold(data):
    number = data.draw(st.integers(1, 3))
    rows = []
    for c in range(number):
        for i in range(10):
            subject = str(data.draw(st.integers(0, 9)))
            rows.append((f"G{c}-{i}", f"GSE{c}", subject, i % 2))
    names = [row[0] for row in rows]
    chosen = data.draw(
        st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=4)
    )
    try:
        folds = make_folds(stratum(rows), pairs(*chosen), OPTIONS)
    except EvaluationError:
        return
    person = {row[0]: (row[1], row[2]) for row in rows}
    for fold in folds:
        sides = {**dict.fromkeys(fold.train, "train"), **dict.fromkeys(fold.test, "test")}
        assert not {person[g] for g in fold.train} & {person[g] for g in fold.test}
        for a, b in chosen:
            assert {sides.get(a, "x"), sides.get(b, "x")} != {"train", "test"}
    assert sorted(g for fold in folds for g in fold.test) == sorted(names)


def test_fold_is_a_plain_value():
    assert Fold("a", ("x",), ("y",)) == Fold("a", ("x",), ("y",), ())


def strata() -> pd.DataFrame:
    rows = stratum(cohort("GSE1") + cohort("GSE2") + cohort("GSE3"))
    return rows.assign(stratum=rows["cohort"].map({"GSE1": "a", "GSE2": "b", "GSE3": "c"}))


def test_a_stratum_is_left_out_with_everybody_who_is_also_elsewhere():
    folds = leave_one_stratum_out(strata(), pairs(("GSE1-1", "GSE2-3")))
    assert folds.names == ["a", "b", "c"]
    assert folds[0].dropped == ("GSE2-3",)
    assert len(folds[0].train) == 15
    folds.prove()


def test_training_on_one_part_keeps_all_of_it_and_tests_strangers_only():
    rows = strata()
    folds = train_on_one(rows, pairs(("GSE1-1", "GSE2-3")), rows["stratum"], "stratum")
    assert [len(fold.train) for fold in folds] == [8, 8, 8]
    assert folds[0].dropped == ("GSE2-3",)
    assert len(folds[0].test) == 15
    assert set(folds[2].test) == set(rows["gsm"][:16])
    crossing = dataclasses.replace(folds[0], test=(*folds[0].test, "GSE2-3"), dropped=())
    broken = dataclasses.replace(folds, folds=(crossing,))
    with pytest.raises(EvaluationError, match="lets one person cross it"):
        broken.prove()


def test_a_part_of_one_class_trains_nothing_but_is_tested():
    rows = strata()
    rows.loc[rows["stratum"] == "c", "case"] = 1
    folds = train_on_one(rows, None, rows["stratum"], "stratum")
    assert folds.names == ["a", "b"]
    assert all("GSE3-0" in fold.test for fold in folds)


def test_one_part_alone_is_refused():
    rows = stratum(cohort("GSE1"))
    with pytest.raises(EvaluationError, match="only one stratum"):
        train_on_one(rows, None, rows["stratum"], "stratum")
    with pytest.raises(EvaluationError, match="only one stratum"):
        leave_one_stratum_out(rows, None)


def test_repeated_folds_differ_and_each_tests_everybody_once():
    rows = stratum([(f"G{i}-{t}", "GSE1", str(i), i % 2) for i in range(20) for t in range(2)])
    sets = repeated_grouped_folds(rows, None, OPTIONS, 3)
    assert len(sets) == 3
    assert len({tuple(fold.test for fold in folds) for folds in sets}) == 3
    for folds in sets:
        assert sorted(gsm for fold in folds for gsm in fold.test) == sorted(rows["gsm"])
    again = repeated_grouped_folds(rows, None, OPTIONS, 3)
    assert [folds.folds for folds in again] == [folds.folds for folds in sets]
