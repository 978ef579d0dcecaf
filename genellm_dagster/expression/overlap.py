"""Samples that are one person or one array, within a cohort and across cohorts."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from genellm_dagster.expression.normalisation import rank_normal
from genellm_dagster.expression.options import OverlapOptions
from genellm_dagster.expression.tables import MAD_TO_SD, checked, correlations

COLUMNS = ("gsm_a", "cohort_a", "gsm_b", "cohort_b", "reason", "similarity")

# A main direction needs some samples to rest on, or it would be a single sample's own.
_SAMPLES_A_COMPONENT = 10

_Pairs = list[tuple[str, str, str, str, str, float]]


def series_of(cohort: str) -> str:
    """Return the series of a cohort's name: GSE1 of GSE1-GPL570."""
    return cohort.split("-", 1)[0]


def _used(sheet: pd.DataFrame) -> pd.DataFrame:
    return sheet[sheet["used"].astype(bool)] if "used" in sheet else sheet


def _same_gsm(sheets: dict[str, pd.DataFrame]) -> _Pairs:
    holders: dict[str, list[str]] = {}
    for cohort, sheet in sheets.items():
        for gsm in dict.fromkeys(sheet["gsm"].astype(str)):
            holders.setdefault(gsm, []).append(cohort)
    return [
        (gsm, a, gsm, b, "same_gsm", np.nan)
        for gsm, cohorts in holders.items()
        for a, b in itertools.combinations(cohorts, 2)
    ]


def _same_subject(sheets: dict[str, pd.DataFrame], declared: set[frozenset[str]]) -> _Pairs:
    """Pairs with one subject token, where the token means the same person.

    Two series number their patients alike by chance, so a token counts within a series (all its
    platforms) and between series that are declared to share people.
    """
    holders: dict[str, list[tuple[str, str]]] = {}
    for cohort, sheet in sheets.items():
        if "subject" not in sheet:
            continue
        for gsm, subject in zip(sheet["gsm"].astype(str), sheet["subject"], strict=True):
            # A subject named after its sample is the default of the sheet, and no token.
            if isinstance(subject, str) and subject.strip() and subject != gsm:
                holders.setdefault(subject.strip(), []).append((gsm, cohort))
    pairs: _Pairs = []
    for samples in holders.values():
        for (gsm_a, a), (gsm_b, b) in itertools.combinations(samples, 2):
            series = frozenset((series_of(a), series_of(b)))
            if gsm_a != gsm_b and (len(series) == 1 or series in declared):
                pairs.append((gsm_a, a, gsm_b, b, "same_subject", np.nan))
    return pairs


def _complete_genes(table: pd.DataFrame) -> pd.Index:
    return table.index[table.notna().all(axis=1)]


def _residuals(table: pd.DataFrame, genes: pd.Index) -> np.ndarray:
    """Within-sample normal scores less the gene's own mean in the cohort, genes x samples."""
    scores = rank_normal(table.loc[genes]).to_numpy()
    return (scores - scores.mean(axis=1, keepdims=True)).astype(np.float32)


def _telling_genes(
    left: pd.DataFrame, right: pd.DataFrame, genes: pd.Index, options: OverlapOptions
) -> pd.Index:
    """Of the common genes those that are well expressed, then those that vary most, in both."""
    scores = [rank_normal(table.loc[genes]) for table in (left, right)]
    # The name decides a tie, so that the order of a table's rows is nothing.
    order = pd.DataFrame(
        {
            "level": sum(one.mean(axis=1).rank().to_numpy() for one in scores),
            "spread": sum(one.std(axis=1).rank().to_numpy() for one in scores),
            "name": genes.to_numpy(),
        }
    ).sort_values(["level", "name"])
    low = min(
        int(options.low_expression_share * len(order)), max(0, len(order) - options.max_genes)
    )
    order = order.iloc[low:].sort_values(["spread", "name"], ascending=[False, True])
    return pd.Index(order["name"].iloc[: options.max_genes])


