"""Several probes of a gene become one row."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

CollapseMethod = Literal["median", "mean", "highest_mean", "highest_variance"]


def collapse(
    values: pd.DataFrame, genes: np.ndarray, method: CollapseMethod = "median"
) -> tuple[pd.DataFrame, dict[str, int | str]]:
    """Make one row a gene out of the rows of its probes.

    ``median`` and ``mean`` are taken in each sample over the probes that have a value there.
    ``highest_mean`` and ``highest_variance`` keep the one probe that stands out over the samples;
    a tie goes to the probe whose id, then values, sort first, so that the order of rows is nothing.

    Args:
        values: probes x samples, log2; NaN is missing.
        genes: The gene of each row.
        method: How.

    Returns:
        genes x samples (index "gene", sorted, unique) and counts: probes, without_values,
        not_chosen (dropped in favour of another probe), merged (averaged with another),
        genes.
    """
    numbers = values.to_numpy(dtype=np.float64)
    names = np.asarray(genes, dtype=object)
    seen = np.isfinite(numbers).any(axis=1)
    numbers, names = numbers[seen], names[seen]
    frame = pd.DataFrame(numbers, columns=values.columns)
    repeated = pd.Series(names).duplicated(keep=False).to_numpy()
    single = frame[~repeated].set_axis(names[~repeated], axis=0)
    several, several_names = frame[repeated], names[repeated]
    not_chosen = merged = 0
    if len(several) == 0:
        joined = several.set_axis(several_names, axis=0)
    elif method in ("median", "mean"):
        groups = several.groupby(several_names, sort=True)
        joined = groups.median() if method == "median" else groups.mean()
        merged = len(several)
    else:
        statistic = several.mean(axis=1) if method == "highest_mean" else several.var(axis=1)
        order = pd.DataFrame(
            {
                "gene": several_names,
                "statistic": statistic.fillna(-np.inf).to_numpy(),
                "id": values.index[seen][repeated].astype(str),
                "first": several.iloc[:, 0].to_numpy(),
            }
        ).sort_values(["gene", "statistic", "id", "first"], ascending=[True, False, True, True])
        chosen = order.drop_duplicates("gene").index.to_numpy()
        joined = several.iloc[chosen].set_axis(several_names[chosen], axis=0)
        not_chosen = len(several) - len(joined)
    table = pd.concat([single, joined]).sort_index().rename_axis("gene")
    counts: dict[str, int | str] = {
        "method": method,
        "probes": len(values),
        "without_values": int((~seen).sum()),
        "merged": merged,
        "not_chosen": not_chosen,
        "genes": len(table),
    }
    return table, counts
