"""What the samples of a series say about themselves, for the person who writes the rules."""

from __future__ import annotations

import pandas as pd

from genellm_dagster.studies.readings import is_missing

EXAMPLES = 6
MAX_EXAMPLE_CHARS = 60


def inspect_samples(samples: pd.DataFrame) -> pd.DataFrame:
    """List the fields that rules can read, with their most common values.

    Args:
        samples: The samples table, one row a GSM.

    Returns:
        Columns ``field`` (as rules name it), ``n_samples`` (samples with a value), ``n_values``
        (distinct values) and ``examples`` (the most common values with their counts); one row a
        field, in the order of the table.
    """
    rows = []
    for field in samples.columns:
        values = samples[field][[not is_missing(value) for value in _texts(samples[field])]]
        counts = values.astype(str).value_counts(sort=False)
        # Ties stay in the order of the samples, so that two runs print the same.
        counts = counts.sort_values(ascending=False, kind="stable")
        examples = [f"{_short(str(value))} ({n})" for value, n in counts.head(EXAMPLES).items()]
        more = len(counts) - len(examples)
        rows.append(
            {
                "field": str(field),
                "n_samples": len(values),
                "n_values": len(counts),
                "examples": ", ".join(examples) + (f", … {more} more" if more > 0 else ""),
            }
        )
    return pd.DataFrame(rows, columns=["field", "n_samples", "n_values", "examples"])


def _texts(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(value) else str(value) for value in column]


def _short(text: str) -> str:
    return text if len(text) <= MAX_EXAMPLE_CHARS else text[: MAX_EXAMPLE_CHARS - 1] + "…"
