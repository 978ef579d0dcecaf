"""How much of expression is left in tokens: profiles, to tokens, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from genellm_dagster.tokenizers.protocol import Tokenizer, token_profiles


@dataclass(frozen=True)
class RoundTrip:
    """What came back of profiles.

    Attributes:
        r2: Share of the variance of all values that came back. Most of it lies between genes, of
            which a tokenizer that learned their medians knows without reading a sample.
        r2_within_genes: The same after each gene's mean over these profiles was taken from its
            values: what tells samples apart. NaN where no gene varies, or there is one sample.
        values: Values that have a token.
        lost: Measured values without a token.
    """

    r2: float
    r2_within_genes: float
    values: int
    lost: int


def round_trip(tokenizer: Tokenizer, profiles: pd.DataFrame) -> RoundTrip:
    """Measure what tokens keep of profiles.

    Args:
        tokenizer: A fitted tokenizer.
        profiles: samples x genes, NaN absent; of test samples, if the numbers are to hold for new
            ones.

    Raises:
        ModelError: When the profiles cannot be tokens.
    """
    back = tokenizer.expression(token_profiles(tokenizer.transform(profiles)))
    there, told = (table.to_numpy(dtype=np.float64) for table in (profiles, back))
    kept = ~np.isnan(told)
    lost = int((~np.isnan(there) & ~kept).sum())
    there = np.where(kept, there, np.nan)
    missed = float(np.square(there - told)[kept].sum())
    counts = kept.sum(axis=0)
    means = np.where(kept, there, 0.0).sum(axis=0) / np.maximum(counts, 1)
    within = float(np.square(there - means)[kept].sum())
    overall = float(np.square(there[kept] - there[kept].mean()).sum()) if kept.any() else 0.0
    return RoundTrip(
        r2=_explained(missed, overall),
        r2_within_genes=_explained(missed, within),
        values=int(kept.sum()),
        lost=lost,
    )


def _explained(missed: float, total: float) -> float:
    return 1.0 - missed / total if total > 0 else float("nan")
