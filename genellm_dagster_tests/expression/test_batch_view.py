"""The view of cohorts before and after: what is planted shows, and nothing else is made up."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.batch_view import BatchView, batch_view, states_of_stratum
from genellm_dagster.expression.fold_profiles import profiles_of_fold
from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
)
from genellm_dagster.expression.variance import explained_by_state
from genellm_dagster_tests.expression.tables import factor_table

GENES, SAMPLES = 30, 90


def factors_of() -> pd.DataFrame:
    number = np.arange(SAMPLES)
    cohort = np.array(["GSE1", "GSE2", "GSE3"])[number % 3]
    return pd.DataFrame(
        {
            "cohort": cohort,
            "platform": np.where(cohort == "GSE3", "GPL2", "GPL1"),
            "case": number // 3 % 2,
            "sex": np.where(number % 7 < 3, "female", "male"),
        },
        index=pd.Index([f"GSM{one}" for one in number], name="gsm"),
    )


def values_of(cohort: float, case: float = 0.8, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = factors_of()
    values = rng.normal(size=(SAMPLES, GENES))
    for name, size in (("cohort", cohort), ("case", case)):
        for level in rows[name].unique():
            values[rows[name] == level] += size * rng.normal(size=GENES)
    return pd.DataFrame(values, rows.index, [f"G{i}" for i in range(GENES)])


def states_of() -> dict[str, pd.DataFrame]:
    return {"log2": values_of(3.0), "combat": values_of(0.0)}


def share(view: BatchView, state: str, factor: str, column: str = "share") -> float:
    rows = view.shares.set_index(["state", "factor"])
    return float(rows.loc[(state, factor), column])


def apart(view: BatchView, state: str) -> float:
    """Spread of the cohorts' middles against that of all samples, on the two axes."""
    points = view.points[view.points["state"] == state].set_index("cohort")[["x", "y"]]
    return float(points.groupby(level=0).mean().var().sum() / points.var().sum())


