"""Every model of a study side by side, one row a stratum and model."""

from __future__ import annotations

from typing import Any

import pandas as pd

_WITH_INTERVAL = ("auroc", "average_precision", "average_precision_at_half")
_ENDS = {"": "value", "_low": "low", "_high": "high"}
_PLAIN = (
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "brier",
    "ece",
    "calibration_slope",
    "calibration_intercept",
)
# Keys that reports written before them do not hold.
_LATER = ("pooled_auroc", "sensitivity_at_95_specificity")
COLUMNS = [
    "study",
    "stratum",
    "model",
    "n",
    "cases",
    "prevalence",
    *[f"{name}{end}" for name in _WITH_INTERVAL for end in _ENDS],
    *_PLAIN,
    "auroc_within_cohorts",
    *[f"{name}{end}" for name in _LATER for end in _ENDS],
    "auroc_difference",
    "auroc_difference_low",
    "auroc_difference_high",
    "p",
    "p_holm",
    "transductive",
    "run_id",
]
_KEYS = ("study", "stratum", "model")


def compare_models(reports: list[dict[str, Any]], runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Lay the evaluation reports side by side.

    Args:
        reports: Evaluation reports, one a stratum.
        runs: MLflow runs as ``mlflow.search_runs`` gives them, or any table with ``run_id`` and
            study, stratum, model (bare, or under ``tags.`` or ``params.``); the newest run of a
            model is named beside it.

    Returns:
        One row a stratum and model, best AUROC first in each stratum. ``auroc_difference`` is the
        reference model minus this one, with the paired DeLong p value and Holm's adjustment inside
        the stratum; empty for the reference itself. ``transductive`` names the steps by which a
        model's scores used other samples of a test cohort; empty when there are none.
    """
    rows: list[dict[str, Any]] = []
    for report in reports:
        comparisons = {part["model"]: part for part in report.get("comparisons", [])}
        within = report.get("within_cohorts", {})
        for model, numbers in report["models"].items():
            row: dict[str, Any] = {name: report[name] for name in ("study", "stratum")}
            row["model"] = model
            row.update({name: report[name] for name in ("n", "cases", "prevalence")})
            for name in _WITH_INTERVAL:
                row.update({f"{name}{end}": numbers[name][at] for end, at in _ENDS.items()})
            row.update({name: numbers[name] for name in _PLAIN})
            row["auroc_within_cohorts"] = within.get(model, {}).get("auroc", {}).get("value")
            for name in _LATER:
                part = numbers.get(name) or {}
                row.update({f"{name}{end}": part.get(at) for end, at in _ENDS.items()})
            row["transductive"] = "; ".join(report.get("transductive", {}).get(model, []))
            if model in comparisons:
                difference = comparisons[model]["auroc_difference"]
                row["auroc_difference"] = difference["value"]
                row["auroc_difference_low"] = difference["low"]
                row["auroc_difference_high"] = difference["high"]
                row["p"] = comparisons[model]["p"]
                row["p_holm"] = comparisons[model]["p_holm"]
            rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS)
    numbers_only = [name for name in COLUMNS if name not in (*_KEYS, "transductive", "run_id")]
    table[numbers_only] = table[numbers_only].apply(pd.to_numeric)
    known = _run_ids(runs)
    table["run_id"] = [
        known.get((str(row["study"]), str(row["stratum"]), str(row["model"]))) for row in rows
    ]
    order = {name: place for place, name in enumerate(pd.unique(table["stratum"]))}
    return table.sort_values(
        ["study", "stratum", "auroc"],
        ascending=[True, True, False],
        key=lambda column: column.map(order) if column.name == "stratum" else column,
        ignore_index=True,
        kind="stable",
    )


def _run_ids(runs: pd.DataFrame | None) -> dict[tuple[str, str, str], str]:
    """The newest run of each study, stratum and model."""
    if runs is None or runs.empty or "run_id" not in runs:
        return {}
    places: list[str] = []
    for key in _KEYS:
        place = next((name for name in (key, f"tags.{key}", f"params.{key}") if name in runs), None)
        if place is None:
            return {}
        places.append(place)
    ordered = runs.sort_values("start_time") if "start_time" in runs else runs
    known = ordered.dropna(subset=[*places, "run_id"])
    return {
        (str(study), str(stratum), str(model)): str(run_id)
        for study, stratum, model, run_id in known[[*places, "run_id"]].itertuples(
            index=False, name=None
        )
    }
