"""Samples that are one person or one array, within a cohort and across cohorts."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from genellm_dagster.expression.options import OverlapOptions
from genellm_dagster.expression.overlap.genes import common_genes, complete_genes
from genellm_dagster.expression.overlap.records import (
    paired_as_a_whole,
    same_gsm,
    same_subject,
    sharing_series,
    used,
)
from genellm_dagster.expression.overlap.search import by_expression
from genellm_dagster.expression.tables import checked

__all__ = ["COLUMNS", "comparable", "find_overlaps"]

COLUMNS = ("gsm_a", "cohort_a", "gsm_b", "cohort_b", "reason", "similarity")


def comparable(
    tables: dict[str, pd.DataFrame], options: OverlapOptions | None = None
) -> pd.DataFrame:
    """Say which cohorts have enough genes in common to recognise one array in both.

    Returns:
        One row a pair of cohorts: cohort_a, cohort_b, common_genes (measured in every sample of
        both), compared.
    """
    options = options or OverlapOptions()
    common = common_genes({name: complete_genes(table) for name, table in tables.items()})
    rows = [
        (a, b, common[a, b], common[a, b] >= options.min_common_genes)
        for a, b in itertools.combinations(sorted(tables), 2)
    ]
    return pd.DataFrame(rows, columns=["cohort_a", "cohort_b", "common_genes", "compared"])


def find_overlaps(
    tables: dict[str, pd.DataFrame],
    sheets: dict[str, pd.DataFrame],
    declared: dict[str, list[str]],
    options: OverlapOptions | None = None,
) -> pd.DataFrame:
    """Find the pairs of samples that must not be on both sides of a split.

    Four kinds of evidence: one accession in two cohorts; one subject token within a series, or in
    two series declared to share people; near-identical expression; and a declaration. Two cohorts
    that are declared to share people, but have too few common genes or samples to see who, are
    paired as a whole ("declared"): caution costs only samples.
    Samples that the sheets do not use take no part.

    Args:
        tables: Expression table (genes x samples) of each cohort.
        sheets: Sample sheet of each cohort.
        declared: Series that each cohort is known to share people with.
        options: When expression is near-identical.

    Returns:
        overlap: gsm_a, cohort_a, gsm_b, cohort_b, reason, similarity (NaN but for "expression");
        one row a pair and reason, cohort_a <= cohort_b, sorted.
    """
    options = options or OverlapOptions()
    sheets = {cohort: used(sheet) for cohort, sheet in sorted(sheets.items())}
    used_tables = {}
    for cohort, table in tables.items():
        checked(table, f"The expression table of {cohort}")
        wanted = set(sheets[cohort]["gsm"].astype(str)) if cohort in sheets else set(table.columns)
        columns = sorted(gsm for gsm in table.columns if gsm in wanted)
        if columns:
            used_tables[cohort] = table[columns]
    sharing = sharing_series(declared)
    expression, resolved = by_expression(used_tables, options)
    pairs = same_gsm(sheets) + same_subject(sheets, sharing) + expression
    pairs += paired_as_a_whole(sheets, sharing, resolved)
    ordered = [
        (ga, a, gb, b, reason, value) if (a, ga) <= (b, gb) else (gb, b, ga, a, reason, value)
        for ga, a, gb, b, reason, value in pairs
    ]
    frame = pd.DataFrame(ordered, columns=list(COLUMNS)).astype({"similarity": np.float64})
    frame = frame.drop_duplicates(list(COLUMNS[:5]))
    return frame.sort_values(list(COLUMNS[:5])).reset_index(drop=True)
