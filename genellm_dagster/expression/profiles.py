"""Profiles: samples as the model sees them, on the genes of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.normalisation import quantile, rank_normal, within_sample_z
from genellm_dagster.expression.options import NormalisationOptions
from genellm_dagster.expression.tables import checked

_METHODS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "rank_normal": rank_normal,
    "within_sample_z": within_sample_z,
    "quantile": quantile,
}


def build_profiles(
    table: pd.DataFrame, genes: list[str], options: NormalisationOptions | None = None
) -> pd.DataFrame:
    """Normalise the vocabulary's genes of each sample.

    Each sample is looked at alone, so that it is scored the same alone and among others (but for
    quantile normalisation, which is transductive). Which of its genes take part is the option
    ``scope``.

    Args:
        table: genes x samples, log2.
        genes: The vocabulary, in order.
        options: The method.

    Returns:
        samples x genes, float32, columns in the vocabulary's order; NaN where the gene is absent.

    Raises:
        ExpressionError: When the vocabulary is empty or repeats a gene, or when a sample has none
            of its genes.
    """
    options = options or NormalisationOptions()
    checked(table)
    if not genes or len(set(genes)) != len(genes):
        raise ExpressionError(
            f"The vocabulary has {len(genes)} genes of which {len(set(genes))} differ; choose each "
            "gene once, and at least one."
        )
    present = table.reindex([gene for gene in genes if gene in table.index])
    without = present.columns[present.notna().sum(axis=0) == 0]
    if len(without):
        raise ExpressionError(
            f"Sample {without[0]} has no value for any of the vocabulary's {len(genes)} genes; "
            "leave its cohort out, or lower the share of missing genes that QC allows."
        )
    if options.scope == "table":
        normalised = _METHODS[options.method](table).reindex(present.index)
    else:
        normalised = _METHODS[options.method](present)
    profiles = normalised.T.reindex(columns=genes)
    return profiles.astype(np.float32).rename_axis(index="gsm", columns=None)
