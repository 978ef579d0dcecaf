"""Shapley values by their definition, for functions of few features."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import factorial

import numpy as np


def exact_shapley(
    function: Callable[[np.ndarray], np.ndarray], samples: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """Average each feature's contribution over all orders in which features become known.

    A feature that is not known takes its value in the background samples, one after the other.
    """
    features = samples.shape[1]
    known = np.array(list(product((False, True), repeat=features)))
    place = {tuple(row): number for number, row in enumerate(known.tolist())}
    values = np.zeros(samples.shape)
    for row, x in enumerate(samples):
        mixed = np.where(known[:, None, :], x, background[None])
        worth = function(mixed.reshape(-1, features)).reshape(len(known), -1).mean(axis=1)
        for feature in range(features):
            for coalition in known[~known[:, feature]].tolist():
                size = sum(coalition)
                share = factorial(size) * factorial(features - size - 1) / factorial(features)
                joined = [*coalition]
                joined[feature] = True
                gain = worth[place[tuple(joined)]] - worth[place[tuple(coalition)]]
                values[row, feature] += share * gain
    return values
