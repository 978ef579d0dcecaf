"""Great Expectations suites on the narrow frames that describe tables, never on the wide tables."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

SuiteName = Literal["genes", "samples", "sheet"]

# Bounds of what can be true at all, not of what is good: those are QC's thresholds.
_LOG2_BOUNDS = (-30.0, 40.0)
_OLDEST_YEARS = 125.0
_MIN_KEPT_SHARE = 0.5
_MAX_EXAMPLES = 5


@dataclass(frozen=True)
class SuiteResult:
    """How a frame met a suite.

    Attributes:
        success: Whether every expectation held.
        results: One JSON-safe dict an expectation: expectation, column, success, observed.
    """

    success: bool
    results: list[dict[str, Any]]


def _expectations(suite: SuiteName) -> list[Expectation]:
    # Its classes are not declared as exported, so that the type checker cannot see them.
    gxe: Any = importlib.import_module("great_expectations.expectations")

    share: dict[str, Any] = {"min_value": 0.0, "max_value": 1.0}
    if suite == "genes":
        return [
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            gxe.ExpectColumnValuesToNotBeNull(column="gene"),
            gxe.ExpectColumnValuesToBeUnique(column="gene"),
            gxe.ExpectColumnValueLengthsToBeBetween(column="gene", min_value=1, max_value=40),
            gxe.ExpectColumnValuesToBeBetween(column="missing_share", **share),
            gxe.ExpectColumnValuesToBeBetween(
                column="mean", min_value=_LOG2_BOUNDS[0], max_value=_LOG2_BOUNDS[1]
            ),
            gxe.ExpectColumnValuesToBeBetween(column="sd", min_value=0.0),
            gxe.ExpectColumnMeanToBeBetween(
                column="kept", min_value=_MIN_KEPT_SHARE, max_value=1.0
            ),
            gxe.ExpectColumnValuesToNotBeNull(column="mean_of_kept"),
        ]
    if suite == "samples":
        return [
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            gxe.ExpectColumnValuesToNotBeNull(column="gsm"),
            gxe.ExpectColumnValuesToBeUnique(column="gsm"),
            gxe.ExpectColumnValuesToMatchRegex(column="gsm", regex=r"^GSM\d+$"),
            gxe.ExpectColumnValuesToBeBetween(column="missing_share", **share),
            gxe.ExpectColumnValuesToBeBetween(column="correlation", min_value=-1.0, max_value=1.0),
            gxe.ExpectColumnValuesToBeBetween(
                column="median_log2", min_value=_LOG2_BOUNDS[0], max_value=_LOG2_BOUNDS[1]
            ),
            gxe.ExpectColumnMeanToBeBetween(
                column="kept", min_value=_MIN_KEPT_SHARE, max_value=1.0
            ),
            gxe.ExpectColumnValuesToNotBeNull(column="reasons_of_left_out"),
        ]
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1),
        gxe.ExpectColumnValuesToNotBeNull(column="gsm"),
        gxe.ExpectColumnValuesToBeUnique(column="gsm"),
        gxe.ExpectColumnValuesToMatchRegex(column="gsm", regex=r"^GSM\d+$"),
        gxe.ExpectColumnValuesToNotBeNull(column="subject"),
        gxe.ExpectColumnValuesToBeBetween(
            column="age_years", min_value=0.0, max_value=_OLDEST_YEARS
        ),
        gxe.ExpectColumnValuesToBeInSet(column="sex", value_set=["female", "male"]),
        gxe.ExpectColumnValuesToBeInSet(column="case", value_set=[0.0, 1.0]),
        gxe.ExpectColumnValuesToNotBeNull(column="used"),
        gxe.ExpectColumnValuesToNotBeNull(column="stratum_of_used"),
        gxe.ExpectColumnValuesToNotBeNull(column="why_not_of_unused"),
    ]


def _prepared(frame: pd.DataFrame, suite: SuiteName) -> pd.DataFrame:
    """Plain dtypes, and one column for each "if this then that" (a gap there is a failure)."""
    plain = frame.reset_index(drop=True).copy()
    for column in ("case", "kept", "used"):
        if column in plain:
            plain[column] = plain[column].astype("Float64").astype(np.float64)
    for condition, when, column, name in (
        ("kept", 1.0, "mean", "mean_of_kept"),
        ("kept", 0.0, "reasons", "reasons_of_left_out"),
        ("used", 1.0, "stratum", "stratum_of_used"),
        ("used", 0.0, "why_not", "why_not_of_unused"),
    ):
        if condition in plain and column in plain:
            cells = plain[column].astype(object).replace("", None)
            plain[name] = cells.where(plain[condition] == when, "-")
    return plain


def _json_safe(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _observed(result: dict[str, Any]) -> Any:
    if "observed_value" in result:
        return _json_safe(result["observed_value"])
    if "unexpected_count" in result:
        return {
            "rows": _json_safe(result.get("element_count")),
            "unexpected": _json_safe(result["unexpected_count"]),
            "examples": [
                _json_safe(one) for one in result.get("partial_unexpected_list", [])[:_MAX_EXAMPLES]
            ],
        }
    return "the column is missing or of another type"


def run_suite(frame: pd.DataFrame, suite: SuiteName) -> SuiteResult:
    """Hold a narrow frame against its suite, in an ephemeral context that keeps and sends nothing.

    Args:
        frame: ``QcResult.genes``, ``QcResult.samples`` or a sample sheet.
        suite: Which of them it is.

    Returns:
        One result an expectation, in the suite's order; a column that is missing is a failure of
        what is expected of it.

    Raises:
        ExpressionError: When the suite is unknown.
    """
    if suite not in ("genes", "samples", "sheet"):
        raise ExpressionError(f"There is no suite {suite!r}; use genes, samples or sheet.")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset(suite)
        .add_batch_definition_whole_dataframe("whole")
        .get_batch({"dataframe": _prepared(frame, suite)})
    )
    expectations = _expectations(suite)
    validated = batch.validate(gx.ExpectationSuite(name=suite, expectations=expectations))
    # Results come in an order of GX's own.
    keys = [(one.expectation_type, getattr(one, "column", None)) for one in expectations]
    results = [
        {
            "expectation": config.type,
            "column": config.kwargs.get("column"),
            "success": bool(one.success),
            "observed": _observed(one.result),
        }
        for one in validated.results
        if (config := one.expectation_config) is not None
    ]
    results.sort(key=lambda one: keys.index((one["expectation"], one["column"])))
    return SuiteResult(success=bool(validated.success), results=results)
