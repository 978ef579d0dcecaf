"""Planted better, worse, equal and miscalibrated adapters meet a champion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.tracking.options import PromotionOptions
from genellm_dagster.tracking.registry import RegisteredAdapter
from genellm_dagster.workflows.out_of_fold import out_of_fold
from genellm_dagster.workflows.promotion import ON_RECORD, PAIRED, Decision, compared

OPTIONS = PromotionOptions()
EVALUATION = EvaluationOptions(bootstraps=400)
CHAMPION = RegisteredAdapter("planted-adult", 3, "run", "0" * 64, True, {})
DISTANCE = 2.0


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def planted(n: int = 300, seed: int = 0, distance: float = DISTANCE) -> tuple[np.ndarray, ...]:
    """Label, and the calibrated logits of a new model and an old one, from partly shared data."""
    draw = np.random.default_rng(seed)
    case = np.arange(n) % 2
    shared = draw.normal(size=n)
    logits = [
        apart * (case * apart + 0.8 * shared + 0.6 * draw.normal(size=n) - apart / 2)
        for apart in (distance, DISTANCE)
    ]
    return case, *logits


def judged(case: np.ndarray, score: np.ndarray, first: int = 0) -> pd.DataFrame:
    gsm = [f"GSM{number:05d}" for number in range(first, first + len(case))]
    return out_of_fold(pd.DataFrame({"gsm": gsm, "case": case, "score": score}), "They")


def strangers(own: pd.DataFrame) -> dict[str, int]:
    return {gsm: number for number, gsm in enumerate(own["gsm"])}


def decided(
    new: pd.DataFrame, old: pd.DataFrame, options: PromotionOptions = OPTIONS, **changes: object
) -> Decision:
    champion = RegisteredAdapter(**{**CHAMPION.__dict__, **changes})
    return compared(champion, new, old, strangers(new), options, EVALUATION)


def worse_in(decision: Decision) -> set[str]:
    return {key for key in ("auroc", "brier", "ece") if decision.numbers[key]["worse"]}


def test_an_equal_adapter_becomes_champion() -> None:
    case, new, old = planted()
    found = decided(judged(case, sigmoid(new)), judged(case, sigmoid(old)))
    assert (found.promote, found.basis, worse_in(found)) == (True, PAIRED, set())
    assert found.numbers["samples"]["n"] == 300
    assert found.against == 3


def test_a_better_adapter_becomes_champion() -> None:
    case, new, old = planted(distance=3)
    found = decided(judged(case, sigmoid(new)), judged(case, sigmoid(old)))
    assert found.promote
    assert found.numbers["auroc"]["difference"]["low"] > 0
    assert found.numbers["auroc"]["p_worse"] > 0.99


def test_an_adapter_that_orders_worse_stays_challenger() -> None:
    case, new, old = planted(distance=1.5)
    found = decided(judged(case, sigmoid(new)), judged(case, sigmoid(old)))
    assert not found.promote
    assert {"auroc", "brier"} <= worse_in(found)
    assert found.numbers["auroc"]["difference"]["high"] < 0
    assert "AUROC" in found.reason.split(":")[0]


@pytest.mark.parametrize(
    "wrong", [lambda logit: 4 * logit, lambda logit: logit + 2, lambda logit: 0.2 * logit]
)
def test_an_adapter_that_orders_alike_but_is_miscalibrated_stays_challenger(wrong) -> None:
    case, _, old = planted()
    found = decided(judged(case, sigmoid(wrong(old))), judged(case, sigmoid(old)))
    assert found.numbers["auroc"]["difference"]["value"] == 0
    assert not found.promote
    assert "ece" in worse_in(found)
    assert "auroc" not in worse_in(found)


def test_an_adapter_that_mends_the_calibration_becomes_champion() -> None:
    case, _, old = planted()
    found = decided(judged(case, sigmoid(old)), judged(case, sigmoid(4 * old)))
    assert found.promote
    assert found.numbers["ece"]["difference"]["high"] < 0


def test_a_better_order_does_not_excuse_a_worse_calibration() -> None:
    case, new, old = planted()
    found = decided(judged(case, sigmoid(6 + 0.5 * new + 2 * case)), judged(case, sigmoid(old)))
    assert found.numbers["auroc"]["difference"]["low"] > 0
    assert not found.promote


def test_a_constant_score_does_not_pass_where_delong_has_no_variance() -> None:
    case = np.arange(40) % 2
    perfect = judged(case, np.where(case == 1, 0.9, 0.1))
    found = decided(judged(case, np.full(40, 0.5)), perfect)
    assert found.numbers["auroc"]["p_worse"] == 0
    assert not found.promote
    reverse = decided(judged(case, np.where(case == 1, 0.1, 0.9)), perfect)
    assert reverse.numbers["auroc"]["worse"]


def test_differences_within_the_margin_do_not_count() -> None:
    case, _, old = planted()
    nudged = judged(case, sigmoid(old + 0.02))
    champion = judged(case, sigmoid(old))
    assert decided(nudged, champion).promote
    spoilt = judged(case, sigmoid(old + 0.8))
    assert not decided(spoilt, champion).promote
    assert decided(spoilt, champion, PromotionOptions(calibration_margin=0.1)).promote


def test_a_stricter_level_turns_away_what_a_laxer_one_lets_through() -> None:
    case, new, old = planted(distance=1.7)
    weaker, champion = judged(case, sigmoid(new)), judged(case, sigmoid(old))
    p = decided(weaker, champion).numbers["auroc"]["p_worse"]
    assert 0.001 < p < 0.2
    margin = {"calibration_margin": 0.1}
    assert decided(weaker, champion, PromotionOptions(level=p * 0.9, **margin)).promote
    assert not decided(weaker, champion, PromotionOptions(level=p * 1.1, **margin)).promote


def test_repeated_samples_of_a_person_add_no_evidence() -> None:
    case, new, old = planted(60, distance=1)
    score, times = sigmoid(new), 8
    own = judged(np.tile(case, times), np.tile(score, times))
    before = judged(np.tile(case, times), np.tile(sigmoid(old), times))
    person = {gsm: number % len(case) for number, gsm in enumerate(own["gsm"])}
    apart = compared(CHAMPION, own, before, strangers(own), OPTIONS, EVALUATION)
    joined = compared(CHAMPION, own, before, person, OPTIONS, EVALUATION)
    once = decided(judged(case, score), judged(case, sigmoid(old)))
    assert joined.numbers["samples"]["persons"] == 60
    p_apart, p_joined, p_once = (
        found.numbers["auroc"]["p_worse"] for found in (apart, joined, once)
    )
    assert p_apart < p_joined / 10
    assert p_joined == pytest.approx(p_once, rel=0.1)
    gap = joined.numbers["brier"]["difference"], apart.numbers["brier"]["difference"]
    assert gap[0]["high"] - gap[0]["low"] > 2 * (gap[1]["high"] - gap[1]["low"])


def test_equal_adapters_are_seldom_turned_away() -> None:
    away = 0
    for seed in range(100):
        case, new, old = planted(150, seed)
        away += not decided(judged(case, sigmoid(new)), judged(case, sigmoid(old))).promote
    # Three looks at a level of .05 each, which go together.
    assert away <= 20


def test_where_samples_differ_the_common_ones_decide_and_it_is_said() -> None:
    case, new, old = planted(200)
    own = judged(case[50:], sigmoid(new[50:]), first=50)
    before = judged(case[:150], sigmoid(old[:150]))
    # Outside of the common samples each is perfect, which must not count.
    own.loc[own["gsm"] >= "GSM00150", "score"] = own["case"].astype(float)
    before.loc[before["gsm"] < "GSM00050", "score"] = before["case"].astype(float)
    found = decided(own, before)
    alone = decided(judged(case[50:150], sigmoid(new[50:150]), 50),
                    judged(case[50:150], sigmoid(old[50:150]), 50))  # fmt: skip
    for key in ("auroc", "brier", "ece"):
        assert found.numbers[key] == alone.numbers[key]
    counts = found.numbers["samples"]
    assert (counts["n"], counts["only_new"], counts["only_champion"]) == (100, 50, 50)
    assert "50 that only the new one has judged and 50 that only the champion has" in found.reason


def test_a_sample_whose_label_has_changed_is_left_out_and_counted() -> None:
    case, new, old = planted(100)
    before = judged(case, sigmoid(old))
    relabelled = case.copy()
    relabelled[:7] = 1 - relabelled[:7]
    found = decided(judged(relabelled, sigmoid(new)), before)
    assert found.numbers["samples"]["label_changed"] == 7
    assert found.numbers["samples"]["n"] == 93
    assert "7 whose label has changed" in found.reason


def test_too_few_common_samples_leave_the_decision_to_the_record() -> None:
    case, new, old = planted(60)
    own, before = judged(case, sigmoid(new)), judged(case, sigmoid(old), first=52)
    found = decided(own, before, tags={"metric.out_of_fold_auroc": "0.5"})
    assert (found.promote, found.basis) == (True, ON_RECORD)
    assert "only 4 cases and 4 controls were judged by both" in found.reason
    assert found.numbers["samples"]["n"] == 8
    better = decided(own, before, tags={"metric.out_of_fold_auroc": "0.9999"})
    assert (better.promote, better.basis) == (False, ON_RECORD)
    calibrated = {"metric.out_of_fold_auroc": "0.5", "metric.out_of_fold_brier": "0.001"}
    found = decided(own, before, tags=calibrated)
    assert not found.promote
    assert "Worse in Brier score" in found.reason
    nothing = decided(own, before, tags={"metric.out_of_fold_auroc": "nan"})
    assert (nothing.promote, nothing.basis) == (False, ON_RECORD)


def test_a_sample_of_no_known_person_is_refused() -> None:
    case, new, old = planted(40)
    own, before = judged(case, sigmoid(new)), judged(case, sigmoid(old))
    with pytest.raises(EvaluationError, match="hold GSM00000, which is none of the stratum's"):
        compared(CHAMPION, own, before, {}, OPTIONS, EVALUATION)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": [0.1, np.nan, 0.3, 0.4]}, "not within 0..1"),
        ({"score": [0.1, np.inf, 0.3, 0.4]}, "not within 0..1"),
        ({"score": [0.1, "high", 0.3, 0.4]}, "not within 0..1"),
        ({"case": [0, 1, None, 1]}, "without label"),
        ({"case": [0, 1, 2, 1]}, "without label"),
        ({"case": [1, 1, 1, 1]}, "needs both classes"),
        ({"gsm": ["a", "b", "b", "c"]}, "a sample twice"),
    ],
)
def test_predictions_that_cannot_be_judged_are_refused(change: dict, words: str) -> None:
    table = {"gsm": ["a", "b", "c", "d"], "case": [0, 1, 0, 1], "score": [0.1, 0.2, 0.3, 0.4]}
    with pytest.raises(EvaluationError, match=words):
        out_of_fold(pd.DataFrame({**table, **change}), "They")
    with pytest.raises(EvaluationError, match="They lack case"):
        out_of_fold(pd.DataFrame(table).drop(columns="case"), "They")


@given(st.lists(st.floats(0, 1), min_size=24, max_size=60))
@settings(max_examples=40, deadline=None)
def test_no_adapter_is_worse_than_itself(scores: list[float]) -> None:
    own = judged(np.arange(len(scores)) % 2, np.array(scores))
    found = decided(own, own)
    assert found.promote
    assert found.numbers["auroc"]["difference"]["value"] == 0


@given(st.integers(0, 1000), st.permutations(range(60)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_samples_decides_nothing(seed: int, order: list[int]) -> None:
    case, new, old = planted(60, seed)
    own, before = judged(case, sigmoid(new)), judged(case, sigmoid(old))
    moved = out_of_fold(own.iloc[list(order)], "They")
    assert decided(moved, before.iloc[list(order)]) == decided(own, before)
