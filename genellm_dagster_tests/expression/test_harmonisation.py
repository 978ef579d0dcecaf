"""Harmonisation is learned on training cohorts, applied frozen, and marked where it is not."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.harmonisation import (
    fit_harmonisation,
    harmonisation_from_json,
    harmonise_fold,
)
from genellm_dagster.expression.profile_options import HarmonisationOptions
from genellm_dagster_tests.expression.tables import gene_names

COMBAT = HarmonisationOptions(method="combat")
COCONUT = HarmonisationOptions(method="coconut")
GENES = 80
_SIZES = {"GSE1": 14, "GSE2": 11, "GSE3": 22}


def cohort_table(name: str, effect: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """A cohort with its own location and scale; the first half of its samples are controls."""
    number, size = int(name[3:]), _SIZES.get(name, 12)
    rng = np.random.default_rng([number, seed])
    batch = np.random.default_rng(number)
    level = np.random.default_rng(99).normal(8, 2, (GENES, 1))
    location = batch.normal(0.5 * number, 0.7, (GENES, 1))
    spread = batch.gamma(8, 1 / 8, (GENES, 1)) * (0.5 + 0.5 * number)
    disease = np.zeros((GENES, size))
    disease[: GENES // 4, size // 2 :] = effect
    values = level + location + spread * (rng.normal(size=(GENES, size)) + disease)
    return pd.DataFrame(
        values.astype(np.float32),
        index=pd.Index(gene_names(GENES), name="gene"),
        columns=[f"GSM{number}{sample:03d}" for sample in range(size)],
    )


def cohorts(*names: str, effect: float = 0.0) -> dict[str, pd.DataFrame]:
    return {name: cohort_table(name, effect) for name in names or _SIZES}


def controls_of(tables: dict[str, pd.DataFrame]) -> list[str]:
    return [gsm for table in tables.values() for gsm in table.columns[: table.shape[1] // 2]]


def by_the_paper(tables: dict[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """ComBat gene by gene, as its paper writes it."""
    n = {name: table.shape[1] for name, table in tables.items()}
    values = {name: table.to_numpy(np.float64) for name, table in tables.items()}
    means = {name: one.mean(axis=1) for name, one in values.items()}
    grand = sum(n[name] * means[name] for name in n) / sum(n.values())
    squares = sum(((values[k] - means[k][:, None]) ** 2).sum(axis=1) for k in n)
    sd = np.sqrt(squares / sum(n.values()))
    result = {}
    for name, one in values.items():
        z = (one - grand[:, None]) / sd[:, None]
        location, scale = z.mean(axis=1), z.var(axis=1, ddof=1)
        middle, width = location.mean(), location.var(ddof=1)
        shape = (2 * scale.var(ddof=1) + scale.mean() ** 2) / scale.var(ddof=1)
        rate = (scale.mean() * scale.var(ddof=1) + scale.mean() ** 3) / scale.var(ddof=1)
        moved = np.empty_like(z)
        for gene in range(len(z)):
            g, d = location[gene], scale[gene]
            for _ in range(200):
                g = (width * n[name] * location[gene] + d * middle) / (width * n[name] + d)
                d = (0.5 * ((z[gene] - g) ** 2).sum() + rate) / (n[name] / 2 + shape - 1)
            moved[gene] = (z[gene] - g) / np.sqrt(d)
        result[name] = moved * sd[:, None] + grand[:, None]
    return result


def test_combat_is_that_of_the_paper():
    tables = cohorts()
    found = fit_harmonisation(tables, HarmonisationOptions(method="combat", tolerance=1e-9))
    for name, expected in by_the_paper(tables).items():
        np.testing.assert_allclose(found.apply(name, tables[name]), expected, atol=1e-4)


def test_cohorts_share_location_and_scale_afterwards():
    tables = cohorts()
    found = fit_harmonisation(tables, COMBAT)
    after = {name: found.apply(name, table) for name, table in tables.items()}

    def apart(states: dict[str, pd.DataFrame], measure: str) -> float:
        parts = pd.concat([getattr(one, measure)(axis=1) for one in states.values()], axis=1)
        return float(parts.std(axis=1).mean())

    assert apart(after, "mean") < 0.3 * apart(tables, "mean")
    assert apart(after, "std") < 0.5 * apart(tables, "std")


def test_location_alone_leaves_the_spread_of_each_gene():
    tables = cohorts()
    found = fit_harmonisation(tables, HarmonisationOptions(method="combat", scale=False))
    for name, table in tables.items():
        moved = found.apply(name, table)
        np.testing.assert_allclose(moved.std(axis=1), table.std(axis=1), rtol=1e-3)


@pytest.mark.parametrize("options", [COMBAT, COCONUT])
def test_a_sample_is_moved_the_same_alone_and_among_others(options):
    tables = cohorts()
    found = fit_harmonisation(tables, options, controls_of(tables))
    new = cohort_table("GSE2", seed=5)
    whole = found.apply("GSE2", new)
    pd.testing.assert_frame_equal(found.apply("GSE2", new.iloc[:, [3]]), whole.iloc[:, [3]])


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(["combat", "coconut"]), st.randoms(use_true_random=False))
def test_order_of_genes_samples_and_cohorts_changes_nothing_but_order(method, random):
    options, tables = HarmonisationOptions(method=method), cohorts()
    shuffled = {}
    for name in reversed(list(tables)):
        rows, columns = list(tables[name].index), list(tables[name].columns)
        random.shuffle(rows)
        random.shuffle(columns)
        shuffled[name] = tables[name].loc[rows, columns]
    one = fit_harmonisation(tables, options, controls_of(tables))
    other = fit_harmonisation(shuffled, options, controls_of(tables))
    for name, table in tables.items():
        expected = one.apply(name, table)
        got = other.apply(name, shuffled[name]).loc[table.index, table.columns]
        pd.testing.assert_frame_equal(got, expected, atol=1e-4)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["none", "combat", "coconut"]),
    st.sets(st.tuples(st.integers(0, GENES - 1), st.integers(0, 13)), max_size=60),
)
def test_a_missing_value_stays_missing_and_nothing_else_becomes_so(method, gaps):
    tables = cohorts()
    for row, column in gaps:
        tables["GSE1"].iloc[row, column] = np.nan
    controls = controls_of(tables)
    found = fit_harmonisation(tables, HarmonisationOptions(method=method), controls)
    after = found.apply("GSE1", tables["GSE1"])
    # COCONUT learns from controls: a gene that none of them has has no estimate.
    learned = tables["GSE1"].loc[:, tables["GSE1"].columns.isin(controls)]
    unknown = learned.isna().all(axis=1) if method == "coconut" else pd.Series(False, after.index)
    expected = tables["GSE1"].isna().to_numpy() | unknown.to_numpy()[:, None]
    assert (after.isna().to_numpy() == expected).all()


def test_a_gene_of_one_cohort_alone_stays_where_it_is():
    tables = cohorts()
    for name in ("GSE2", "GSE3"):
        tables[name] = tables[name].iloc[1:]
    after = fit_harmonisation(tables, COMBAT).apply("GSE1", tables["GSE1"])
    np.testing.assert_allclose(after.iloc[0], tables["GSE1"].iloc[0], rtol=1e-6)
    assert not np.allclose(after.iloc[1], tables["GSE1"].iloc[1], rtol=1e-3)


def test_one_training_cohort_is_the_common_scale_itself():
    tables = cohorts("GSE1")
    found = fit_harmonisation(tables, COMBAT)
    pd.testing.assert_frame_equal(found.apply("GSE1", tables["GSE1"]), tables["GSE1"], atol=1e-5)


def test_a_gene_constant_in_every_cohort_comes_to_one_value():
    tables = cohorts()
    for value, table in enumerate(tables.values()):
        table.iloc[0] = np.float32(4.1 + value)
    found = fit_harmonisation(tables, COMBAT)
    values = np.concatenate([found.apply(n, t).iloc[0] for n, t in tables.items()])
    assert np.isfinite(values).all()
    assert np.ptp(values) < 1e-5


def test_a_gene_constant_among_the_controls_of_one_cohort_is_moved_like_the_others():
    tables = cohorts()
    controls = controls_of(tables)
    tables["GSE1"].loc[tables["GSE1"].index[0], tables["GSE1"].columns.isin(controls)] = 9.0
    found = fit_harmonisation(tables, COCONUT, controls)
    assert (found.shifts["GSE1"].scale > 0).all()
    assert np.isfinite(found.apply("GSE1", tables["GSE1"])).all(axis=None)


def test_a_cohort_of_one_sample_gets_a_location_and_keeps_its_scale():
    tables = cohorts()
    tables["GSE4"] = cohort_table("GSE4").iloc[:, [0]]
    found = fit_harmonisation(tables, COMBAT)
    assert np.isfinite(found.apply("GSE4", tables["GSE4"])).all(axis=None)
    assert (found.shifts["GSE4"].scale == 1).all()


def test_an_unseen_cohort_is_refused_until_it_is_added_and_then_marked():
    tables, new = cohorts(), cohort_table("GSE4")
    found = fit_harmonisation(tables, COMBAT)
    assert found.marks == []
    with pytest.raises(ExpressionError, match="cannot be harmonised without its own samples"):
        found.apply("GSE4", new)
    added = found.with_cohort("GSE4", new)
    assert added.marks == ["ComBat of a new cohort by its own samples (GSE4)"]
    assert "GSE4" not in found.shifts
    # What training learned stands as it was.
    for name, table in tables.items():
        pd.testing.assert_frame_equal(added.apply(name, table), found.apply(name, table))
    apart = [
        float((one.mean(axis=1) - found.apply("GSE1", tables["GSE1"]).mean(axis=1)).abs().mean())
        for one in (new, added.apply("GSE4", new))
    ]
    assert apart[1] < 0.2 * apart[0]


def test_a_training_cohort_cannot_be_learned_again_from_test_samples():
    found = fit_harmonisation(cohorts(), COMBAT)
    with pytest.raises(ExpressionError, match="learned in training"):
        found.with_cohort("GSE1", cohort_table("GSE1", seed=3))


def test_coconut_reads_controls_alone_and_keeps_the_cases_apart():
    tables = cohorts(effect=3.0)
    controls = controls_of(tables)
    found = fit_harmonisation(tables, COCONUT, controls)
    # Other cases change nothing of what was learned.
    other = {name: table.copy() for name, table in tables.items()}
    for table in other.values():
        table.loc[:, ~table.columns.isin(controls)] += 5
    again = fit_harmonisation(other, COCONUT, controls)
    np.testing.assert_array_equal(found.pooled.mean, again.pooled.mean)
    for name in tables:
        np.testing.assert_array_equal(found.shifts[name].location, again.shifts[name].location)
        moved = found.apply(name, tables[name])
        is_control = moved.columns.isin(controls)
        effect = moved.loc[:, ~is_control].mean(axis=1) - moved.loc[:, is_control].mean(axis=1)
        assert effect.iloc[: GENES // 4].mean() > 5 * abs(effect.iloc[GENES // 4 :].mean())


def test_coconut_of_a_new_cohort_needs_its_controls_and_says_that_labels_were_used():
    tables, new = cohorts(), cohort_table("GSE4")
    found = fit_harmonisation(tables, COCONUT, controls_of(tables))
    with pytest.raises(ExpressionError, match="GSE4 has 0 controls"):
        found.with_cohort("GSE4", new)
    added = found.with_cohort("GSE4", new, list(new.columns[:6]))
    assert "USES TEST LABELS (GSE4)" in added.marks[0]


def test_a_training_cohort_without_controls_is_refused_by_coconut():
    tables = cohorts()
    with pytest.raises(ExpressionError, match="GSE2 has 0 controls"):
        fit_harmonisation(tables, COCONUT, [*tables["GSE1"].columns, *tables["GSE3"].columns])


@pytest.mark.parametrize("options", [COMBAT, COCONUT])
def test_a_fold_learns_nothing_of_its_test_side_but_the_place_of_a_new_cohort(options):
    tables = cohorts("GSE1", "GSE2", "GSE3")
    controls = controls_of(tables)
    train = [*tables["GSE1"].columns, *tables["GSE2"].columns]
    fold = harmonise_fold(tables, train, tables["GSE3"].columns, options, controls)
    changed = {**tables, "GSE3": cohort_table("GSE3", effect=4.0, seed=8)}
    other = harmonise_fold(changed, train, tables["GSE3"].columns, options, controls)
    for name in ("GSE1", "GSE2"):
        pd.testing.assert_frame_equal(other.tables[name], fold.tables[name], check_exact=True)
    assert fold.harmonisation.trained_on == ("GSE1", "GSE2")
    assert len(fold.marks) == 1
    assert "GSE3" in fold.marks[0]


def test_in_folds_inside_a_cohort_test_samples_are_moved_as_training_samples_say():
    tables = cohorts()
    test = [*tables["GSE1"].columns[:3], *tables["GSE2"].columns[:2]]
    train = [gsm for table in tables.values() for gsm in table.columns if gsm not in test]
    fold = harmonise_fold(tables, train, test, COMBAT)
    assert fold.marks == []
    for name in ("GSE1", "GSE2"):
        tables[name].loc[:, tables[name].columns.isin(test)] += 100
    other = harmonise_fold(tables, train, test, COMBAT)
    kept = [gsm for gsm in tables["GSE1"].columns if gsm in train]
    pd.testing.assert_frame_equal(
        other.tables["GSE1"][kept], fold.tables["GSE1"][kept], check_exact=True
    )


def test_samples_on_no_side_of_a_fold_take_no_part():
    tables = cohorts()
    train, test = tables["GSE1"].columns, tables["GSE2"].columns
    fold = harmonise_fold(tables, train, test, COMBAT)
    assert sorted(fold.tables) == ["GSE1", "GSE2"]


def test_none_changes_no_value_and_asks_for_nothing():
    tables = cohorts()
    found = fit_harmonisation(tables)
    new = cohort_table("GSE4")
    assert found.marks == found.with_cohort("GSE4", new).marks == []
    pd.testing.assert_frame_equal(found.apply("GSE4", new), new)


@pytest.mark.parametrize("options", [HarmonisationOptions(), COMBAT, COCONUT])
def test_what_was_learned_survives_json_to_the_last_digit(options):
    tables = cohorts()
    tables["GSE1"] = tables["GSE1"].iloc[3:]
    found = fit_harmonisation(tables, options, controls_of(tables))
    read = harmonisation_from_json(json.loads(json.dumps(found.as_json(), allow_nan=False)))
    for name, table in tables.items():
        pd.testing.assert_frame_equal(
            read.apply(name, table), found.apply(name, table), check_exact=True
        )
    assert read.options == found.options
    assert read.trained_on == found.trained_on


@pytest.mark.parametrize("broken", [{}, {"genes": ["TP53"], "pooled": None}])
def test_an_unreadable_record_is_refused(broken):
    with pytest.raises(ExpressionError, match="train it again"):
        harmonisation_from_json(broken)


def test_numbers_for_other_genes_are_refused():
    found = fit_harmonisation(cohorts(), COMBAT).as_json()
    with pytest.raises(ExpressionError, match="stand for 79 genes"):
        harmonisation_from_json({**found, "genes": found["genes"][1:]})


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ExpressionError, match="no training cohort"):
        fit_harmonisation({}, COMBAT)


def test_settings_say_what_is_transductive_and_what_uses_labels():
    assert HarmonisationOptions().transductive == []
    assert "own samples" in COMBAT.transductive[0]
    assert "USES TEST LABELS" in COCONUT.transductive[0]
