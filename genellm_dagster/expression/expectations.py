"""Great Expectations suites on the narrow frames that describe tables, never on the wide tables."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )
    from great_expectations.expectations.expectation import Expectation

SuiteName = Literal["genes", "samples", "sheet"]

# Bounds of what can be true at all, not of what is good: those are QC's thresholds.
_LOG2_BOUNDS = (-30.0, 40.0)
_OLDEST_YEARS = 125.0
_MIN_KEPT_SHARE = 0.5
_MAX_EXAMPLES = 5
_SEXES = ["female", "male"]
# Great Expectations keeps the context in use in a variable of the process.
_ONE_CONTEXT = threading.RLock()


@dataclass(frozen=True)
class SuiteResult:
    """How a frame met a suite.

    Attributes:
        success: Whether every expectation held.
        results: One JSON-safe dict an expectation: expectation, column, success, observed.
    """

    success: bool
    results: list[dict[str, Any]]


def _expectations(frame: pd.DataFrame, suite: SuiteName) -> list[Expectation]:
    # Its classes are not declared as exported, so that the type checker cannot see them.
    gxe: Any = importlib.import_module("great_expectations.expectations")

    required = _required(suite, gxe)
    named = {one.column for one in required if hasattr(one, "column")}
    return required + [
        expectation
        for column in frame.columns
        if column not in named and (expectation := _of_more(str(column), gxe)) is not None
    ]


def _of_more(column: str, gxe: Any) -> Expectation | None:
    """What holds for a column that a frame may have besides those that it must have."""
    between = gxe.ExpectColumnValuesToBeBetween
    expectation: Expectation | None = None
    if not column.isidentifier():
        return None
    if column == "sex" or column.startswith("sex_"):
        expectation = gxe.ExpectColumnValuesToBeInSet(column=column, value_set=_SEXES)
    elif column.endswith("_share") or column.startswith("share_"):
        expectation = between(column=column, min_value=0.0, max_value=1.0)
    elif column.endswith("_years"):
        expectation = between(column=column, min_value=0.0, max_value=_OLDEST_YEARS)
    elif column.startswith("iqr") or column.endswith(("_distance", "_residual")):
        expectation = between(column=column, min_value=0.0)
    return expectation


def _required(suite: SuiteName, gxe: Any) -> list[Expectation]:
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
        gxe.ExpectColumnValuesToBeInSet(column="sex", value_set=_SEXES),
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


@contextmanager
def expectations_context() -> Iterator[AbstractDataContext]:
    """Lend an ephemeral Great Expectations context that keeps, prints and sends nothing.

    One thread at a time: the next waits until the block ends.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with _ONE_CONTEXT:
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        yield context


def validate(
    context: AbstractDataContext, frame: pd.DataFrame, suite: SuiteName, run_name: str | None = None
) -> SuiteResult:
    """Hold a narrow frame against its suite; the context keeps the result, for Data Docs.

    Args:
        context: What :func:`expectations_context` lends; each suite at most once.
        frame: ``QcResult.genes``, ``QcResult.samples`` or a sample sheet.
        suite: Which of them it is.
        run_name: What the result is known by in the context.

    Raises:
        ExpressionError: When the suite is unknown.
    """
    if suite not in get_args(SuiteName):
        raise ExpressionError(f"There is no suite {suite!r}; use genes, samples or sheet.")
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier

    prepared = _prepared(frame, suite)
    expectations = _expectations(prepared, suite)
    batch = (
        context.data_sources.add_pandas(suite)
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("whole")
    )
    expected = context.suites.add(gx.ExpectationSuite(name=suite, expectations=expectations))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=suite, data=batch, suite=expected)
    )
    validated = definition.run(
        batch_parameters={"dataframe": prepared}, run_id=RunIdentifier(run_name=run_name)
    )
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


def run_suite(frame: pd.DataFrame, suite: SuiteName) -> SuiteResult:
    """Hold a narrow frame against its suite and keep nothing of it.

    Args:
        frame: ``QcResult.genes``, ``QcResult.samples`` or a sample sheet.
        suite: Which of them it is.

    Returns:
        One result an expectation, in the suite's order; a column that is missing is a failure of
        what is expected of it. Columns that a frame may have besides (shares, sexes, ages, spreads)
        are held against what is true of any such column.

    Raises:
        ExpressionError: When the suite is unknown.
    """
    with expectations_context() as context:
        return validate(context, frame, suite)
