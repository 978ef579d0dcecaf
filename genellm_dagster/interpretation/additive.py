"""SHAP values of a model that adds its genes up, such as logistic regression: exact.

The Shapley value of a gene in a sum of functions of one gene each is what that gene's function
gives for the sample, less its mean over the background; for a linear model, coefficient times
deviation from the background's mean (Lundberg and Lee 2017, arXiv 1705.07874, corollary 1). The
model is only asked for scores, so that whatever it does to a gene before it weighs it is part of
what is explained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genellm_dagster.errors import EvaluationError

# A score this near to 0 or 1 no longer tells its logit.
_CERTAIN = 1e-14


@dataclass(frozen=True)
class Additive:
    """What each gene contributes to the logit of each sample.

    Attributes:
        values: In units of the logit, samples (index gsm) x genes; NaN where the gene is absent.
        base: Mean logit of the background, with the genes of that sample.
        logit: Logit of each sample.
        missed: How far the values of a sample are from adding up to logit less base, in units of
            the logit; more than rounding where the model does not add its genes up.
    """

    values: pd.DataFrame
    base: pd.Series
    logit: pd.Series
    missed: pd.Series


def additive_attributions(
    score: Callable[[np.ndarray], np.ndarray], explained: pd.DataFrame, background: pd.DataFrame
) -> Additive:
    """Explain scores of a model that adds its genes up on the scale of the logit.

    Args:
        score: Samples x genes (NaN absent) to probabilities, such as ``Fitted.predict``.
        explained: The samples to explain (index gsm) x genes.
        background: Samples x the same genes, against which they are explained.

    Raises:
        EvaluationError: When there is nothing to explain, the genes differ, or a score is 0 or 1.
    """
    if explained.empty or background.empty:
        raise EvaluationError("There are no samples to explain, or none to explain them against.")
    if list(explained.columns) != list(background.columns):
        raise EvaluationError(
            "The samples to explain and the background have different genes; take both from the "
            "profiles of one stratum."
        )
    samples = explained.to_numpy(dtype=np.float64)
    others = background.to_numpy(dtype=np.float64)
    known = np.isfinite(others)
    # A gene that no background sample has stays absent: there is nothing to compare it with.
    number = known.sum(axis=0)
    centre = np.full(others.shape[1], np.nan)
    np.divide(np.where(known, others, 0.0).sum(axis=0), number, out=centre, where=number > 0)
    middle = float(_logit(score, centre[None])[0])

    def alone(row: np.ndarray) -> np.ndarray:
        """What each gene's value does where all other genes are in the middle."""
        probes = np.tile(centre, (len(row), 1))
        np.fill_diagonal(probes, row)
        return _logit(score, probes) - middle

    of_background = np.stack([alone(row) for row in others]).mean(axis=0)
    present = np.isfinite(samples)
    values = np.full(samples.shape, np.nan)
    base = np.empty(len(samples))
    for at, row in enumerate(samples):
        own = present[at]
        values[at, own] = (alone(row) - of_background)[own]
        base[at] = _logit(score, np.where(own, others, np.nan)).mean()
    logit = _logit(score, samples)
    missed = np.abs(np.nansum(values, axis=1) - (logit - base))
    index = pd.Index(explained.index.astype(str), name="gsm")
    return Additive(
        values=pd.DataFrame(values, index=index, columns=explained.columns),
        base=pd.Series(base, index=index, name="base"),
        logit=pd.Series(logit, index=index, name="logit"),
        missed=pd.Series(missed, index=index, name="missed"),
    )


def _logit(score: Callable[[np.ndarray], np.ndarray], samples: np.ndarray) -> np.ndarray:
    told = np.asarray(score(samples), dtype=np.float64)
    if not ((told > _CERTAIN) & (told < 1.0 - _CERTAIN)).all():
        raise EvaluationError(
            "A score is so near to 0 or 1 that its logit cannot be told; fit the model with a "
            "stronger penalty."
        )
    logit: np.ndarray = np.log(told) - np.log1p(-told)
    return logit
