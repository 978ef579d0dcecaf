"""Expression of new samples that no cohort describes: their ids and scale are found out.

Every sample is looked at alone, so that it gets the same values alone and among others. What the
samples do not agree on is refused, never decided by their majority.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.collapse import collapse
from genellm_dagster.expression.mapping import IdType, map_ids
from genellm_dagster.expression.options import (
    ExpressionOptions,
    ScaleOptions,
)
from genellm_dagster.expression.quantiles import numbers_of
from genellm_dagster.expression.scale import (
    CENTRED,
    ScaleKind,
    centring_marks,
    detect_scale,
    log2_of,
)
from genellm_dagster.expression.symbols import resolve_symbol, symbol_of_ensembl, symbol_of_entrez

_ENSEMBL = re.compile(r"ENSG\d{6,15}(\.\d+)?(_PAR_Y)?", re.IGNORECASE)
_MIN_ROWS_TO_COMPARE = 3


@dataclass(frozen=True)
class NewExpression:
    """Expression of new samples, and what was found out on the way.

    Attributes:
        table: genes x samples, float32, log2, index "gene" of approved symbols.
        scale: What the values were on.
        notes: What was found out, in sentences.
        marks: Steps in which other samples took part.
    """

    table: pd.DataFrame
    scale: ScaleKind
    notes: list[str]
    marks: list[str]


def gene_id_type(names: Sequence[str], *, may_be_entrez: bool = False) -> tuple[IdType, float]:
    """Return what kind of gene ids names most likely are, and which share of them is known.

    Args:
        names: The names.
        may_be_entrez: Whether bare numbers may be NCBI Gene ids; they may as well number samples.
    """
    if not names:
        return "symbol", 0.0
    known = {
        "symbol": sum(resolve_symbol(name)[0] is not None for name in names),
        "ensembl": sum(
            symbol_of_ensembl(name) is not None or bool(_ENSEMBL.fullmatch(name.strip()))
            for name in names
        ),
    }
    if may_be_entrez:
        known["entrez"] = sum(symbol_of_entrez(name) is not None for name in names)
    best = max(known, key=lambda kind: known[kind])
    return best, known[best] / len(names)  # type: ignore[return-value]


def scale_of_samples(
    values: pd.DataFrame, options: ScaleOptions | None = None
) -> tuple[ScaleKind, str]:
    """Recognise the scale of new samples, each by its own quantiles.

    Args:
        values: ids x samples; NaN is missing.
        options: Bounds of the rule.

    Returns:
        The scale that all samples are on, and why.

    Raises:
        ExpressionError: When no sample holds a number, or the samples differ in their scale.
    """
    found: dict[ScaleKind, tuple[str, str]] = {}
    for place, name in enumerate(values.columns):
        sample = values.iloc[:, [place]]
        numbers = numbers_of(sample)
        known = numbers[np.isfinite(numbers)]
        if len(known) == 0:
            continue
        scale = detect_scale(sample, options)
        kind: ScaleKind = scale.kind
        reason = scale.reason
        if kind == "linear" and (known >= 0).all() and (known % 1 == 0).all():
            kind, reason = "counts", f"{reason}, and all are whole numbers"
        found.setdefault(kind, (str(name), reason))
    if not found:
        raise ExpressionError("No sample holds a number; look at the table of values.")
    if len(found) > 1:
        told = ", ".join(f"{name} {kind}" for kind, (name, _) in found.items())
        raise ExpressionError(
            f"The samples differ in the scale that their values seem to be on ({told}); name the "
            "scale, or score those of each scale by themselves."
        )
    (kind, (_, reason)) = next(iter(found.items()))
    if (
        kind == "log2"
        and values.shape[1] >= _MIN_ROWS_TO_COMPARE
        and detect_scale(values, options).kind == CENTRED
    ):
        raise ExpressionError(
            "The values look centred gene by gene, which a sample alone does not show; name the "
            "scale: log2 or centred."
        )
    return kind, reason


def expression_of_samples(
    values: pd.DataFrame,
    id_type: IdType,
    scale: ScaleKind | None = None,
    options: ExpressionOptions | None = None,
) -> NewExpression:
    """Build the expression table of new samples: log2, then ids to symbols, then one row a gene.

    Args:
        values: ids x samples; repeated ids allowed, repeated samples not.
        id_type: What the ids are: symbol, ensembl or entrez.
        scale: Of the values; None: found out.
        options: Every setting of the room.

    Raises:
        ExpressionError: When a sample stands twice, the scale cannot be told or does not fit, or
            the ids are no genes.
    """
    options = options or ExpressionOptions()
    if not values.columns.is_unique:
        twice = values.columns[values.columns.duplicated()][0]
        raise ExpressionError(f"The sample {twice!r} stands twice; keep one of them.")
    numbers = numbers_of(values)
    infinite = np.isinf(numbers)
    clean = values.mask(infinite) if infinite.any() else values
    notes = []
    if scale is None:
        scale, reason = scale_of_samples(clean, options.scale)
        notes.append(f"values read as {scale}: {reason}")
    if infinite.any():
        notes.append(f"{int(infinite.sum())} infinite values count as missing")
    to_log2 = log2_of(clean, scale, options.scale)
    found = map_ids(clean.index, id_type, None, options.mapping)
    table, _ = collapse(clean, found.genes, options.collapse, found.rows, to_log2)
    notes.append(f"{found.counts['mapped']} of {len(clean)} ids name a gene, read as {id_type}")
    marks = [
        *options.transductive_collapse,
        *(options.scale.transductive if scale == "counts" else []),
        *centring_marks({"these samples": scale}),
    ]
    return NewExpression(table.astype(np.float32), scale, notes, marks)
