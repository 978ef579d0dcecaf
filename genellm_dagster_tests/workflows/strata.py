"""A simulated stratum of three cohorts, and options by name."""

from __future__ import annotations

import pandas as pd

from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
)
from genellm_dagster.workflows.stratum import StratumSamples
from genellm_dagster_tests.expression.tables import factor_table

COHORTS = ("GSE1", "GSE2", "GSE3")


def options(normalisation: str = "rank_normal", harmonisation: str = "none") -> ExpressionOptions:
    return ExpressionOptions(
        normalisation=NormalisationOptions(method=normalisation),
        harmonisation=HarmonisationOptions(method=harmonisation),
    )


def a_stratum() -> StratumSamples:
    """Three cohorts of which the last lacks a gene."""
    tables = {
        f"GSE{n}": n + (1 + n / 10) * factor_table(70, 12, n, first_gsm=1000 * n) for n in (1, 2, 3)
    }
    # GSE3 lacks a gene that the others measured.
    tables["GSE3"] = tables["GSE3"].drop(index=tables["GSE3"].index[12])
    rows = [
        {"gsm": gsm, "cohort": name, "subject": gsm, "case": number % 2, "stratum": "adult"}
        for name, table in tables.items()
        for number, gsm in enumerate(table.columns)
    ]
    return StratumSamples(pd.DataFrame(rows), tables, [])
