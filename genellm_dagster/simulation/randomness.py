"""Random numbers that depend on a seed and on what they are for, not on the order of the calls."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Return the random generator of one purpose.

    Args:
        seed: The seed of the whole study.
        purpose: Words that name what is drawn, so that adding one cohort leaves the others alone.
    """
    digest = hashlib.sha256("\x00".join(purpose).encode()).digest()
    words = [int.from_bytes(digest[at : at + 4], "big") for at in range(0, 16, 4)]
    return np.random.default_rng([seed, *words])
