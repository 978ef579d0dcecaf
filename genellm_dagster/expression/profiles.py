"""Profiles: samples as the model sees them, on the genes of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.learned_normalisation import (
    GeneScale,
    LearnedNormalisation,
    ReferenceQuantiles,
)
from genellm_dagster.expression.normalisation import quantile, rank_normal, within_sample_z
from genellm_dagster.expression.profile_options import NormalisationOptions
from genellm_dagster.expression.tables import checked

_METHODS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "rank_normal": rank_normal,
    "within_sample_z": within_sample_z,
    "quantile": quantile,
}
_LEARNED: dict[str, type[LearnedNormalisation]] = {
    "reference_quantiles": ReferenceQuantiles,
    "gene_z": GeneScale,
}


def build_profiles(
    table: pd.DataFrame,
    genes: list[str],
    options: NormalisationOptions | None = None,
    learned: LearnedNormalisation | None = None,
) -> pd.DataFrame:
    """Normalise the vocabulary's genes of each sample.

    Each sample is looked at alone, so that it is scored the same alone and among others (but for
    quantile normalisation, which is transductive). Which of its genes take part is the option
    ``scope``.

    Args:
        table: genes x samples, log2.
        genes: The vocabulary, in order.
        options: The method.
        learned: What :func:`fit_normalisation` learned on the training cohorts with these options;
            None for a method that learns nothing.

    Returns:
        samples x genes, float32, columns in the vocabulary's order; NaN where the gene is absent.

    Raises:
        ExpressionError: When the vocabulary is empty or repeats a gene, when a sample has none of
            its genes, or when ``learned`` is not of the method.
    """
    options = options or NormalisationOptions()
    method = _method(options, learned)
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
        normalised = method(table).reindex(present.index)
    else:
        normalised = method(present)
    profiles = normalised.T.reindex(columns=genes)
    return profiles.astype(np.float32).rename_axis(index="gsm", columns=None)


def _method(
    options: NormalisationOptions, learned: LearnedNormalisation | None
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    if not options.learned:
        return _METHODS[options.method]
    if not isinstance(learned, _LEARNED[options.method]):
        raise ExpressionError(
            f"The normalisation {options.method} is learned on training cohorts, and what it "
            "learned was not given; fit it on the training side of the fold, or choose "
            "rank_normal."
        )
    return learned.transform