def same(one: BatchView, other: BatchView) -> None:
    for name in ("points", "axes", "shares"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    for name in ("states", "same_as_cohort", "genes_left_out", "reason"):
        assert getattr(one, name) == getattr(other, name)
    assert dict(one.marks) == dict(other.marks)
    assert dict(one.not_recorded) == dict(other.not_recorded)


def test_cohorts_lie_apart_before_and_together_after_in_picture_and_numbers():
    view = batch_view(states_of(), factors_of())
    assert view.states == ("log2", "combat")
    assert apart(view, "log2") > 0.8
    assert apart(view, "combat") < 0.1
    assert share(view, "log2", "cohort") > 0.6
    assert abs(share(view, "combat", "cohort")) < 0.05
    assert share(view, "combat", "case") > share(view, "log2", "case")


def test_axes_hold_the_share_of_the_variance_that_they_say():
    states = states_of()
    view = batch_view(states, factors_of())
    for state, table in states.items():
        points = view.points[view.points["state"] == state]
        told = view.axes.set_index("state").loc[state]
        whole = table.var().sum()
        assert points["x"].var() / whole == pytest.approx(told["x"], rel=1e-4)
        assert points["y"].var() / whole == pytest.approx(told["y"], rel=1e-4)
        assert told["x"] >= told["y"] > 0


def test_labels_place_no_sample():
    factors = factors_of()
    one = batch_view(states_of(), factors)
    other = batch_view(states_of(), factors.assign(case=np.roll(factors["case"], 1)))
    places = ["gsm", "state", "x", "y"]
    pd.testing.assert_frame_equal(one.points[places], other.points[places])
    assert share(one, "log2", "case") != share(other, "log2", "case")


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_samples_and_genes_changes_nothing_but_the_order(random):
    samples, genes = list(factors_of().index), list(values_of(1.0).columns)
    random.shuffle(samples)
    random.shuffle(genes)
    one = batch_view(states_of(), factors_of())
    states = states_of()
    states["log2"] = states["log2"].loc[samples, genes]
    other = batch_view(states, factors_of().loc[samples])
    order = ["state", "gsm"]
    pd.testing.assert_frame_equal(
        one.points.sort_values(order, ignore_index=True),
        other.points.sort_values(order, ignore_index=True),
    )
    pd.testing.assert_frame_equal(one.shares, other.shares)


def test_json_gives_the_same_view_back_without_a_number_that_json_lacks():
    factors = factors_of().assign(platform=lambda rows: rows["cohort"] + "-GPL")
    factors.loc[factors["cohort"] == "GSE1", "sex"] = None
    view = batch_view(states_of(), factors)
    text = json.dumps(view.as_json(), allow_nan=False)
    same(BatchView.from_json(json.loads(text)), view)


def test_one_cohort_shows_nothing_and_says_why():
    factors = factors_of().assign(cohort="GSE1")
    view = batch_view(states_of(), factors)
    assert "one cohort (GSE1)" in view.reason
    assert view.states == ()
    assert view.points.empty
    assert view.shares.empty
    same(BatchView.from_json(json.loads(json.dumps(view.as_json()))), view)


def test_cohorts_without_a_common_gene_show_nothing_and_say_why():
    table = values_of(1.0)
    table.loc[factors_of()["cohort"] == "GSE1", table.columns[:15]] = np.nan
    table.loc[factors_of()["cohort"] == "GSE2", table.columns[15:]] = np.nan
    assert "share 0 genes" in batch_view({"log2": table}, factors_of()).reason


def test_a_platform_that_is_the_cohort_takes_nothing_from_it():
    factors = factors_of().assign(platform=lambda rows: rows["cohort"] + "-GPL")
    view = batch_view(states_of(), factors)
    assert view.same_as_cohort == ("platform",)
    assert np.isnan(share(view, "log2", "platform"))
    assert share(view, "log2", "platform", "levels") == 3
    without = batch_view(states_of(), factors.drop(columns="platform"))
    for column in ("share", "share_beyond_others"):
        assert share(view, "log2", "cohort", column) == share(without, "log2", "cohort", column)
    assert share(view, "log2", "cohort", "share_beyond_others") > 0.5
    coarse = batch_view(states_of(), factors_of())
    assert coarse.same_as_cohort == ()
    assert share(coarse, "log2", "platform") > 0.05


def test_a_factor_with_one_level_is_shown_and_explains_nothing_known():
    view = batch_view(states_of(), factors_of().assign(platform="GPL1"))
    assert np.isnan(share(view, "log2", "platform"))
    assert share(view, "log2", "platform", "levels") == 1
    assert list(view.shares["factor"][:5]) == ["cohort", "platform", "case", "sex", "residual"]


def test_sex_that_cohorts_do_not_record_does_not_stand_for_these_cohorts():
    factors = factors_of()
    factors.loc[factors["cohort"] != "GSE1", "sex"] = None
    view = batch_view(states_of(), factors)
    assert view.not_recorded == {"sex": 60}
    assert share(view, "log2", "cohort") > 0.6
    assert abs(share(view, "log2", "sex")) < 0.05
    known = factors.index[factors["sex"].notna()]
    alone = {name: table.loc[known] for name, table in states_of().items()}
    expected = explained_by_state(alone, factors.loc[known, ["cohort", "platform", "case", "sex"]])
    expected = expected.set_index(["state", "factor"])["share"]
    assert share(view, "log2", "sex") == pytest.approx(expected["log2", "sex"])


def test_genes_that_some_sample_lacks_in_some_state_take_no_part_anywhere():
    states = states_of()
    states["log2"].iloc[0, 3] = np.nan
    states["combat"].iloc[5, 4] = np.inf
    view = batch_view(states, factors_of())
    assert view.genes_left_out == 2
    assert set(view.shares["genes"]) == {GENES - 2}
    assert np.isfinite(view.points[["x", "y"]]).all(axis=None)
    whole = {name: table.drop(columns=["G3", "G4"]) for name, table in states.items()}
    pd.testing.assert_frame_equal(batch_view(whole, factors_of()).points, view.points)


def test_values_along_one_line_have_no_extent_on_the_second_axis():
    line = np.linspace(-1, 1, SAMPLES)[:, None] * np.ones(GENES)
    table = pd.DataFrame(line, factors_of().index, values_of(0).columns)
    view = batch_view({"log2": table}, factors_of())
    assert view.axes.loc[0, "x"] == pytest.approx(1.0)
    assert view.axes.loc[0, "y"] == 0
    assert (view.points["y"] == 0).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tiny_and_huge_values_have_places_too(scale: float):
    view = batch_view({"log2": values_of(3.0) * scale}, factors_of())
    plain = batch_view({"log2": values_of(3.0)}, factors_of())
    assert np.allclose(view.points["x"] / scale, plain.points["x"], rtol=1e-3, atol=1e-3)


def test_methods_that_use_other_samples_or_labels_are_marked_without_being_asked():
    values = values_of(1.0)
    names = ("log2", "quantile", "combat", "coconut")
    view = batch_view(dict.fromkeys(names, values), factors_of())
    assert set(view.marks) == {"quantile", "combat", "coconut"}
    assert "TEST LABELS" in view.marks["coconut"][0]
    told = batch_view({"log2": values}, factors_of(), marks={"log2": ["collapse by mean"]})
    assert told.marks == {"log2": ["collapse by mean"]}


def test_states_of_other_samples_are_refused():
    states = states_of()
    states["combat"] = states["combat"].iloc[1:]
    with pytest.raises(ExpressionError, match="log2 and combat hold different samples"):
        batch_view(states, factors_of())
    doubled = pd.concat([values_of(0), values_of(0).iloc[:1]])
    with pytest.raises(ExpressionError, match="log2 holds the sample GSM0 twice"):
        batch_view({"log2": doubled}, factors_of())
    with pytest.raises(ExpressionError, match="no state"):
        batch_view({}, factors_of())


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("cohort", None, "cohort is not known of GSM4"),
        ("case", None, "case is not known of GSM4"),
        ("case", 2, "case of GSM4 is neither 0 nor 1"),
        ("case", "1", "case of GSM4 is neither 0 nor 1"),
    ],
)
def test_samples_of_unknown_cohort_or_side_are_refused(column: str, value: object, said: str):
    factors = factors_of().astype(object)
    factors.loc["GSM4", column] = value
    with pytest.raises(ExpressionError, match=said):
        batch_view(states_of(), factors)
    with pytest.raises(ExpressionError, match="cohort of the samples must be given"):
        batch_view(states_of(), factors.drop(columns="cohort"))


