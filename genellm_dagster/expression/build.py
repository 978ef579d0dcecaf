"""A cohort's expression table out of the values of its series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.collapse import collapse
from genellm_dagster.expression.mapping import IdType, map_ids
from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.expression.quantiles import count_by_sample, numbers_of
from genellm_dagster.expression.scale import ScaleKind, detect_scale, log2_of, quantiles_of
from genellm_dagster.expression.symbols import hgnc_version
from genellm_dagster.studies.cohort import Cohort


@dataclass(frozen=True)
class ExpressionResult:
    """An expression table and how it came about.

    Attributes:
        table: genes x samples, float32, log2, index "gene" of approved symbols, sorted.
        report: JSON-safe: samples, genes, ids (counts by what became of them, by how they were
            read, and of Excel's dates), values (infinite, missing), scale (kind,
            decided_by, reason, how counts were scaled, quantiles before and after), collapse
            (counts), hgnc, transductive.
    """

    table: pd.DataFrame
    report: dict[str, Any]


def _checked_values(values: pd.DataFrame | None, cohort: Cohort) -> pd.DataFrame:
    if values is None or values.shape[0] == 0 or values.shape[1] == 0:
        raise ExpressionError(
            f"The series of {cohort.accession} holds no expression values, only its header; fetch "
            "its RNA-seq counts, or take the cohort out of the study."
        )
    if not values.columns.is_unique:
        twice = values.columns[values.columns.duplicated()][0]
        raise ExpressionError(
            f"Sample {twice} of {cohort.accession} has two columns of values; keep one of them."
        )
    return values


def build_expression(
    values: pd.DataFrame | None,
    id_table: pd.DataFrame | None,
    cohort: Cohort,
    kind: str,
    options: ExpressionOptions | None = None,
) -> ExpressionResult:
    """Build the expression table of a cohort: log2, then ids to symbols, then one row a gene.

    Each step but a transductive collapse and TMM (see the options) looks at one sample alone; only
    the scale is recognised on the whole table.

    Args:
        values: ids x samples as the series gives them; repeated ids allowed.
        id_table: The platform's or the counts' annotation; None when ids are symbols.
        cohort: How ids and scale are read.
        kind: ``array`` for values as submitted, ``counts`` for NCBI's read counts by Entrez id.
        options: Every setting of the room.

    Raises:
        ExpressionError: When there are no values, no names for them, or a scale does not fit.
    """
    options = options or ExpressionOptions()
    if kind not in ("array", "counts"):
        raise ExpressionError(f"Values of {cohort.accession} are array or counts, not {kind!r}.")
    values = _checked_values(values, cohort)
    numbers = numbers_of(values)
    infinite = int(count_by_sample(numbers, _infinite).sum())
    clean = values if infinite == 0 else values.mask(_infinite(numbers))
    # NCBI's own count table has Entrez ids, whatever the cohort's array has.
    is_ncbis = kind == "counts" and cohort.values.source != "supplementary"
    id_type: IdType = "entrez" if is_ncbis else cohort.id_type
    scale_kind: ScaleKind
    try:
        if cohort.scale is not None:
            scale_kind, decided_by, reason = cohort.scale, "cohort file", "set by hand"
            before = quantiles_of(clean)
        elif kind == "counts":
            scale_kind, decided_by, reason = "counts", "source", "read from a table of counts"
            before = quantiles_of(clean)
        else:
            scale = detect_scale(clean, options.scale)
            scale_kind, decided_by, reason = scale.kind, "detected", scale.reason
            before = scale.quantiles
        to_log2 = log2_of(clean, scale_kind, options.scale)
        found = map_ids(clean.index, id_type, id_table, options.mapping)
    except ExpressionError as error:
        raise ExpressionError(f"{cohort.accession}: {error}") from error
    table, collapsed = collapse(clean, found.genes, options.collapse, found.rows, to_log2)
    if len(table) == 0:
        raise ExpressionError(
            f"No gene of {cohort.accession} has a value in any sample; look at the series file."
        )
    if numbers.dtype != np.float32:
        table = table.astype(np.float32)
    missing = count_by_sample(table.to_numpy(), np.isnan)
    report = {
        "accession": cohort.accession,
        "samples": table.shape[1],
        "genes": table.shape[0],
        "ids": {
            "type": id_type,
            **found.counts,
            "mapped_by": found.mapped_by,
            "excel_dates": found.excel_dates,
        },
        "values": {
            "infinite": infinite,
            "missing_share": float(missing.sum() / table.size),
            "samples_without_values": [str(gsm) for gsm in table.columns[missing == len(table)]],
        },
        "scale": {
            "kind": scale_kind,
            "decided_by": decided_by,
            "reason": reason,
            "counts": options.scale.counts if scale_kind == "counts" else None,
            "quantiles": before,
            "quantiles_log2": quantiles_of(table),
        },
        "collapse": collapsed,
        "hgnc": hgnc_version(),
        "transductive": [
            *options.transductive_collapse,
            *(options.scale.transductive if scale_kind == "counts" else []),
        ],
    }
    return ExpressionResult(table=table, report=report)


def _infinite(numbers: np.ndarray) -> np.ndarray:
    """Say which numbers are infinite, or would be as float32, which tables are kept in."""
    with np.errstate(over="ignore"):  # what overflows is what is looked for
        return np.isinf(numbers.astype(np.float32, copy=False))
