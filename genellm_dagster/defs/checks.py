"""Asset checks: structure by dagster-pandas types, content by Great Expectations suites.

All but the warnings of quality control are blocking: what fails them would make wrong science
downstream. They run in the step that makes the asset, on the partition that it makes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from genellm_dagster.defs import frame_types
from genellm_dagster.files import sha256_of
from genellm_dagster.geo.records import Manifest

if TYPE_CHECKING:
    from genellm_dagster.expression.data_docs import DataDocs
    from genellm_dagster.expression.expectations import SuiteName

STRUCTURE = "structure"
CONTENT = "content"
SAMPLES = "samples"
GENES = "genes"
FILES = "files_are_whole"
QC_WARNINGS = "qc_warnings"


def spec(
    asset: dg.AssetKey,
    name: str,
    description: str,
    partitions: dg.PartitionsDefinition | None = None,
    blocking: bool = True,
) -> dg.AssetCheckSpec:
    """Declare a check of an asset, on the asset's own partitions.

    Dagster accepts a check with other partitions than its asset's without a word.
    """
    return dg.AssetCheckSpec(
        name, asset=asset, description=description, blocking=blocking, partitions_def=partitions
    )


def structure(asset: dg.AssetKey, frame: pd.DataFrame, kind: str) -> dg.AssetCheckResult:
    """Hold a frame against its dagster-pandas type."""
    result = dg.check_dagster_type(frame_types.type_of(kind), frame)
    # dagster-pandas appends every offending row; the sentence before them is enough.
    wrong = (result.description or "").split("The offending")[0]
    if result.success and kind == frame_types.TOKENS:
        wrong = frame_types.torn_tokens(frame)
    if result.success and kind == frame_types.PROFILES:
        wrong = frame_types.repeated_in_a_fold(frame)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=STRUCTURE,
        passed=bool(result.success) and not wrong,
        description=wrong or f"{len(frame)} rows with the columns of {kind}",
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
    asset: dg.AssetKey, docs: "DataDocs", suite: "SuiteName", name: str = CONTENT
) -> dg.AssetCheckResult:
    """Tell how a narrow frame met its Great Expectations suite."""
    from genellm_dagster.defs.shown import data_docs, markdown

    result = docs.results[suite]
    failed = [
        f"{one['expectation']}({one['column']})" for one in result.results if not one["success"]
    ]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=result.success,
        description=f"not met: {', '.join(failed)}" if failed else "every expectation is met",
        metadata={
            "expectations": markdown(pd.DataFrame(result.results), rows=40),
            **data_docs(docs),
        },
    )


def qc_warnings(asset: dg.AssetKey, summary: Mapping[str, Any]) -> dg.AssetCheckResult:
    """Show what quality control warns of; a warning stops nothing."""
    from genellm_dagster.defs.shown import sentences

    said = [str(one) for one in summary.get("warnings") or []]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=QC_WARNINGS,
        passed=not said,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(said) or "nothing to warn of",
        metadata={"warnings": sentences(said)},
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
