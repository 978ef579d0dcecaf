"""The genes a model leans on in a stratum, and how much that depends on the samples explained."""

from __future__ import annotations

from dataclasses import dataclass

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
    "separation": float,
}


@dataclass(frozen=True)
class Everyone:
    """All samples of a stratum, those among them that were not explained.

    Attributes:
        inputs: Values of the genes, gsm x genes, in the unit of the explained ones; NaN absent.
        cohorts: Cohort of each, in the same order.
        case: Whether it is a case, in the same order.
    """

    inputs: pd.DataFrame
    cohorts: np.ndarray
    case: np.ndarray


def gene_signature(
    values: pd.DataFrame,
    inputs: pd.DataFrame,
    everyone: Everyone,
    options: InterpretationOptions,
    seed: int,
) -> pd.DataFrame:
    """Rank genes by the mean size of their attributions.

    A gene counts over the samples that have it; one that no sample has is not listed. The plain
    mean of signed attributions is near zero for every gene when cases and controls are explained in
    equal numbers, so the sign says instead what more of the gene does.

    Args:
        values: Attributions, samples (index gsm) x genes; NaN absent.
        inputs: Values of the genes in the same samples, in any unit that grows with expression.
        everyone: The stratum's samples, for ``separation``.
        options: Length of the signature and number of resamplings.
        seed: Of the resamplings.

    Returns:
        One row a gene, strongest first: gene, mean_abs (mean absolute attribution, logit),
        mean_signed (the same; negative when more of the gene pushes towards control), stability
        (share of bootstrap resamples of the samples in which the gene is among the top k), rank
        (from 1), separation (from :func:`gene_separation`).

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
            "separation": gene_separation(values, inputs, everyone).reindex(genes).to_numpy(),
        }
    )


def by_separation(signature: pd.DataFrame) -> list[str]:
    """Return the genes of a signature, those first that tell cases from controls best."""
    ordered = signature.sort_values("separation", ascending=False, kind="stable")
    return [str(gene) for gene in ordered["gene"]]


def gene_separation(values: pd.DataFrame, inputs: pd.DataFrame, everyone: Everyone) -> pd.Series:
    """Say how far each gene moves the logits of cases and controls apart.

    The mean size of attributions is also that of genes on which a model spends weight without any
    difference between the classes: what it learned by accident. Here a gene counts by the mean
    attribution of cases less that of controls. For its own few samples that would be luck; so each
    gene's attributions are taken as a line through its values (least squares over the explained
    samples), and the line is read at the class means of all samples of the stratum. Classes are
    compared within cohorts, which weigh by what they tell (cases x controls / samples).

    Args:
        values: Attributions, samples x genes; NaN absent.
        inputs: Values of the genes in the same samples.
        everyone: All samples of the stratum.

    Returns:
        Gene to logit; negative where the gene moves cases below controls, 0 where no cohort has
        both classes or no two explained samples differ.
    """
    own = inputs.loc[values.index, values.columns].to_numpy(dtype=np.float64)
    pushed = values.to_numpy(dtype=np.float64)
    known = np.isfinite(own) & np.isfinite(pushed)
    moved = _centred(own, known)
    joint = (moved * _centred(pushed, known)).sum(axis=0)
    spread = (moved**2).sum(axis=0)
    slope = np.divide(joint, spread, out=np.zeros_like(joint), where=spread > 0)
    told = everyone.inputs[values.columns].to_numpy(dtype=np.float64)
    apart, weight = np.zeros(len(slope)), np.zeros(len(slope))
    for cohort in np.unique(everyone.cohorts):
        sides = [
            told[(everyone.cohorts == cohort) & (everyone.case.astype(bool) == side)]
            for side in (True, False)
        ]
        counts = [np.isfinite(side).sum(axis=0) for side in sides]
        means = [
            np.nan_to_num(side).sum(axis=0) / np.maximum(count, 1)
            for side, count in zip(sides, counts, strict=True)
        ]
        share = counts[0] * counts[1] / np.maximum(counts[0] + counts[1], 1)
        apart += share * (means[0] - means[1])
        weight += share
    difference = np.divide(apart, weight, out=np.zeros_like(apart), where=weight > 0)
    return pd.Series(slope * difference, index=values.columns.astype(str))


def _centred(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    kept = np.where(known, values, 0.0)
    mean = kept.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centred: np.ndarray = np.where(known, values - mean, 0.0)
    return centred
