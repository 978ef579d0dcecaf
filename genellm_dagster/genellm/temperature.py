"""Temperature scaling: by how much logits are too sure of themselves on samples not trained on."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from genellm_dagster.genellm.score_head import InnerScores, equal_prevalence, log_loss

logger = logging.getLogger(__name__)

# Never below 1: a few samples that happen to be told without an error are no reason to be surer of
# all others. On three of four real strata a lower bound let calibration get worse. A few that
# happen to be told wrong would send it far up.
BOUNDS = (1.0, 10.0)
# Samples of either class, over all inner folds, below which it says more of them than of the model.
MIN_OF_A_CLASS = 10
# On the logarithm of the temperature.
_TOLERANCE = 1e-5


def fit_temperature(inner: Sequence[InnerScores]) -> float:
    """Find the temperature whose quotient logit / temperature has the least log loss.

    It is learned from heads of inner folds, each scoring samples, or a whole cohort, that it was
    not trained on; so it also covers by how much cohorts differ as a whole. Each inner fold counts
    the same, and in it either class.

    Args:
        inner: What those heads say, and the truth.

    Returns:
        The temperature, between the bounds; above 1 where logits are too far from zero. 1, which
        changes nothing, where they are not, or inner folds hold fewer than ten samples of a class.
    """
    cases = np.concatenate([fold.cases for fold in inner]) if inner else np.zeros(0)
    fewest = int(min(cases.sum(), len(cases) - cases.sum()))
    if fewest < MIN_OF_A_CLASS:
        logger.info(
            "Probabilities are not calibrated: inner folds hold %d samples of a class, fewer than "
            "%d.",
            fewest,
            MIN_OF_A_CLASS,
        )
        return 1.0
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        factor = math.exp(-logarithm)
        return sum(
            log_loss(fold.logits * factor, fold.cases, equal_prevalence(fold.cases))
            for fold in inner
        ) / len(inner)

    # Convex in 1 / temperature, so that there is one minimum in its logarithm too.
    low, high = (math.log(bound) for bound in BOUNDS)
    found = minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": _TOLERANCE}
    )
    # The search comes close to a bound and does not reach it.
    return math.exp(float(found.x)) if loss(float(found.x)) < loss(0.0) else 1.0
