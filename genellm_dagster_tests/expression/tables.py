"""Expression tables for the tests of this room: latent factors, gene levels, noise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genellm_dagster.expression.symbols import approved_symbols
from genellm_dagster.studies.cohort import Cohort


def gene_names(n: int) -> list[str]:
    table = approved_symbols()
    coding = table.loc[table["locus_group"] == "protein-coding gene", "symbol"]
    return sorted(coding.iloc[:: len(coding) // n][:n])


def factor_table(
    n_genes: int, n_samples: int, seed: int, first_gsm: int = 1000, factors: int = 4
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(7).normal(size=(n_genes, factors))
    values = (
        np.random.default_rng(8).normal(8, 2, size=(n_genes, 1))
        + 0.6 * loadings @ rng.normal(size=(factors, n_samples))
        + rng.normal(0, 0.4, size=(n_genes, n_samples))
    )
    return pd.DataFrame(
        values.astype(np.float32),
        index=pd.Index(gene_names(n_genes), name="gene"),
        columns=[f"GSM{first_gsm + i}" for i in range(n_samples)],
    )


def two_sexes(
    n_genes: int, n_samples: int, seed: int, men: int | None = None, step: float = 4.0
) -> tuple[pd.DataFrame, list[str]]:
    """A factor table with XIST and Y genes, ``step`` log2 apart; men come last. Also the sexes."""
    table = factor_table(n_genes, n_samples, seed)
    men = n_samples // 2 if men is None else men
    sexes = ["female"] * (n_samples - men) + ["male"] * men
    female = np.array(sexes) == "female"
    rng = np.random.default_rng(seed + 1)
    for gene in ("XIST", "RPS4Y1", "DDX3Y", "KDM5D"):
        high = female if gene == "XIST" else ~female
        table.loc[gene] = np.where(high, 4 + step, 4) + rng.normal(0, 0.3, n_samples)
    return table.astype(np.float32), sexes


def sheet_of(table: pd.DataFrame, **columns: object) -> pd.DataFrame:
    sheet = pd.DataFrame({"gsm": list(table.columns), "subject": list(table.columns)})
    sheet["used"] = True
    for name, values in columns.items():
        sheet[name] = values
    return sheet


def cohort(**fields: object) -> Cohort:
    return Cohort.model_validate(
        {
            "accession": "GSE1",
            "platform": "GPL570",
            "id_type": "symbol",
            "sample": {"label": []},
            **fields,
        }
    )
