"""What could tell cases from controls without the disease: kinds of cells, and the batch."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from genellm_dagster.expression.cell_markers import COVERAGE


def cell_scores(tables: Mapping[tuple[str, str], pd.DataFrame], stratum: str) -> pd.DataFrame:
    """Put the blood-cell scores of a stratum together.

    Args:
        tables: (stratum, cohort) to its table of the asset ``blood_composition``.
        stratum: The stratum.

    Returns:
        gsm x kinds of cells, NaN where a kind cannot be told.
    """
    own = [table for (name, _), table in tables.items() if name == stratum]
    together = pd.concat(own, ignore_index=True).set_index("gsm")
    kinds = [
        name
        for name in together.columns
        if name != "why_not" and not str(name).startswith(COVERAGE)
    ]
    return together[kinds].astype("float64")