def _main_directions(residuals: np.ndarray, components: int) -> np.ndarray:
    """Leading directions in gene space (genes x k), by the smaller of the two Gram matrices."""
    k = min(components, residuals.shape[1] // _SAMPLES_A_COMPONENT)
    if k == 0:
        return np.zeros((len(residuals), 0), dtype=residuals.dtype)
    if residuals.shape[0] <= residuals.shape[1]:
        return np.linalg.eigh(residuals @ residuals.T)[1][:, -k:]
    vectors = residuals @ np.linalg.eigh(residuals.T @ residuals)[1][:, -k:]
    return np.linalg.qr(vectors)[0]


def _without_common_directions(
    left: np.ndarray, right: np.ndarray, options: OverlapOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Take out the directions in which each cohort varies most (disease, cell counts, batch).

    They make strangers alike. They are found in each cohort by itself, since among both together
    the sample that is there twice would be a main direction of its own.
    """
    parts = [left] if left is right else [left, right]
    found = np.hstack([_main_directions(part, options.background_components) for part in parts])
    basis = np.linalg.qr(found)[0]
    cleaned = [part - basis @ (basis.T @ part) for part in parts]
    return cleaned[0], cleaned[-1]


def _background(similarity: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    middle = np.nanmedian(similarity, axis=axis, keepdims=True)
    spread = MAD_TO_SD * np.nanmedian(np.abs(similarity - middle), axis=axis, keepdims=True)
    return middle, spread


def _identical(
    left: np.ndarray, right: np.ndarray, same: bool, options: OverlapOptions
) -> dict[tuple[int, int], float]:
    """Find pairs that stand above the background of both their samples, block by block of rows."""
    n_left, n_right = left.shape[1], right.shape[1]
    candidates: dict[tuple[int, int], float] = {}
    for start in range(0, n_left, options.block):
        block = left[:, start : start + options.block]
        similarity = correlations(block, right)
        if same:
            own = np.arange(block.shape[1])
            similarity[own, start + own] = np.nan
        if n_right - same < options.min_background:
            limit = np.full((block.shape[1], 1), -np.inf)
        else:
            middle, spread = _background(similarity, axis=1)
            limit = middle + options.min_deviations * spread
        high = np.nan_to_num(similarity, nan=-2.0) >= np.maximum(options.min_similarity, limit)
        for i, j in np.argwhere(high):
            candidates[start + int(i), int(j)] = float(similarity[i, j])
    if same:
        # Each sample met its own background when its row came by.
        return {(i, j): v for (i, j), v in candidates.items() if i < j and (j, i) in candidates}
    columns = sorted({j for _, j in candidates})
    limits: dict[int, float] = dict.fromkeys(columns, -np.inf)
    if n_left >= options.min_background:
        for first in range(0, len(columns), options.block):
            chunk = columns[first : first + options.block]
            middle, spread = _background(correlations(left, right[:, chunk]), axis=0)
            values = (middle + options.min_deviations * spread)[0]
            limits.update(zip(chunk, values.tolist(), strict=True))
    return {(i, j): v for (i, j), v in candidates.items() if v >= limits[j]}


def _common_genes(a: pd.DataFrame, b: pd.DataFrame) -> pd.Index:
    return _complete_genes(a).intersection(_complete_genes(b))


def comparable(
    tables: dict[str, pd.DataFrame], options: OverlapOptions | None = None
) -> pd.DataFrame:
    """Say which cohorts have enough genes in common to recognise one array in both.

    Returns:
        One row a pair of cohorts: cohort_a, cohort_b, common_genes (measured in every sample of
        both), compared.
    """
    options = options or OverlapOptions()
    rows = []
    for a, b in itertools.combinations(sorted(tables), 2):
        common = len(_common_genes(tables[a], tables[b]))
        rows.append((a, b, common, common >= options.min_common_genes))
    return pd.DataFrame(rows, columns=["cohort_a", "cohort_b", "common_genes", "compared"])


def _by_expression(
    tables: dict[str, pd.DataFrame], options: OverlapOptions
) -> tuple[_Pairs, set[frozenset[str]]]:
    """Pairs that are one array, and the pairs of cohorts large enough to find them all."""
    pairs: _Pairs = []
    resolved: set[frozenset[str]] = set()
    certain = options.model_copy(
        update={"min_similarity": options.certain_similarity, "min_deviations": 0.0}
    )
    for a, b in itertools.combinations_with_replacement(sorted(tables), 2):
        left, right = tables[a], tables[b]
        genes = _common_genes(left, right)
        if len(genes) < options.min_common_genes or min(left.shape[1], right.shape[1]) < 2:
            continue
        if min(left.shape[1], right.shape[1]) >= options.min_samples_to_resolve:
            resolved.add(frozenset((a, b)))
        genes = _telling_genes(left, right, genes, options)
        residuals_a = _residuals(left, genes)
        residuals_b = residuals_a if a == b else _residuals(right, genes)
        # A twin can be a main direction of a small cohort and go out with it, so that what is
        # certain is looked for before.
        found = _identical(residuals_a, residuals_b, a == b, certain)
        cleaned = _without_common_directions(residuals_a, residuals_b, options)
        found |= _identical(*cleaned, a == b, options)
        for (i, j), value in found.items():
            gsm_a, gsm_b = str(left.columns[i]), str(right.columns[j])
            if gsm_a != gsm_b:
                pairs.append((gsm_a, a, gsm_b, b, "expression", value))
    return pairs, resolved


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
    sheets = {cohort: _used(sheet) for cohort, sheet in sorted(sheets.items())}
    used_tables = {}
    for cohort, table in tables.items():
        checked(table, f"The expression table of {cohort}")
        wanted = set(sheets[cohort]["gsm"].astype(str)) if cohort in sheets else set(table.columns)
        columns = sorted(gsm for gsm in table.columns if gsm in wanted)
        if columns:
            used_tables[cohort] = table[columns]
    sharing = {
        frozenset((series_of(cohort), series_of(other)))
        for cohort, others in declared.items()
        for other in others
        if series_of(cohort) != series_of(other)
    }
    expression, resolved = _by_expression(used_tables, options)
    pairs = _same_gsm(sheets) + _same_subject(sheets, sharing) + expression
    for a, b in itertools.combinations(sheets, 2):
        if frozenset((series_of(a), series_of(b))) in sharing and frozenset((a, b)) not in resolved:
            pairs.extend(
                (gsm_a, a, gsm_b, b, "declared", np.nan)
                for gsm_a in sheets[a]["gsm"].astype(str)
                for gsm_b in sheets[b]["gsm"].astype(str)
                if gsm_a != gsm_b
            )
    ordered = [
        (ga, a, gb, b, reason, value) if (a, ga) <= (b, gb) else (gb, b, ga, a, reason, value)
        for ga, a, gb, b, reason, value in pairs
    ]
    frame = pd.DataFrame(ordered, columns=list(COLUMNS)).astype({"similarity": np.float64})
    frame = frame.drop_duplicates(list(COLUMNS[:5]))
    return frame.sort_values(list(COLUMNS[:5])).reset_index(drop=True)
