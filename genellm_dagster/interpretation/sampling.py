"""Which samples are explained, and against which."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from genellm_dagster.errors import EvaluationError


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Return the random generator of one purpose, whatever was drawn before it.

    Args:
        seed: From the options.
        purpose: Words that name what is drawn.
    """
    digest = hashlib.sha256("\x00".join(purpose).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])


def draw_balanced(samples: pd.DataFrame, size: int, seed: int, purpose: str) -> list[str]:
    """Draw samples as evenly over cohort and class as their numbers allow.

    No person is drawn twice before every person of the cohort and class was drawn.

    Args:
        samples: Samples of a stratum: gsm, cohort, subject, case.
        size: How many; all of them when there are no more.
        seed: Of the draw.
        purpose: Separates draws of one seed, such as ``"explained"`` and ``"background"``.

    Returns:
        gsm of the drawn samples, in the order of ``samples``.

    Raises:
        EvaluationError: When there is no sample.
    """
    if samples.empty:
        raise EvaluationError(
            "There are no samples to explain in this stratum; look at the study report for why "
            "samples were left out."
        )
    queues = []
    for key, cell in samples.groupby(["cohort", "case"], sort=True):
        random = generator(seed, purpose, *(str(part) for part in key))
        shuffled = cell.sort_values("gsm").iloc[random.permutation(len(cell))]
        repeat = shuffled.groupby("subject").cumcount().to_numpy()
        queues.append(shuffled["gsm"].iloc[np.argsort(repeat, kind="stable")].tolist())
    drawn: set[str] = set()
    wanted = min(size, len(samples))
    turn = 0
    while len(drawn) < wanted:
        waiting = [queue[turn] for queue in queues if turn < len(queue)]
        # The last round may not reach every cell: which ones it reaches must not follow the names.
        order = generator(seed, purpose, str(turn)).permutation(len(waiting))
        drawn.update(waiting[at] for at in order[: wanted - len(drawn)])
        turn += 1
    return [str(gsm) for gsm in samples["gsm"] if gsm in drawn]
