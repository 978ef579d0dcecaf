"""Whether a new adapter takes the champion's place: both judged on the same out-of-fold samples.

The new one is champion unless the data show it worse: by a one-sided paired DeLong test of the
AUROC, or by a paired bootstrap of persons of what tells its calibration, Brier score and expected
calibration error (ECE). All three are judged at the same level, so that an equal adapter is turned
away a little more often than that level says, never less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation import metrics, resampling
from genellm_dagster.evaluation.delong import delong_test
from genellm_dagster.evaluation.intervals import Interval, normal_quantile
from genellm_dagster.evaluation.metrics import FloatArray, IntArray
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.tracking.options import PromotionOptions
from genellm_dagster.tracking.registry import RegisteredAdapter
from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster.workflows.out_of_fold import numbers_on_record, predictions_of, recorded

_ROUNDING = 1e-9

FIRST, SAME, PAIRED, ON_RECORD = "first", "same", "paired", "on record"


@dataclass(frozen=True)
class Decision:
    """Whether a new adapter is to be champion.

    Attributes:
        promote: Whether it is.
        basis: ``first`` of its stratum, the ``same`` as the champion, ``paired`` on common samples,
            or by the numbers that are ``on record``.
        reason: In words, with the numbers that decided.
        against: Version of the champion; 0 when there is none.
        numbers: Nested; what was measured.
    """

    promote: bool
    basis: str
    reason: str
    against: int = 0
    numbers: Mapping[str, Any] = field(default_factory=dict)


def decision(
    tracker: Tracker,
    champion: RegisteredAdapter | None,
    own: pd.DataFrame,
    persons: Mapping[str, int],
    options: PromotionOptions,
    evaluation: EvaluationOptions,
) -> Decision:
    """Say whether a new adapter takes the champion's place, and why.

    Args:
        tracker: MLflow, which keeps the champion's predictions.
        champion: The adapter in use.
        own: The new adapter's samples, as :func:`out_of_fold` gives them.
        persons: gsm to person, of all of ``own``.
        options: What counts as worse.
        evaluation: Resamplings, bins, seed.

    Raises:
        EvaluationError: When ``persons`` lacks a sample.
        StoreError: When MLflow cannot be reached.
    """
    if champion is None:
        return Decision(True, FIRST, "The first adapter of this stratum.")
    before, why = predictions_of(tracker, champion)
    if before is None:
        return _on_record(champion, own, why, options, evaluation)
    return compared(champion, own, before, persons, options, evaluation, note=why)


def compared(
    champion: RegisteredAdapter,
    own: pd.DataFrame,
    before: pd.DataFrame,
    persons: Mapping[str, int],
    options: PromotionOptions,
    evaluation: EvaluationOptions,
    note: str = "",
) -> Decision:
    """Compare in pairs, on the samples that both have judged under the same label.

    Args:
        champion: The adapter in use.
        own: Samples of the new adapter.
        before: Samples of the champion.
        persons: gsm to person, of all of ``own``.
        options: What counts as worse.
        evaluation: Resamplings, bins, seed.
        note: To be said with the outcome.
    """
    both = own.merge(before, on="gsm", suffixes=("", "_before"))
    common = both[both["case"] == both["case_before"]]
    counts = {
        "n": len(common),
        "cases": int(common["case"].sum()),
        "only_new": len(own) - len(both),
        "only_champion": len(before) - len(both),
        "label_changed": len(both) - len(common),
    }
    fewest = min(counts["cases"], counts["n"] - counts["cases"])
    if fewest < options.min_per_class:
        why = (
            f"only {counts['cases']} cases and {counts['n'] - counts['cases']} controls were "
            f"judged by both under the same label, and {options.min_per_class} of each are needed"
        )
        return _on_record(champion, own, why, options, evaluation, {"samples": counts})
    strangers = [gsm for gsm in common["gsm"] if gsm not in persons]
    if strangers:
        raise EvaluationError(
            f"The predictions hold {strangers[0]}, which is none of the stratum's samples any "
            "more; materialize cross_validation again."
        )
    case = common["case"].to_numpy(dtype=np.int_)
    new = common["score"].to_numpy(dtype=np.float64)
    old = common["score_before"].to_numpy(dtype=np.float64)
    person = np.array([persons[gsm] for gsm in common["gsm"]], dtype=np.int_)
    auroc = _auroc(case, new, old, person, options.level)
    brier, ece = _calibration(case, new, old, person, options, evaluation)
    worse = [
        name
        for name, found in (("AUROC", auroc), ("Brier score", brier), ("ECE", ece))
        if found["worse"]
    ]
    numbers = {
        "level": options.level,
        "calibration_margin": options.calibration_margin,
        "samples": {**counts, "persons": len(np.unique(person))},
        "auroc": auroc,
        "brier": brier,
        "ece": ece,
    }
    reason = " ".join(
        part
        for part in (
            _verdict(champion.version, worse, options),
            _in_words(numbers),
            _which_samples(counts),
            note,
        )
        if part
    )
    return Decision(not worse, PAIRED, reason, champion.version, numbers)


def _auroc(
    case: IntArray, new: FloatArray, old: FloatArray, person: IntArray, level: float
) -> dict[str, Any]:
    from scipy.stats import norm

    test = delong_test(case, new, old, person)
    if test.z is None:
        # Without any spread nothing is estimated: a difference is then one of every pair, as when
        # a constant score meets a perfect one, and no chance.
        p = 0.0 if test.difference < -_ROUNDING else 1.0
    else:
        p = float(norm.cdf(test.z))
    half = normal_quantile(1 - 2 * level) * test.standard_error
    return {
        "new": metrics.auroc(case, new),
        "champion": metrics.auroc(case, old),
        "difference": Interval(
            test.difference, test.difference - half, test.difference + half
        ).as_json(),
        "p_worse": p,
        "worse": p < level,
    }


def _calibration(
    case: IntArray,
    new: FloatArray,
    old: FloatArray,
    person: IntArray,
    options: PromotionOptions,
    evaluation: EvaluationOptions,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Brier score and ECE of both, and the interval of what the new one has more of."""
    drawn = resampling.bootstrap_counts(case, person, evaluation.bootstraps, evaluation.seed)
    bins, margin = evaluation.ece_bins, options.calibration_margin

    def brier_of(score: FloatArray) -> tuple[float, FloatArray]:
        return metrics.brier(case, score), resampling.resampled_mean((score - case) ** 2, drawn)

    def ece_of(score: FloatArray) -> tuple[float, FloatArray]:
        return (
            metrics.expected_calibration_error(case, score, bins),
            resampling.resampled_calibration_error(case, score, drawn, bins),
        )

    found = []
    for measure in (brier_of, ece_of):
        (value, resampled), (value_before, resampled_before) = measure(new), measure(old)
        difference = value - value_before
        # Reflected: a resample repeats samples, which lifts the ECE of the finer spread score most.
        # Percentiles would hold that against it; measured, they also miss an overconfident
        # adapter four times as often.
        low, high = 2 * difference - np.quantile(
            resampled - resampled_before, [1 - options.level, options.level]
        )
        # No interval leaves out what was measured.
        low, high = min(float(low), difference), max(float(high), difference)
        found.append(
            {
                "new": value,
                "champion": value_before,
                "difference": Interval(difference, low, high).as_json(),
                "worse": low > margin,
            }
        )
    return found[0], found[1]


