"""The out-of-fold predictions by which an adapter is judged, kept with its run and found again."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genellm_dagster.errors import EvaluationError, StoreError
from genellm_dagster.evaluation import metrics
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.files import read_parquet, sha256_of, write_parquet
from genellm_dagster.tracking.registry import RegisteredAdapter
from genellm_dagster.tracking.run import TrackedRun
from genellm_dagster.tracking.tracker import Tracker

PREDICTIONS = "predictions.parquet"
PREDICTIONS_SHA256 = "predictions_sha256"
_OWN_FOLDER = "out_of_fold"
_SHORT_HASH = 12
_LARGEST_FILE = 256 * 1024 * 1024
_COLUMNS = ("gsm", "case", "score")
_ROUNDING = 1e-9


def out_of_fold(predictions: pd.DataFrame, whose: str) -> pd.DataFrame:
    """Return the judged samples of one model, by gsm, proven fit to be compared.

    Args:
        predictions: gsm, case, score, of one model.
        whose: For the sentence of an error.

    Raises:
        EvaluationError: When they cannot be judged.
    """
    missing = [name for name in _COLUMNS if name not in predictions]
    if missing:
        raise EvaluationError(f"{whose} lack {', '.join(missing)}; materialize cross_validation.")
    case = pd.to_numeric(predictions["case"], errors="coerce").to_numpy(float, na_value=np.nan)
    score = pd.to_numeric(predictions["score"], errors="coerce").to_numpy(float, na_value=np.nan)
    if not np.isin(case, (0.0, 1.0)).all():
        raise EvaluationError(f"{whose} hold a sample without label; materialize cross_validation.")
    if not ((score >= 0) & (score <= 1)).all():
        raise EvaluationError(
            f"{whose} hold a score that is not within 0..1; materialize cross_validation."
        )
    gsm = predictions["gsm"].astype(str).to_numpy()
    if len(np.unique(gsm)) < len(gsm):
        raise EvaluationError(f"{whose} hold a sample twice; materialize cross_validation.")
    metrics.require_both_classes(case.astype(np.int_))
    table = pd.DataFrame({"gsm": gsm, "case": case.astype(np.int_), "score": score})
    return table.sort_values("gsm", ignore_index=True)


def numbers_on_record(own: pd.DataFrame, options: EvaluationOptions) -> dict[str, float | int]:
    """Return the numbers that stand beside every registered adapter."""
    case, score = own["case"].to_numpy(), own["score"].to_numpy()
    return {
        "out_of_fold_auroc": metrics.auroc(case, score),
        "out_of_fold_n": len(own),
        "out_of_fold_cases": int(case.sum()),
        "out_of_fold_brier": metrics.brier(case, score),
        "out_of_fold_ece": metrics.expected_calibration_error(case, score, options.ece_bins),
    }


def keep_predictions(tracker: Tracker, run: TrackedRun, own: pd.DataFrame) -> str:
    """See that a run keeps the predictions its adapter is judged by, and return their SHA-256.

    The run of the cross-validation has them. Another one, made since or instead, gets a copy.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = tracker.kept(run.run_id, PREDICTIONS, Path(folder), _LARGEST_FILE)
        if found is not None:
            try:
                if out_of_fold(read_parquet(found), "The predictions").equals(own):
                    return sha256_of(found)
            except (EvaluationError, StoreError):
                pass  # No reason to stop: those that decide are in hand.
        file = Path(folder) / "own" / PREDICTIONS
        write_parquet(file, own)
        sha256 = sha256_of(file)
        run.artifact(file, f"{_OWN_FOLDER}/{sha256[:_SHORT_HASH]}")
    return sha256


def predictions_of(
    tracker: Tracker, champion: RegisteredAdapter
) -> tuple[pd.DataFrame | None, str]:
    """The samples that the champion was judged by; none, and why, when they are not to be had."""
    expected = champion.tags.get(PREDICTIONS_SHA256, "")
    if expected and not re.fullmatch(r"[0-9a-f]{64}", expected):
        return None, "the hash on record of its out-of-fold predictions is none"
    own = f"{_OWN_FOLDER}/{expected[:_SHORT_HASH]}/{PREDICTIONS}"
    why = "its out-of-fold predictions are not in MLflow any more"
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate((own, PREDICTIONS) if expected else (PREDICTIONS,)):
            into = Path(folder) / str(number)
            into.mkdir()
            file = tracker.kept(champion.run_id, name, into, _LARGEST_FILE)
            if file is None:
                continue
            if expected and sha256_of(file) != expected:
                why = "its out-of-fold predictions are not those that were registered"
                continue
            try:
                table = out_of_fold(read_parquet(file), "its out-of-fold predictions")
            except (EvaluationError, StoreError):
                why = "its out-of-fold predictions cannot be used"
                continue
            if expected:
                return table, ""
            if _agrees(table, champion.tags):
                return table, (
                    f"Version {champion.version} has no hash of its predictions on record; they "
                    "agree with its AUROC."
                )
            why = "its out-of-fold predictions have no hash and do not agree with its AUROC"
    return None, why


def recorded(tags: Mapping[str, str], name: str) -> float | None:
    """Return a number that was recorded on a version, or None."""
    try:
        value = float(tags[f"metric.{name}"])
    except (KeyError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _agrees(table: pd.DataFrame, tags: Mapping[str, str]) -> bool:
    """Whether predictions give the AUROC and number of samples that were recorded."""
    auroc, n = recorded(tags, "out_of_fold_auroc"), recorded(tags, "out_of_fold_n")
    found = metrics.auroc(table["case"].to_numpy(), table["score"].to_numpy())
    return auroc is not None and n == len(table) and abs(found - auroc) <= _ROUNDING
