"""Asset checks: structure by dagster-pandas types, content by Great Expectations suites.

All are blocking: what fails them would make wrong science downstream. They run in the step that
makes the asset, on the partition that it makes.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from genellm_dagster.files import sha256_of
from genellm_dagster.geo.records import Manifest

if TYPE_CHECKING:
    from dagster_pandas import PandasColumn

STRUCTURE = "structure"
CONTENT = "content"
SAMPLES = "samples"
GENES = "genes"
FILES = "files_are_whole"


def spec(
    asset: dg.AssetKey,
    name: str,
    description: str,
    partitions: dg.PartitionsDefinition,
) -> dg.AssetCheckSpec:
    """Declare a blocking check of an asset, on the asset's own partitions.

    Dagster accepts a check with other partitions than its asset's without a word.
    """
    return dg.AssetCheckSpec(
        name, asset=asset, description=description, blocking=True, partitions_def=partitions
    )


@cache
def _columns(frame: str) -> "list[PandasColumn]":
    from dagster_pandas import PandasColumn

    if frame == "sample_sheet":
        return [
            PandasColumn.string_column("gsm", non_nullable=True, unique=True),
            PandasColumn.string_column("subject", non_nullable=True),
            PandasColumn.float_column("age_years", ignore_missing_vals=True),
            PandasColumn("sex"),
            PandasColumn("timepoint"),
            PandasColumn("label"),
            PandasColumn("case"),
            PandasColumn("stratum"),
            PandasColumn.boolean_column("used", non_nullable=True),
            PandasColumn.string_column("why_not", non_nullable=True),
        ]
    if frame == "predictions":
        return [
            PandasColumn.string_column("gsm", non_nullable=True),
            PandasColumn.string_column("cohort", non_nullable=True),
            PandasColumn.string_column("stratum", non_nullable=True),
            PandasColumn.string_column("subject", non_nullable=True),
            PandasColumn.integer_column("case", min_value=0, max_value=1, non_nullable=True),
            PandasColumn.string_column("fold", non_nullable=True),
            PandasColumn.string_column("model", non_nullable=True),
            PandasColumn.float_column("score", min_value=0.0, max_value=1.0, non_nullable=True),
            PandasColumn.float_column("uncertainty", min_value=0.0, non_nullable=True),
        ]
    raise KeyError(frame)


def structure(asset: dg.AssetKey, frame: pd.DataFrame, kind: str) -> dg.AssetCheckResult:
    """Hold a frame against its dagster-pandas type."""
    from dagster_pandas import create_dagster_pandas_dataframe_type

    expected = create_dagster_pandas_dataframe_type(name=kind, columns=_columns(kind))
    result = dg.check_dagster_type(expected, frame)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=STRUCTURE,
        passed=bool(result.success),
        # dagster-pandas appends every offending row; the sentence before them is enough.
        description=(result.description or "").split("The offending")[0]
        or f"{len(frame)} rows with the columns of {kind}",
    )


def expression_structure(asset: dg.AssetKey, table: pd.DataFrame) -> dg.AssetCheckResult:
    """Check an expression table: float32, named sorted unique genes, unique samples, finite."""
    wrong = []
    if table.index.name != "gene" or not table.index.is_unique:
        wrong.append("the genes are not unique or not named")
    if not table.index.is_monotonic_increasing:
        wrong.append("the genes are not sorted")
    if not table.columns.is_unique:
        wrong.append("a sample comes twice")
    if not (table.dtypes == "float32").all():
        wrong.append("a column is not float32")
    if not table.empty and float(table.abs().max().max()) == float("inf"):
        wrong.append("a value is infinite")
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=STRUCTURE,
        passed=not wrong and not table.empty,
        description="; ".join(wrong) or f"{len(table)} genes x {table.shape[1]} samples",
    )


def content(
    asset: dg.AssetKey, frame: pd.DataFrame, suite: str, name: str = CONTENT
) -> dg.AssetCheckResult:
    """Hold a narrow frame against its Great Expectations suite."""
    from genellm_dagster.defs.shown import markdown
    from genellm_dagster.expression.expectations import run_suite

    result = run_suite(frame, suite)  # type: ignore[arg-type]
    failed = [
        f"{one['expectation']}({one['column']})" for one in result.results if not one["success"]
    ]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=result.success,
        description=f"not met: {', '.join(failed)}" if failed else "every expectation is met",
        metadata={"expectations": markdown(pd.DataFrame(result.results), rows=40)},
    )


def files_are_whole(asset: dg.AssetKey, folder: Path, manifest: Manifest) -> dg.AssetCheckResult:
    """Check that the files on disk are those of the manifest."""
    broken = [
        record.name
        for record in manifest.files
        if not (folder / record.name).is_file() or sha256_of(folder / record.name) != record.sha256
    ]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=FILES,
        passed=not broken,
        description=f"not as fetched: {', '.join(broken)}"
        if broken
        else f"{len(manifest.files)} files, SHA-256 as in the manifest",
    )