def _on_record(
    champion: RegisteredAdapter,
    own: pd.DataFrame,
    why: str,
    options: PromotionOptions,
    evaluation: EvaluationOptions,
    numbers: Mapping[str, Any] | None = None,
) -> Decision:
    """Decide by the numbers that stand beside the champion; no test is possible on them."""
    head = f"Not compared in pairs with version {champion.version}, for {why}."
    own_numbers = numbers_on_record(own, evaluation)
    measured: dict[str, Any] = dict(numbers or {})
    worse, said = [], []
    for key, name, sign, margin in (
        ("auroc", "AUROC", -1, 0.0),
        ("brier", "Brier score", 1, options.calibration_margin),
        ("ece", "ECE", 1, options.calibration_margin),
    ):
        new, before = float(own_numbers[f"out_of_fold_{key}"]), champion.tags
        old = recorded(before, f"out_of_fold_{key}")
        if old is None:
            said.append(f"{name} {new:.4f} against none")
            continue
        worse += [name] if sign * (new - old) > margin + _ROUNDING else []
        measured[key] = {"new": new, "champion": old}
        said.append(f"{name} {new:.4f} against {old:.4f}")
    record = f"On record: {', '.join(said)}."
    if "auroc" not in measured:
        end = "Without an AUROC to compare with it stays challenger."
        return Decision(False, ON_RECORD, f"{head} {record} {end}", champion.version, measured)
    end = f"Worse in {_listed(worse)}: challenger." if worse else "Not worse: champion."
    return Decision(not worse, ON_RECORD, f"{head} {record} {end}", champion.version, measured)


def _verdict(version: int, worse: list[str], options: PromotionOptions) -> str:
    if worse:
        return f"Shown worse than version {version} in {_listed(worse)}: challenger."
    return f"Not shown worse than version {version} at the level {options.level:g}: champion."


def _in_words(numbers: Mapping[str, Any]) -> str:
    confidence = f"{100 * (1 - 2 * float(numbers['level'])):g} %"

    def part(key: str, name: str, more: str = "") -> str:
        found = numbers[key]
        gap = found["difference"]
        return (
            f"{name} {found['new']:.4f} against {found['champion']:.4f}, difference "
            f"{gap['value']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f}{more})"
        )

    p = f", one-sided DeLong p for worse {numbers['auroc']['p_worse']:.3g}"
    samples = numbers["samples"]
    return (
        f"On {samples['n']} common out-of-fold samples of {samples['persons']} persons "
        f"({samples['cases']} cases; intervals {confidence}): {part('auroc', 'AUROC', p)}; "
        f"{part('brier', 'Brier score')}; {part('ece', 'ECE')}."
    )


def _which_samples(counts: Mapping[str, int]) -> str:
    parts = [
        f"{counts[key]} {words}"
        for key, words in (
            ("only_new", "that only the new one has judged"),
            ("only_champion", "that only the champion has"),
            ("label_changed", "whose label has changed"),
        )
        if counts[key]
    ]
    return f"Left out of it: {_listed(parts)}." if parts else ""


def _listed(parts: list[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)
