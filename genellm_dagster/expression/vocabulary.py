"""The genes of a stratum's model, chosen without labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.gene_lists import GeneList, read_gene_list
from genellm_dagster.expression.normalisation import rank_normal
from genellm_dagster.expression.profile_options import VocabularyOptions
from genellm_dagster.expression.tables import checked

# So that a share of 0.8 among five cohorts is four, not five by rounding upwards.
_ROUNDING = 1e-9
# Of names that are no genes.
_SHOWN_NAMES, _SHOWN_CHARS = 5, 60


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


@dataclass(frozen=True)
class Vocabulary:
    """The genes of a stratum, and how they were come by.

    Attributes:
        table: position, gene, n_cohorts, share_of_cohorts, variability (mean over cohorts of the
            gene's rank by spread among all shared genes, 0..1; NaN when no cohort has two samples),
            liveliest first.
        report: JSON-safe: choice, cohorts, cohorts_needed, candidates, genes, passed_over, and
            ``gene_list`` (None without one; see :func:`_list_report`).
    """

    table: pd.DataFrame
    report: dict[str, Any]


def choose_vocabulary(
    tables: dict[str, pd.DataFrame], options: VocabularyOptions | None = None
) -> Vocabulary:
    """Choose the genes, of all or of a list, that enough cohorts measure and that vary most.

    No label is read, but every cohort's values are, that of a test cohort too: a report says so.

    Args:
        tables: Expression table (genes x samples) of each cohort of the stratum.
        options: How many genes, measured in which share of the cohorts, and of which list.

    Raises:
        ExpressionError: When there is no cohort, no gene that enough of them measure, or when the
            list cannot be read or is none of genes.
    """
    options = options or VocabularyOptions()
    if not tables:
        raise ExpressionError(
            "There is no cohort to choose genes from; look at the stratum's plan."
        )
    # Read first: a list that cannot be used is told before anything is computed.
    listed = _listed(options)
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
    candidates = shared if listed is None else sorted(set(shared) & set(listed.genes))
    if not candidates:
        raise ExpressionError(
            f"Of the {len(listed.genes) if listed else 0} genes of the list {options.gene_list} "
            f"none is measured in {needed} of the {len(measured)} cohorts; lower min_cohort_share, "
            "or choose another list."
        )
    # Ranked among all shared genes: those of a list may move together, and would hide it.
    standings = [
        _standing(part)
        for table in measured.values()
        if len(part := table.loc[table.index.intersection(shared)])
    ]
    means = {
        measure: pd.concat([one[measure] for one in standings], axis=1)
        .reindex(candidates)
        .mean(axis=1)
        for measure in ("spread", "level")
    }
    vocabulary = pd.DataFrame(
        {
            "gene": candidates,
            "n_cohorts": counts.reindex(candidates).to_numpy(dtype=np.int64),
            "share_of_cohorts": counts.reindex(candidates).to_numpy() / len(measured),
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
    report = {
        "choice": options.choice,
        "cohorts": len(measured),
        "cohorts_needed": needed,
        "candidates": len(candidates),
        "genes": len(vocabulary),
        "passed_over": len(candidates) - len(vocabulary),
        "gene_list": None if listed is None else _list_report(listed, counts, needed, options),
    }
    return Vocabulary(vocabulary, report)


def _listed(options: VocabularyOptions) -> GeneList | None:
    if options.choice != "gene_list" or options.gene_list is None:
        return None
    listed = read_gene_list(options.gene_list, options.gene_sets)
    names, lost = listed.counts["names"], len(listed.lost)
    if names - lost < options.min_known_share * names:
        shown = ", ".join(repr(name[:_SHOWN_CHARS]) for name in listed.lost[:_SHOWN_NAMES])
        raise ExpressionError(
            f"{lost} of the {names} names in {listed.file} mean no gene, or more than one "
            f"({shown}); check that it is a list of human gene symbols, or lower min_known_share."
        )
    return listed


def _list_report(
    listed: GeneList, counts: pd.Series, needed: int, options: VocabularyOptions
) -> dict[str, Any]:
    """Say what became of a list: every gene of it is in the vocabulary, passed over, or here.

    ``lacking`` gives the number of cohorts that measure a gene which too few do; ``excluded`` are
    those that the options never choose; ``lost`` the names without a certain gene, shortened.
    """
    excluded = sorted(set(listed.genes) & set(options.exclude))
    found = counts.reindex(listed.genes).fillna(0).astype(int)
    lacking = found[(found < needed) & ~found.index.isin(excluded)]
    return {
        "name": listed.name,
        "file": listed.file.name,
        "sha256": listed.sha256,
        "sets": list(listed.sets),
        "names": dict(listed.counts),
        "lost": [name[:_SHOWN_CHARS] for name in listed.lost],
        "genes": len(listed.genes),
        "lacking": {str(gene): int(count) for gene, count in lacking.items()},
        "excluded": excluded,
    }
