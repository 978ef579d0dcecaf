"""Blood composition by marker genes: is a signature more than the number of each kind of cell.

A score is the mean within-sample normal score of a kind of cell's markers: no other sample takes
part, and nothing is learned. It rises with the share of these cells in the sample, on a scale that
platforms do not share, so that it is a covariate inside a cohort and no count.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from genellm_dagster.expression.cell_markers import COVERAGE, CellMarkers, load_markers
from genellm_dagster.expression.normalisation import rank_normal
from genellm_dagster.expression.options import CompositionOptions
from genellm_dagster.expression.tables import checked

_CENTRED = "centred"


def blood_composition(
    table: pd.DataFrame,
    markers: CellMarkers | None = None,
    options: CompositionOptions | None = None,
    *,
    scale: str | None = None,
) -> pd.DataFrame:
    """Score each sample for each kind of cell.

    Args:
        table: genes x samples, log2; all genes that were measured, since ranks are among them.
        markers: Kinds of cells and their genes; none means those the options name.
        options: How many markers and genes are enough.
        scale: The scale that ``gene_expression`` recorded for the cohort; ``centred`` values have
            no ranks within a sample, and give no score.

    Returns:
        One row a sample, in the table's order: gsm; a column for each class, NaN where it cannot be
        told; ``coverage_<class>``, the share of its markers that the sample has; why_not, what is
        missing and why, "" where nothing is.

    Raises:
        ExpressionError: When the table is none, or the markers cannot be read.
    """
    options = options or CompositionOptions()
    markers = markers or load_markers(options.markers)
    checked(table)
    ranks = rank_normal(table)
    whole = _why_not_at_all(table, options, scale)
    scores, coverage = {}, {}
    reasons = [[reason] if reason else [] for reason in whole]
    usable = np.array([not reason for reason in whole])
    for name in markers.classes:
        genes = markers.genes(name)
        own = ranks.reindex([gene for gene in genes if gene in ranks.index])
        held = own.notna().sum(axis=0).to_numpy()
        enough = _enough(held, len(own), len(genes), options)
        total = np.nansum(own.to_numpy(dtype=np.float64), axis=0)
        scores[name] = np.where(usable & enough, total / np.maximum(held, 1), np.nan)
        coverage[f"{COVERAGE}{name}"] = held / len(genes)
        for at in np.flatnonzero(usable & ~enough):
            reasons[at].append(f"{name}: {held[at]} of {len(genes)} markers")
    result = pd.DataFrame({"gsm": table.columns.astype(str), **scores, **coverage})
    result["why_not"] = ["; ".join(one) for one in reasons]
    return result


def _why_not_at_all(
    table: pd.DataFrame, options: CompositionOptions, scale: str | None
) -> list[str]:
    if scale == _CENTRED:
        return ["the cohort's values are centred"] * table.shape[1]
    measured = table.notna().sum(axis=0)
    return [f"a panel of {count} genes" if count < options.min_genes else "" for count in measured]


def _enough(held: np.ndarray, in_table: int, known: int, options: CompositionOptions) -> np.ndarray:
    """Whether each sample has enough markers of a class.

    Markers differ in level, so that a sample which lacks some that the others of its cohort have
    would get another score for that alone.
    """
    if in_table == 0:
        return np.zeros(len(held), dtype=bool)
    return (
        (held >= options.min_markers)
        & (held >= options.min_share * known)
        & (held >= options.min_share_of_sample * in_table)
    )


def scores_of_cells(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put the scores of several cohorts below one another.

    A sample that two series share is the same array in both, and stands there once.

    Args:
        tables: As :func:`blood_composition` gives them.

    Returns:
        Samples (index gsm) x kinds of cells, NaN where one cannot be told.
    """
    parts = [
        table.set_index("gsm").drop(
            columns=[name for name in table if name == "why_not" or str(name).startswith(COVERAGE)],
        )
        for table in tables
    ]
    if not parts:
        return pd.DataFrame(index=pd.Index([], name="gsm"))
    together = pd.concat(parts).astype("float64")
    return together[~together.index.duplicated()]


def marker_coherence(
    table: pd.DataFrame,
    markers: CellMarkers | None = None,
    rivals: dict[str, list[str]] | None = None,
) -> pd.DataFrame:
    """Ask of a cohort whether the markers of a class move together, and with no other class.

    All samples take part: this describes a list of markers, it scores nobody.

    Args:
        table: genes x samples, log2.
        markers: Kinds of cells and their genes; none means the project's.
        rivals: More sets of genes that a marker should not follow, interferon genes for instance.

    Returns:
        One row a measured marker of a class with own markers: gene, cell_class, own (correlation
        of its within-sample normal score with the mean of the rest of its class), rival (the class
        or rival set whose mean it follows most) and other (that correlation). NaN where it
        does not vary or stands alone.
    """
    markers = markers or load_markers()
    checked(table)
    ranks = rank_normal(table).dropna()
    own_classes = {
        name: markers.genes(name) for name, one in markers.classes.items() if one.markers
    }
    sets = {**own_classes, **{name: tuple(genes) for name, genes in (rivals or {}).items()}}
    rows = []
    for name, genes in own_classes.items():
        for gene in (one for one in genes if one in ranks.index):
            found = {
                other: _follows(ranks, gene, [one for one in members if one != gene])
                for other, members in sets.items()
            }
            own = found.pop(name)
            known = {other: value for other, value in found.items() if np.isfinite(value)}
            rival = max(known, key=lambda other: known[other]) if known else None
            rows.append((gene, name, own, rival, known[rival] if rival else np.nan))
    return pd.DataFrame(rows, columns=["gene", "cell_class", "own", "rival", "other"])


def _follows(ranks: pd.DataFrame, gene: str, others: list[str]) -> float:
    rest = ranks.loc[ranks.index.intersection(others)]
    if rest.empty or ranks.shape[1] < 3:
        return float("nan")
    one, mean = ranks.loc[gene].to_numpy(np.float64), rest.mean(axis=0).to_numpy(np.float64)
    if np.ptp(one) == 0 or np.ptp(mean) == 0:
        return float("nan")
    return float(np.corrcoef(one, mean)[0, 1])
