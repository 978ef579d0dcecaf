"""Values of several files of a series put side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from genellm_dagster.errors import GeoError


def join_values(parts: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Put the values of several files side by side, row by row of the same id.

    Args:
        parts: Name of the file -> ids x samples; at least one.

    Returns:
        The values, missing where a file lacks an id; and name -> reason for the files that are left
        out, because their repeated ids cannot be told apart.

    Raises:
        GeoError: When two files give values of the same sample.
    """
    problems: dict[str, str] = {}
    kept: list[pd.DataFrame] = []
    owner: dict[str, str] = {}
    for name, values in parts.items():
        twice = [gsm for gsm in values.columns if gsm in owner]
        if twice:
            raise GeoError(
                f"{twice[0]} has values in {owner[twice[0]]} and in {name} ({len(twice)} samples "
                "in all); name one of the two files in the cohort file (values.files)."
            )
        if kept and not _fit(kept[0].index, values.index):
            problems[name] = (
                f"{name} repeats ids and lists them otherwise than {next(iter(parts))} does, so "
                "which row is which cannot be told; its samples are left out."
            )
            continue
        owner |= dict.fromkeys(values.columns, name)
        kept.append(values)
    index = kept[0].index
    if len(kept) == 1:
        return kept[0], problems
    if not all(values.index.equals(index) for values in kept):
        for values in kept[1:]:
            index = index.union(values.index, sort=False)
        kept = [values.reindex(index) for values in kept]
    return pd.concat(kept, axis=1), problems


def _fit(first: pd.Index, other: pd.Index) -> bool:
    return first.equals(other) or (first.is_unique and other.is_unique)
