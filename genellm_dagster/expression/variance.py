"""How much of the variance of profiles cohort, platform and label explain, before and after a step.

An analysis of variance on each principal component, weighted by how much variance it holds, after
PVCA (Boedigheimer et al., BMC Genomics 2008, doi:10.1186/1471-2164-9-285), with fixed instead of
random effects: a cohort has one platform, so the two can only be told apart in part, and each
factor gets two numbers, its share alone and its share beyond the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.profile_options import VarianceOptions

RESIDUAL = "residual"


@dataclass(frozen=True)
class PrincipalScores:
    """Samples on their principal components, for a picture.

    Attributes:
        scores: Index gsm, columns PC1, PC2, ...
        shares: Component to its share of the variance.
        genes: Genes that took part: those that every sample has.
        genes_left_out: Genes that some sample lacks.
    """

    scores: pd.DataFrame
    shares: pd.Series
    genes: int
    genes_left_out: int


@dataclass(frozen=True)
class ExplainedVariance:
    """What the factors explain.

    Attributes:
        factors: factor, levels, share, share_beyond_others; last ``residual``, which no factor
            explains. Shares are adjusted for the number of levels, so that a factor without any
            effect has 0 on average and may lie a little below.
        components: component, share_of_variance, then the share of each factor alone.
        principal: The scores that were analysed.
    """

    factors: pd.DataFrame
    components: pd.DataFrame
    principal: PrincipalScores


def principal_scores(
    profiles: pd.DataFrame, options: VarianceOptions | None = None
) -> PrincipalScores:
    """Find the components that hold most of the variance; no label takes part.

    Args:
        profiles: gsm x genes. Genes are centred, not scaled; a gene that a sample lacks is left
            out for all.
        options: How many components.

    Raises:
        ExpressionError: When fewer than three samples or no varying common gene are left.
    """
    options = options or VarianceOptions()
    values = profiles.to_numpy(dtype=np.float64)
    whole = np.isfinite(values).all(axis=0)
    used = values[:, whole]
    centred = used - used.mean(axis=0) if len(used) else used
    if len(used) < 3 or not (np.ptp(used, axis=0) > 0).any():
        raise ExpressionError(
            f"{len(used)} samples share {int(whole.sum())} genes; principal components need three "
            "samples and a gene that varies, so leave out the cohort that lacks most genes."
        )
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    shares = singular**2 / (singular**2).sum()
    # The smallest number of components that reach the share, rounding apart.
    enough = int(np.searchsorted(np.cumsum(shares), options.min_variance - 1e-12)) + 1
    kept = min(enough, options.max_components, int((shares > 1e-12).sum()))
    names = [f"PC{number}" for number in range(1, kept + 1)]
    scores = left[:, :kept] * singular[:kept]
    # A component's sign is arbitrary; the largest score is made positive so that a run repeats.
    largest = scores[np.abs(scores).argmax(axis=0), np.arange(kept)]
    return PrincipalScores(
        pd.DataFrame(scores * np.sign(largest), index=profiles.index, columns=names),
        pd.Series(shares[:kept], index=names),
        int(whole.sum()),
        int((~whole).sum()),
    )


def explained_variance(
    profiles: pd.DataFrame, factors: pd.DataFrame, options: VarianceOptions | None = None
) -> ExplainedVariance:
    """Share the variance out among factors.

    Args:
        profiles: gsm x genes.
        factors: gsm x factors (cohort, platform, case, ...), each of a few levels.
        options: How many components.

    Raises:
        ExpressionError: When a factor is missing for a sample or has a level for each.
    """
    principal = principal_scores(profiles, options)
    rows = _checked_factors(factors, profiles.index)
    scores = principal.scores.to_numpy()
    weights = principal.shares.to_numpy() / principal.shares.sum()
    names = list(rows.columns)
    alone = {name: _adjusted(scores, rows[[name]]) for name in names}
    everything = _adjusted(scores, rows)
    beyond = {name: everything - _adjusted(scores, rows.drop(columns=name)) for name in names}
    table = pd.DataFrame(
        {
            "factor": [*names, RESIDUAL],
            "levels": pd.array([*(rows[name].nunique() for name in names), pd.NA], dtype="Int64"),
            "share": [*(float(weights @ alone[name]) for name in names), float("nan")],
            "share_beyond_others": [
                *(float(weights @ beyond[name]) for name in names),
                float(weights @ (1 - everything)),
            ],
        }
    )
    components = pd.DataFrame(
        {
            "component": principal.scores.columns,
            "share_of_variance": principal.shares.to_numpy(),
            **alone,
        }
    )
    return ExplainedVariance(table, components, principal)


def common_genes(states: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the genes that every sample has in every state, in the order of the first state.

    Args:
        states: Name to gsm x genes.

    Raises:
        ExpressionError: When a state holds a gene twice.
    """
    whole = []
    for name, table in states.items():
        if not table.columns.is_unique:
            raise ExpressionError(
                f"{name} holds the gene {table.columns[table.columns.duplicated()][0]} twice; keep "
                "one of them."
            )
        whole.append(table.columns[np.isfinite(table.to_numpy(dtype=np.float64)).all(axis=0)])
    if not whole:
        return []
    shared = set(whole[0]).intersection(*whole)
    return [gene for gene in whole[0] if gene in shared]


