"""The dagster-pandas types of the frames that pass between assets: which columns, of which type.

A column that is not named here may be there all the same.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

if TYPE_CHECKING:
    from dagster_pandas import PandasColumn

PROFILES = "profiles"
TOKENS = "token_dataset"
"""The frame whose cells are lists, which a type of columns cannot look into."""


@cache
def columns_of(frame: str) -> "list[PandasColumn]":
    """Return the columns that a frame must have.

    Raises:
        KeyError: When no asset gives a frame of that name.
    """
    return [*_COLUMNS[frame]()]


@cache
def type_of(frame: str) -> dg.DagsterType:
    """Return the Dagster type of a frame.

    Raises:
        KeyError: When no asset gives a frame of that name.
    """
    from dagster_pandas import create_dagster_pandas_dataframe_type

    return create_dagster_pandas_dataframe_type(name=frame, columns=columns_of(frame))


def torn_tokens(frame: pd.DataFrame) -> str:
    """Say what is wrong with the lists of a token table; empty when nothing is."""
    twice = repeated_in_a_fold(frame)
    if twice:
        return twice
    lengths = frame[["genes", "positions", "values"]].map(len)
    uneven = frame.loc[lengths.nunique(axis=1) > 1, "gsm"]
    if len(uneven):
        return (
            f"the lists of {len(uneven)} samples differ in length ({uneven.iloc[0]} is the first)"
        )
    without = frame.loc[lengths["genes"] == 0, "gsm"]
    if len(without):
        return f"{len(without)} samples have no token ({without.iloc[0]} for one)"
    return ""


def repeated_in_a_fold(frame: pd.DataFrame) -> str:
    """Say which sample a fold has twice; empty when none has."""
    again = frame.duplicated(["fold", "gsm"])
    if not again.any():
        return ""
    row = frame.loc[again].iloc[0]
    return f"the gsm {row['gsm']} stands twice in the set {row['fold']}"


def _text(name: str, **others: Any) -> "PandasColumn":
    from dagster_pandas import PandasColumn

    return PandasColumn.string_column(name, non_nullable=True, **others)


def _any(name: str) -> "PandasColumn":
    from dagster_pandas import PandasColumn

    return PandasColumn(name)


def _share(name: str, known: bool = True) -> "PandasColumn":
    return _float(name, known, min_value=0.0, max_value=1.0)


def _float(name: str, known: bool = True, **bounds: Any) -> "PandasColumn":
    from dagster_pandas import PandasColumn

    missing = {"non_nullable": True} if known else {"ignore_missing_vals": True}
    return PandasColumn.float_column(name, **missing, **bounds)


def _count(name: str, least: int = 0, **others: Any) -> "PandasColumn":
    from dagster_pandas import PandasColumn

    return PandasColumn.integer_column(name, min_value=least, non_nullable=True, **others)


def _sample_sheet() -> "list[PandasColumn]":
    from dagster_pandas import PandasColumn

    return [
        _text("gsm", unique=True),
        _text("subject"),
        _float("age_years", known=False),
        *map(_any, ("sex", "timepoint", "label", "case", "stratum")),
        PandasColumn.boolean_column("used", non_nullable=True),
        _text("why_not"),
    ]


def _sample_overlap() -> "list[PandasColumn]":
    return [
        *map(_text, ("gsm_a", "cohort_a", "gsm_b", "cohort_b", "reason")),
        # Only what expression says has one.
        _float("similarity", known=False, min_value=-1.0, max_value=1.0),
    ]


def _gene_vocabulary() -> "list[PandasColumn]":
    return [
        _count("position", unique=True),
        _text("gene", unique=True),
        _count("n_cohorts", least=1),
        _share("share_of_cohorts"),
        _share("variability", known=False),
    ]


def _token_dataset() -> "list[PandasColumn]":
    return [_text("fold"), _text("gsm"), *map(_any, ("genes", "positions", "values"))]


def _profiles() -> "list[PandasColumn]":
    # The genes are the stratum's own.
    return [*map(_text, ("fold", "gsm", "cohort"))]


def _blood_composition() -> "list[PandasColumn]":
    # The kinds of cells are those of the markers.
    return [_text("gsm", unique=True), _text("why_not")]


def _geo_catalog() -> "list[PandasColumn]":
    from dagster_pandas import PandasColumn

    return [
        _text("accession", unique=True),
        *map(_any, ("title", "type", "platforms", "published", "updated", "revision")),
        PandasColumn.integer_column("samples", min_value=0, ignore_missing_vals=True),
        PandasColumn.categorical_column(
            "status", {"found", "proposed", "approved", "rejected", "ingested"}
        ),
        _text("first_seen"),
        _text("checked_at"),
        _any("revised_at"),
        _share("confidence", known=False),
        _any("note"),
    ]


def _predictions() -> "list[PandasColumn]":
    from dagster_pandas import PandasColumn

    return [
        *map(_text, ("gsm", "cohort", "stratum", "subject")),
        PandasColumn.integer_column("case", min_value=0, max_value=1, non_nullable=True),
        *map(_text, ("fold", "model")),
        _share("score"),
        _float("uncertainty", min_value=0.0),
    ]


def _transfer() -> "list[PandasColumn]":
    return [*map(_text, ("level", "trained_on", "tested_on")), *_predictions()]


def _model_comparison() -> "list[PandasColumn]":
    measured = ("auroc", "average_precision", "average_precision_at_half")
    return [
        *map(_text, ("study", "stratum", "model")),
        _count("n", least=1),
        _count("cases"),
        _share("prevalence"),
        *(_share(f"{name}{end}") for name in measured for end in ("", "_low", "_high")),
        *(_share(name, known=False) for name in ("sensitivity", "specificity", "p", "p_holm")),
        _any("run_id"),
    ]


def _gene_signature() -> "list[PandasColumn]":
    return [
        _text("gene", unique=True),
        _float("mean_abs", min_value=0.0),
        _float("mean_signed"),
        _share("stability"),
        _count("rank", least=1, unique=True),
        _float("separation"),
    ]


_COLUMNS = {
    "sample_sheet": _sample_sheet,
    "sample_overlap": _sample_overlap,
    "gene_vocabulary": _gene_vocabulary,
    PROFILES: _profiles,
    TOKENS: _token_dataset,
    "blood_composition": _blood_composition,
    "geo_catalog": _geo_catalog,
    "predictions": _predictions,
    "stratum_transfer": _transfer,
    "model_comparison": _model_comparison,
    "gene_signature": _gene_signature,
}
