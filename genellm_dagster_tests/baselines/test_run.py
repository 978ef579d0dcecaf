"""All baselines on given folds: one table, refusals with reasons, nothing learned on test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genellm_dagster.baselines.options import (
    BaselineOptions,
    BoostingOptions,
    ForestOptions,
    SingleGeneOptions,
)
from genellm_dagster.baselines.run import PREDICTION_COLUMNS, baseline_predictions, binary_entropy
from genellm_dagster.errors import EvaluationError

OPTIONS = BaselineOptions(
    gradient_boosting=BoostingOptions(trees=15), random_forest=ForestOptions(trees=20)
)
FITTED = {
    "best_single_gene", "logistic_regression", "elastic_net", "linear_svm", "pca_logistic",
    "random_forest", "gradient_boosting",
}  # fmt: skip
NOTHING = BaselineOptions(
    signatures=(),
    single_gene=None,
    logistic_regression=None,
    elastic_net=None,
    linear_svm=None,
    pca_logistic=None,
    random_forest=None,
    gradient_boosting=None,
    cohort_only=None,
)
GENES = ["PLAC8", "LAMP1", "PLA2G7", "CEACAM4", "FCMR", "FAM89A", *[f"GENE{i}" for i in range(20)]]


@dataclass(frozen=True)
class PlainFold:
    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass
class World:
    samples: pd.DataFrame
    expression: pd.DataFrame
    profiles: pd.DataFrame
    folds: list[PlainFold]

    def run(self, options: BaselineOptions = OPTIONS, seed: int = 1):
        return baseline_predictions(
            lambda _: self.profiles, self.expression, self.samples, self.folds, options, seed
        )


@pytest.fixture
def world() -> World:
    generator = np.random.default_rng(0)
    rows = [(f"GSM{c}{i:02d}", f"GSE{c}", str(i), i % 2) for c in (1, 2, 3) for i in range(24)]
    samples = pd.DataFrame(rows, columns=["gsm", "cohort", "subject", "case"])
    samples["stratum"], samples["age_years"] = "adult", 40.0
    values = pd.DataFrame(
        generator.normal(8, 1, (72, len(GENES))).astype("float32"), samples["gsm"], GENES
    )
    values["PLAC8"] += 2.5 * samples["case"].to_numpy()
    values["FCMR"] -= 2.0 * samples["case"].to_numpy()
    values[values.columns] += (
        samples["cohort"].map({"GSE1": 0, "GSE2": 1, "GSE3": 2}).to_numpy()[:, None]
    )
    profiles = (values.rank(axis=1) - 13) / 8
    folds = [
        PlainFold(
            name,
            tuple(samples.loc[samples["cohort"] != name, "gsm"]),
            tuple(samples.loc[samples["cohort"] == name, "gsm"]),
        )
        for name in ("GSE1", "GSE2", "GSE3")
    ]
    return World(samples, values, profiles.astype("float32"), folds)


def test_every_model_predicts_every_sample_once_on_its_test_fold(world):
    result = world.run()
    table = result.predictions
    assert list(table.columns) == PREDICTION_COLUMNS
    assert set(table["model"]) == FITTED | {"septicyte_lab", "faim3_plac8", "cohort_only"}
    for _, part in table.groupby("model"):
        assert sorted(part["gsm"]) == sorted(world.samples["gsm"])
        assert (part["fold"] == part["cohort"]).all()
        assert part["score"].between(0, 1).all()
    assert set(result.details) == set(table["model"])
    assert set(result.details["best_single_gene"]) == {"GSE1", "GSE2", "GSE3"}


def test_scores_follow_the_published_direction(world):
    table = world.run().predictions
    for model in ("septicyte_lab", "faim3_plac8", *sorted(FITTED - {"gradient_boosting"})):
        part = table[(table["model"] == model) & (table["cohort"] == "GSE1")]
        assert roc_auc_score(part["case"], part["score"]) > 0.8, model


def test_scores_that_cannot_be_given_are_refused_with_missing_genes_and_cohorts(world):
    world.expression.loc[world.samples["cohort"].to_numpy() == "GSE2", "LAMP1"] = np.nan
    result = world.run()
    assert "GSE2 lacks LAMP1" in result.refusals["septicyte_lab"]
    assert "IFI44L" in result.refusals["herberg"]
    assert "septicyte_lab" not in set(result.predictions["model"])
    assert result.about["septicyte_lab"]["developed_on"] == ["GSE65682"]


def test_results_repeat_and_do_not_depend_on_test_labels(world):
    first = world.run().predictions
    pd.testing.assert_frame_equal(first, world.run().predictions)
    turned = World(world.samples.copy(), world.expression, world.profiles, world.folds[:1])
    held_out = turned.samples["gsm"].isin(world.folds[0].test)
    turned.samples.loc[held_out, "case"] = 1 - turned.samples.loc[held_out, "case"]
    again = turned.run().predictions
    before = first[first["fold"] == "GSE1"].reset_index(drop=True)
    np.testing.assert_array_equal(again["score"], before["score"])
    assert (again["case"] != before["case"]).all()


def test_a_test_sample_is_scored_alone(world):
    alone = World(world.samples, world.expression, world.profiles, [])
    first = world.folds[0]
    alone.folds = [PlainFold("GSE1", first.train, first.test[:1])]
    here = alone.run().predictions.set_index("model")["score"]
    table = world.run().predictions
    there = table[table["gsm"] == first.test[0]].set_index("model")["score"]
    pd.testing.assert_series_equal(here, there, check_like=True)


def test_the_single_gene_is_chosen_among_genes_that_the_test_side_measured(world):
    held_out = list(world.folds[0].test)
    world.profiles.loc[held_out, "PLAC8"] = np.nan
    details = world.run().details["best_single_gene"]
    assert details["GSE1"]["gene"] == "FCMR"
    assert details["GSE1"]["direction"] == "down"
    assert details["GSE2"]["candidates"] == len(GENES) - 1


def test_a_single_gene_that_nobody_measured_is_refused(world):
    world.profiles.loc[list(world.folds[0].test)] = np.nan
    options = NOTHING.model_copy(update={"single_gene": SingleGeneOptions()})
    assert "fold GSE1" in world.run(options).refusals["best_single_gene"]


def test_the_single_gene_may_be_read_from_log2_expression(world):
    options = OPTIONS.model_copy(update={"single_gene": SingleGeneOptions(values="log2")})
    assert world.run(options).details["best_single_gene"]["GSE3"]["gene"] == "PLAC8"


def test_models_can_be_left_out_and_unknown_signatures_are_named(world):
    assert list(world.run(NOTHING).predictions.columns) == PREDICTION_COLUMNS
    with pytest.raises(EvaluationError, match="'sms'; those known are"):
        world.run(BaselineOptions(signatures=("sms",)))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda w: setattr(w, "profiles", w.profiles.iloc[1:]), "profiles lack 1"),
        (lambda w: setattr(w, "expression", w.expression.iloc[1:]), "expression lack 1"),
        (lambda w: setattr(w, "samples", w.samples.iloc[1:]), "no sample of the stratum"),
        (lambda w: setattr(w, "samples", w.samples.assign(case=1)), "both classes"),
        (lambda w: setattr(w, "samples", pd.concat([w.samples] * 2)), "stands twice"),
    ],
)
def test_tables_that_do_not_fit_end_with_a_sentence(world, spoil, words):
    spoil(world)
    with pytest.raises(EvaluationError, match=words):
        world.run()


def test_entropy_is_one_at_one_half_and_zero_when_sure():
    np.testing.assert_allclose(binary_entropy(np.array([0.0, 0.5, 1.0])), [0, 1, 0])


@pytest.mark.parametrize(("sign", "direction"), [(1.0, "high"), (-1.0, "low")])
def test_a_score_without_a_sourced_direction_takes_it_from_training_folds(world, sign, direction):
    world.expression["NLRP1"] = 12.0 + 3 * sign * world.samples["case"].to_numpy()
    world.expression["IDNK"], world.expression["PLAC8"] = 5.0, 8.0
    result = world.run(OPTIONS.model_copy(update={"signatures": ("snip",)}))
    details = result.details["snip"]["GSE2"]
    assert (details["direction"], details["direction_from"]) == (direction, "training fold")
    part = result.predictions.query("model == 'snip'")
    assert roc_auc_score(part["case"], part["score"]) == 1.0


def test_a_published_direction_is_kept_where_training_contradicts_it(world):
    world.expression["PLAC8"] -= 6.0 * world.samples["case"].to_numpy()
    result = world.run(OPTIONS.model_copy(update={"signatures": ("septicyte_lab",)}))
    assert "did not hold" in result.details["septicyte_lab"]["GSE1"]["note"]
    part = result.predictions.query("model == 'septicyte_lab' and cohort == 'GSE1'")
    assert roc_auc_score(part["case"], part["score"]) < 0.3