def explained_by_state(
    states: Mapping[str, pd.DataFrame],
    factors: pd.DataFrame,
    options: VarianceOptions | None = None,
) -> pd.DataFrame:
    """Compare states of the same samples, such as before and after harmonisation.

    Args:
        states: Name to gsm x genes. Only genes that every state has complete take part, so that
            the states differ in values alone.
        factors: gsm x factors.
        options: How many components.

    Returns:
        state, factor, levels, share, share_beyond_others, genes, components.
    """
    genes = common_genes(states)
    parts = []
    for name, table in states.items():
        found = explained_variance(table[genes], factors, options)
        part = found.factors.assign(
            genes=found.principal.genes, components=len(found.principal.shares)
        )
        part.insert(0, "state", name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _checked_factors(factors: pd.DataFrame, gsm: pd.Index) -> pd.DataFrame:
    if not gsm.is_unique or not factors.index.is_unique:
        raise ExpressionError("A sample stands twice among those to analyse; keep one of them.")
    rows = factors.reindex(gsm)
    for name in rows.columns:
        if rows[name].isna().any():
            raise ExpressionError(
                f"{name} is not known of {rows.index[rows[name].isna()][0]}; leave such samples "
                "out, or give them a level of their own."
            )
        if rows[name].nunique() == len(rows):
            raise ExpressionError(
                f"{name} has another level for every sample and would explain everything; leave "
                "it out."
            )
    return rows.astype(str)


def _adjusted(scores: np.ndarray, factors: pd.DataFrame) -> np.ndarray:
    """Adjusted share of each score's variance that the factors explain together."""
    samples = len(scores)
    if factors.shape[1] == 0:
        return np.zeros(scores.shape[1])
    dummies = pd.get_dummies(factors).to_numpy(dtype=np.float64)
    left, singular, _ = np.linalg.svd(dummies - dummies.mean(axis=0), full_matrices=False)
    basis = left[:, singular > 1e-9 * max(1.0, float(singular.max(initial=0.0)))]
    free = samples - 1 - basis.shape[1]
    if free < 1:
        raise ExpressionError(
            f"{', '.join(map(str, factors.columns))} have too many levels for {samples} samples; "
            "leave one out."
        )
    centred = scores - scores.mean(axis=0)
    explained = ((basis.T @ centred) ** 2).sum(axis=0) / (centred**2).sum(axis=0)
    return 1 - (1 - explained) * (samples - 1) / free
