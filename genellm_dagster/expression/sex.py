"""The sex that a sample expresses, from XIST and the genes of chromosome Y, within one cohort.

The recorded sex takes no part: it is compared with the result, never used to make it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.expression.qc_options import QcOptions
from genellm_dagster.expression.scale import detect_scale

FEMALE, MALE = "female", "male"

XIST = "XIST"
# The four male genes that told donors apart in blood and thirteen tissues (Staedtler et al.,
# Biomarkers 2013, doi:10.3109/1354750X.2013.811538), and four more of the male-specific region
# that whole blood expresses: exon arrays and beadchips lack some of the former.
Y_GENES = ("RPS4Y1", "EIF1AY", "DDX3Y", "KDM5D", "UTY", "USP9Y", "ZFY", "TXLNGY")

_MAX_MISSING_OF_A_GENE = 0.1


@dataclass(frozen=True)
class ExpressedSex:
    """What XIST and the Y genes say of each sample.

    Attributes:
        samples: Index gsm; xist (its value), y_level (mean of the Y genes), xist_minus_y, and
            sex_expressed (female, male, or None where it cannot be told).
        xist: Whether XIST took part.
        y_genes: The Y genes that took part.
        separation: Distance of the two groups' medians in log2 units; None without two groups.
        why_not: Why no sample was called; None when they were.
    """

    samples: pd.DataFrame
    xist: bool
    y_genes: tuple[str, ...]
    separation: float | None
    why_not: str | None

    def as_json(self) -> dict[str, Any]:
        """Return what holds for the whole cohort, JSON-safe."""
        return {
            "told_by": ([XIST] if self.xist else []) + list(self.y_genes),
            "separation": self.separation,
            "why_not": self.why_not,
        }


def _mostly_seen(table: pd.DataFrame, genes: tuple[str, ...]) -> list[str]:
    here = [gene for gene in genes if gene in table.index]
    missing = table.loc[here].isna().mean(axis=1)
    return [gene for gene in here if missing[gene] <= _MAX_MISSING_OF_A_GENE]


def _two_groups(ordered: np.ndarray) -> int:
    """Where to cut ascending values in two, so that the squares about the groups' means are least.

    Cuts between equal values are passed over. 0 when all are equal.
    """
    n = len(ordered)
    values = ordered - ordered.mean()
    low = np.cumsum(values)[:-1]
    size = np.arange(1, n)
    # The total is zero, so the sums of both parts are opposite.
    between = low**2 / size + low**2 / (n - size)
    between[ordered[1:] == ordered[:-1]] = -1.0
    return int(np.argmax(between)) + 1 if between.max(initial=-1.0) > 0 else 0


def _apart(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Distance of two groups' medians, and the standard deviation within them."""
    low, high = low[~np.isnan(low)], high[~np.isnan(high)]
    if min(len(low), len(high)) == 0 or len(low) + len(high) < 3:
        return np.nan, np.nan
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in (low, high))
    within = np.sqrt(squares / (len(low) + len(high) - 2))
    return float(np.median(high) - np.median(low)), float(within)


def expressed_sex(
    table: pd.DataFrame, options: QcOptions | None = None, scale: str | None = None
) -> ExpressedSex:
    """Tell women from men by two groups of samples, high in XIST or high in the Y genes.

    Nobody is called unless two groups stand clearly apart, and XIST where it was measured, the mean
    of the Y genes and at least two of them each by itself tell the groups apart, in opposite ways:
    a cohort of one sex has no second group, and groups made of noise do not hold in several genes.
    A sample in between the groups (a mixture, a lost Y, two X and a Y) or without one of the values
    stays unknown. Where XIST was not measured the Y genes tell alone.

    Args:
        table: genes x samples, log2.
        options: The bounds.
        scale: The table's recorded scale; when None, centred values are recognised by their look.
            What is centred has no level, so that it is not judged.
    """
    options = options or QcOptions()
    xist = bool(_mostly_seen(table, (XIST,)))
    y_genes = _mostly_seen(table, Y_GENES)
    if len(y_genes) < options.min_y_genes:
        y_genes = []
    frame = pd.DataFrame(index=pd.Index(table.columns, name="gsm"))
    nothing = pd.Series(np.nan, index=frame.index)
    # A sample that lacks one of the genes would get the mean of others.
    y_values = table.loc[y_genes].T.astype(np.float64)
    frame["xist"] = table.loc[XIST].astype(np.float64) if xist else nothing
    frame["y_level"] = y_values.mean(axis=1, skipna=False) if y_genes else nothing
    frame["xist_minus_y"] = frame["xist"] - frame["y_level"]
    frame["sex_expressed"] = pd.Series([None] * len(frame), index=frame.index, dtype=object)

    def abstained(why_not: str) -> ExpressedSex:
        return ExpressedSex(frame, xist, tuple(y_genes), None, why_not)

    if not y_genes:
        return abstained(f"fewer than {options.min_y_genes} Y genes are measured")
    score = frame["xist_minus_y"] if xist else -frame["y_level"]
    seen = score.dropna()
    if len(seen) < options.min_samples_for_sex:
        return abstained(f"fewer than {options.min_samples_for_sex} samples can be compared")
    if (scale or detect_scale(table).kind) == "centred":
        return abstained("the values are centred, so that no gene has a level")
    ordered = seen.iloc[np.argsort(seen.to_numpy(), kind="stable")]
    values = ordered.to_numpy()
    cut = _two_groups(values)
    if min(cut, len(values) - cut) < options.min_sex_group:
        return abstained(
            f"no two groups of at least {options.min_sex_group} samples stand apart: "
            "perhaps all are of one sex"
        )
    men, women = ordered.index[:cut], ordered.index[cut:]
    one_sex = "the samples do not fall in two clear groups: perhaps all are of one sex"
    distance, within = _apart(values[:cut], values[cut:])
    if distance < options.min_sex_separation * within:
        return abstained(one_sex)

    def tells(values: pd.Series, low: pd.Index, high: pd.Index) -> bool:
        step, spread = _apart(values[low].to_numpy(), values[high].to_numpy())
        return step >= max(options.min_sex_shift, options.min_sex_gene_separation * spread)

    # Of noise, two groups can always be made; but not in several genes at once.
    telling = [gene for gene in y_genes if tells(y_values[gene], women, men)]
    if len(telling) < options.min_y_genes or not tells(frame["y_level"], women, men):
        return abstained(one_sex)
    if xist and not tells(frame["xist"], men, women):
        return abstained(one_sex)
    low, high = float(np.median(values[:cut])), float(np.median(values[cut:]))
    place = (score - low) / (high - low)
    frame.loc[place <= 0.5 - options.sex_margin, "sex_expressed"] = MALE
    frame.loc[place >= 0.5 + options.sex_margin, "sex_expressed"] = FEMALE
    return ExpressedSex(frame, xist, tuple(y_genes), high - low, None)