def _break(found: dict[str, Any], how: str) -> Any:
    if how == "a part is missing":
        del found["axes"]
    elif how == "a place is missing":
        found["points"]["x"][0] = None
    elif how == "a place is no number":
        found["points"]["x"][0] = "far"
    elif how == "a column is short":
        found["points"]["y"].pop()
    elif how == "a cohort is no text":
        found["points"]["cohort"][0] = {"<b>": 1}
    elif how == "a state is unknown":
        found["states"].append("magic")
    else:
        found["points"] = []
    return found


@pytest.mark.parametrize(
    "how",
    [
        "a part is missing",
        "a place is missing",
        "a place is no number",
        "a column is short",
        "a cohort is no text",
        "a state is unknown",
        "points are a list",
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(how: str):
    found = deepcopy(batch_view(states_of(), factors_of()).as_json())
    with pytest.raises(ExpressionError, match="batch view cannot be read"):
        BatchView.from_json(_break(found, how))


@pytest.mark.parametrize("method", ["none", "combat", "coconut"])
def test_states_of_a_stratum_are_the_profiles_that_its_adapter_learns_from(method: Any):
    tables = {
        "GSE1": factor_table(40, 14, 1),
        "GSE2": factor_table(40, 12, 2, first_gsm=2000) + 2,
    }
    genes = list(tables["GSE1"].index[:25])
    tables["GSE2"] = tables["GSE2"].drop(index=genes[3])
    everyone = [gsm for table in tables.values() for gsm in table.columns]
    controls = everyone[::2]
    options = ExpressionOptions(
        normalisation=NormalisationOptions(method="gene_z"),
        harmonisation=HarmonisationOptions(method=method),
    )
    made = profiles_of_fold(
        tables,
        genes,
        everyone,
        normalisation=options.normalisation,
        harmonisation=options.harmonisation,
        controls=controls,
    )
    states = states_of_stratum(tables, genes, made, options)
    assert list(states) == ["log2", "gene_z", *([method] if method != "none" else [])]
    pd.testing.assert_frame_equal(
        list(states.values())[-1], made.profiles, check_names=False, check_like=True
    )
    plain = profiles_of_fold(tables, genes, everyone, normalisation=options.normalisation)
    pd.testing.assert_frame_equal(states["gene_z"], plain.profiles, check_like=True)
    lacking = states["log2"].loc[tables["GSE2"].columns, genes[3]]
    assert lacking.isna().all()
    factors = pd.DataFrame(
        {
            "cohort": [name for name, table in tables.items() for _ in table.columns],
            "case": [int(gsm not in controls) for gsm in everyone],
        },
        index=everyone,
    )
    view = batch_view(states, factors)
    assert view.states == tuple(states)
    assert view.genes_left_out == 1
