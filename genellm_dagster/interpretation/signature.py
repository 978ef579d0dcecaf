"""The genes a model leans on in a stratum, and how much that depends on the samples explained."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation.signature_overlap import gene_direction, gene_strength
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.interpretation.sampling import generator

SIGNATURE_COLUMNS = {
    "gene": object,
    "mean_abs": float,
    "mean_signed": float,
    "stability": float,
    "rank": int,
}


def gene_signature(
    values: pd.DataFrame, inputs: pd.DataFrame, options: InterpretationOptions, seed: int
) -> pd.DataFrame:
    """Rank genes by the mean size of their attributions.

    A gene counts over the samples that have it; one that no sample has is not listed. The plain
    mean of signed attributions is near zero for every gene when cases and controls are explained in
    equal numbers, so the sign says instead what more of the gene does.

    Args:
        values: Attributions, samples (index gsm) x genes; NaN absent.
        inputs: Values of the genes in the same samples, in any unit that grows with expression.
        options: Length of the signature and number of resamplings.
        seed: Of the resamplings.

    Returns:
        One row a gene, strongest first: gene, mean_abs (mean absolute attribution, logit),
        mean_signed (the same; negative when more of the gene pushes towards control), stability
        (share of bootstrap resamples of the samples in which the gene is among the top k), rank
        (from 1).

    Raises:
        EvaluationError: When there are no attributions.
    """
    strength = gene_strength(values).dropna()
    if strength.empty:
        raise EvaluationError("There are no attributions to make a gene signature of.")
    genes = strength.index
    # One resample draws each sample some number of times; means over samples are then one product.
    size = values.abs().set_axis(values.columns.astype(str), axis=1)[genes].to_numpy(np.float64)
    random = generator(seed, "signature")
    times = random.multinomial(
        len(size), np.full(len(size), 1.0 / len(size)), size=options.bootstraps
    )
    total = times @ np.nan_to_num(size, nan=0.0)
    number = times @ (~np.isnan(size)).astype(np.float64)
    resampled = np.divide(total, number, out=np.zeros_like(total), where=number > 0)
    top = min(options.top_genes, len(genes))
    leading = np.argsort(-resampled, axis=1, kind="stable")[:, :top]
    chosen = np.zeros(resampled.shape, dtype=bool)
    np.put_along_axis(chosen, leading, True, axis=1)
    # A gene without any attribution is in no list, even where the list is not full.
    chosen &= resampled > 0
    direction = gene_direction(values, inputs).reindex(genes).fillna(0.0)
    return pd.DataFrame(
        {
            "gene": genes.to_numpy(),
            "mean_abs": strength.to_numpy(),
            "mean_signed": strength.to_numpy() * direction.to_numpy(),
            "stability": chosen.mean(axis=0),
            "rank": np.arange(1, len(genes) + 1),
        }
    )
