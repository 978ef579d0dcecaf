"""Maps of the samples: representations in two dimensions, for the eye only."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pandas as pd

from genellm_dagster.errors import EvaluationError
from genellm_dagster.interpretation.options import InterpretationOptions

logger = logging.getLogger(__name__)


def embed(representation: pd.DataFrame, options: InterpretationOptions, seed: int) -> pd.DataFrame:
    """Lay samples out in two dimensions by UMAP (McInnes et al. 2018, arXiv 1802.03426).

    Args:
        representation: Samples (index gsm) x dimensions.
        options: UMAP's settings, and the number of samples below which principal components are
            drawn instead.
        seed: Of the layout; the same seed gives the same map.

    Returns:
        gsm, x, y, in the order of the samples. ``attrs["method"]`` says ``"umap"`` or ``"pca"``.

    Raises:
        EvaluationError: When there is no sample, or a representation is not finite.
    """
    points = representation.to_numpy(dtype=np.float64)
    if points.size == 0:
        raise EvaluationError("There are no representations to draw a map of.")
    broken = representation.index[~np.isfinite(points).all(axis=1)]
    if len(broken):
        raise EvaluationError(
            f"The representation of sample {broken[0]} is not finite; train the adapter again."
        )
    distinct = len(np.unique(points, axis=0))
    method = "umap" if distinct >= options.umap_min_samples else "pca"
    if method == "pca":
        logger.info(
            "Only %d different samples: the map shows principal components, not UMAP.", distinct
        )
    laid = _umap(points, options, seed) if method == "umap" else _components(points)
    frame = pd.DataFrame(
        {"gsm": representation.index.astype(str), "x": laid[:, 0], "y": laid[:, 1]}
    )
    frame.attrs["method"] = method
    return frame


def _umap(points: np.ndarray, options: InterpretationOptions, seed: int) -> np.ndarray:
    import umap

    with warnings.catch_warnings():
        # With a seed UMAP runs on one thread, which is what is asked for here; it warns of it.
        warnings.filterwarnings("ignore", message="n_jobs value", category=UserWarning)
        # Clusters that hang together by no neighbour are what a map of two classes may show; UMAP
        # then places the pieces by their centres, and warns of it.
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        warnings.filterwarnings("ignore", message="Spectral initialisation failed")
        layout = umap.UMAP(
            n_neighbors=min(options.neighbours, len(points) - 1),
            min_dist=options.min_distance,
            random_state=seed,
            n_jobs=1,
        ).fit_transform(points)
    return np.asarray(layout, dtype=np.float64)


def _components(points: np.ndarray) -> np.ndarray:
    centred = points - points.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    scores = left * size
    # The sign of a component is arbitrary: its largest score is made positive.
    largest = np.abs(scores).argmax(axis=0)
    signs = np.sign(scores[largest, np.arange(scores.shape[1])])
    scores = scores * np.where(signs == 0, 1.0, signs)
    laid = np.zeros((len(points), 2))
    laid[:, : min(2, scores.shape[1])] = scores[:, :2]
    return laid
