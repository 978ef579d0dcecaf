"""What accessions, subject tokens and declarations say about who is who."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from genellm_dagster.studies.cohort import series_of

Pair = tuple[str, str, str, str, str, float]
"""gsm_a, cohort_a, gsm_b, cohort_b, reason, similarity."""


def used(sheet: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a sheet that are in use."""
    return sheet[sheet["used"].astype(bool)] if "used" in sheet else sheet


def sharing_series(declared: dict[str, list[str]]) -> set[frozenset[str]]:
    """Return the pairs of series that are declared to share people."""
    return {
        frozenset((series_of(cohort), series_of(other)))
        for cohort, others in declared.items()
        for other in others
        if series_of(cohort) != series_of(other)
    }


def same_gsm(sheets: dict[str, pd.DataFrame]) -> list[Pair]:
    """Pairs with one accession in two cohorts."""
    holders: dict[str, list[str]] = {}
    for cohort, sheet in sheets.items():
        for gsm in dict.fromkeys(sheet["gsm"].astype(str)):
            holders.setdefault(gsm, []).append(cohort)
    return [
        (gsm, a, gsm, b, "same_gsm", np.nan)
        for gsm, cohorts in holders.items()
        for a, b in itertools.combinations(cohorts, 2)
    ]


def same_subject(sheets: dict[str, pd.DataFrame], sharing: set[frozenset[str]]) -> list[Pair]:
    """Pairs with one subject token, where the token means the same person.

    Two series number their patients alike by chance, so a token counts within a series (all its
    platforms) and between series that are declared to share people.
    """
    holders: dict[str, list[tuple[str, str]]] = {}
    for cohort, sheet in sheets.items():
        if "subject" not in sheet:
            continue
        for gsm, subject in zip(sheet["gsm"].astype(str), sheet["subject"], strict=True):
            # A subject named after its sample is the default of the sheet, and no token.
            if isinstance(subject, str) and subject.strip() and subject != gsm:
                holders.setdefault(subject.strip(), []).append((gsm, cohort))
    pairs: list[Pair] = []
    for samples in holders.values():
        for (gsm_a, a), (gsm_b, b) in itertools.combinations(samples, 2):
            series = frozenset((series_of(a), series_of(b)))
            if gsm_a != gsm_b and (len(series) == 1 or series in sharing):
                pairs.append((gsm_a, a, gsm_b, b, "same_subject", np.nan))
    return pairs


def paired_as_a_whole(
    sheets: dict[str, pd.DataFrame], sharing: set[frozenset[str]], resolved: set[frozenset[str]]
) -> list[Pair]:
    """Every pair of samples of two cohorts that share people, where expression cannot say who.

    Args:
        sheets: Sample sheet of each cohort.
        sharing: Pairs of series declared to share people.
        resolved: Pairs of cohorts in which expression has found who is shared.
    """
    pairs: list[Pair] = []
    for a, b in itertools.combinations(sheets, 2):
        if frozenset((series_of(a), series_of(b))) in sharing and frozenset((a, b)) not in resolved:
            pairs.extend(
                (gsm_a, a, gsm_b, b, "declared", np.nan)
                for gsm_a in sheets[a]["gsm"].astype(str)
                for gsm_b in sheets[b]["gsm"].astype(str)
                if gsm_a != gsm_b
            )
    return pairs
