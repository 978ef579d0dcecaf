"""ComBat of this project, fitted and applied, against inmoose's in one run where it is installed.

inmoose is under the GPL and no dependency of the project: install it in an environment of its own.
Prints medians and the ratio; the machine's speed cancels out of the ratio only.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from timing import median_seconds

from genellm_dagster.expression.harmonisation import fit_harmonisation
from genellm_dagster.expression.profile_options import HarmonisationOptions

GENES = 20_000
SIZES = (100, 400, 800)
COHORTS = 5
ROUNDS = 3


def cohorts(samples: int) -> dict[str, pd.DataFrame]:
    """Make cohorts of equal size, each with its own location and scale."""
    random = np.random.default_rng(0)
    genes = pd.Index([f"G{number:05d}" for number in range(GENES)], name="gene")
    tables = {}
    for number in range(COHORTS):
        columns = [f"GSM{number}{sample:05d}" for sample in range(samples // COHORTS)]
        spread = random.gamma(8, 1 / 8, (GENES, 1))
        values = random.normal(8 + random.normal(size=(GENES, 1)), spread, (GENES, len(columns)))
        tables[f"GSE{number}"] = pd.DataFrame(values.astype(np.float32), genes, columns)
    return tables


def ours(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Fit on all cohorts and apply to them."""
    found = fit_harmonisation(tables, HarmonisationOptions(method="combat"))
    return {name: found.apply(name, table) for name, table in tables.items()}


def main() -> None:
    """Measure and print."""
    try:
        from inmoose.pycombat import pycombat_norm
    except ImportError:
        pycombat_norm = None
        print("inmoose is not installed; only this project's ComBat is measured")
    print(f"{'genes x samples':>18} {'this s':>8} {'inmoose s':>10} {'this / inmoose':>15}")
    for samples in SIZES:
        tables = cohorts(samples)
        own = median_seconds(ROUNDS, lambda tables=tables: ours(tables))
        line = f"{GENES:>9} x {samples:<6} {own:>8.2f}"
        if pycombat_norm is not None:
            together = pd.concat(tables.values(), axis=1).astype(np.float64)
            batch = [name for name, table in tables.items() for _ in table.columns]
            other = median_seconds(
                ROUNDS, lambda table=together, batch=batch: pycombat_norm(table, batch)
            )
            line += f" {other:>10.2f} {own / other:>15.2f}"
        print(line)


if __name__ == "__main__":
    main()
