"""What is judged as a probability: the calibrated one where a model gives it, else its score."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genellm_dagster.errors import EvaluationError

PROBABILITY = "probability"


def probability_of(predictions: pd.DataFrame) -> NDArray[np.float64]:
    """Return the probability of being a case that predictions state, at equal prevalence.

    Ranks are judged by the score, calibration by this: a temperature moves no sample past another
    of its fold, but says by how much to believe the score.

    Args:
        predictions: score (0..1), and ``probability`` where a model calibrates its scores itself;
            missing values where others do not.

    Raises:
        EvaluationError: When one is not within 0..1.
    """
    score = predictions["score"].to_numpy(dtype=np.float64)
    if PROBABILITY not in predictions:
        return score
    stated = pd.to_numeric(predictions[PROBABILITY], errors="coerce").to_numpy(dtype=np.float64)
    stated = np.where(np.isnan(stated), score, stated)
    if not ((stated >= 0) & (stated <= 1)).all():
        raise EvaluationError(
            "The predictions hold a probability that is not within 0..1; materialize them again."
        )
    return stated
