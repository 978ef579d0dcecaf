"""The genes of a stratum's model, chosen without labels."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.normalisation import rank_normal
from genellm_dagster.expression.options import VocabularyOptions
from genellm_dagster.expression.tables import checked

# So that a share of 0.8 among five cohorts is four, not five by rounding upwards.
_ROUNDING = 1e-9


def _standing(table: pd.DataFrame) -> pd.DataFrame:
    """Rank a cohort's genes from 0 to 1 by spread and by level of their within-sample scores.

    Scores, not log2 values, so that a platform's range does not weigh; ranks, so that each cohort
    weighs the same. A cohort of one sample has levels alone.
    """
    scores = rank_normal(table)
    measures = pd.DataFrame({"spread": scores.std(axis=1, ddof=1), "level": scores.mean(axis=1)})
    counted = measures.notna().sum()
    return (measures.rank() - 1) / (counted - 1).clip(lower=1)


def _without_the_lowest(genes: pd.DataFrame, options: VocabularyOptions) -> pd.DataFrame:
    passed_over = min(
        int(options.low_expression_share * len(genes)), max(0, len(genes) - options.max_genes)
    )
    return genes.sort_values(["level", "gene"], ascending=[True, False]).iloc[passed_over:]


def choose_genes(
    tables: dict[str, pd.DataFrame], options: VocabularyOptions | None = None
) -> pd.DataFrame:
    """Choose the genes that enough cohorts measure and that vary most within them.

    No label is read, but every cohort's values are, that of a test cohort too: a report says so.

    Args:
        tables: Expression table (genes x samples) of each cohort of the stratum.
        options: How many genes, measured in which share of the cohorts.

    Returns:
        vocabulary: position, gene, n_cohorts, share_of_cohorts, variability (mean over cohorts of
        the gene's rank by spread, 0..1; NaN when no cohort has two samples), liveliest first.

    Raises:
        ExpressionError: When there is no cohort, or no gene that enough of them measure.
    """
    options = options or VocabularyOptions()
    if not tables:
        raise ExpressionError(
            "There is no cohort to choose genes from; look at the stratum's plan."
        )
    measured = {
        name: checked(table, f"The expression table of {name}").dropna(how="all")
        for name, table in sorted(tables.items())
    }
    counts = pd.Series(
        np.concatenate([table.index.to_numpy(dtype=object) for table in measured.values()])
    ).value_counts()
    needed = max(1, math.ceil(options.min_cohort_share * len(measured) - _ROUNDING))
    shared = sorted(set(counts.index[counts >= needed]) - set(options.exclude))
    if not shared:
        sizes = ", ".join(f"{name} {len(table)}" for name, table in measured.items())
        raise ExpressionError(
            f"No gene is measured in {needed} of the {len(measured)} cohorts (genes: {sizes}); "
            "lower min_cohort_share or leave a cohort out."
        )
    standings = [
        _standing(part)
        for table in measured.values()
        if len(part := table.loc[table.index.intersection(shared)])
    ]
    means = {
        measure: pd.concat([one[measure] for one in standings], axis=1).reindex(shared).mean(axis=1)
        for measure in ("spread", "level")
    }
    vocabulary = pd.DataFrame(
        {
            "gene": shared,
            "n_cohorts": counts.reindex(shared).to_numpy(dtype=np.int64),
            "share_of_cohorts": counts.reindex(shared).to_numpy() / len(measured),
            "variability": means["spread"].to_numpy(),
            "level": means["level"].to_numpy(),
        }
    )
    vocabulary = _without_the_lowest(vocabulary, options).drop(columns="level")
    vocabulary = vocabulary.sort_values(
        ["variability", "n_cohorts", "gene"], ascending=[False, False, True], na_position="last"
    )
    vocabulary = vocabulary.head(options.max_genes).reset_index(drop=True)
    vocabulary.insert(0, "position", np.arange(len(vocabulary), dtype=np.int64))
    return vocabulary
