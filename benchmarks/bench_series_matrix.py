"""From a gzipped series matrix to numbers: this project's reader against pandas, in one run.

A made-up matrix is written first (symbol ids, values like log2 expression). Prints a table of
medians and the ratio; the machine's speed cancels out of the ratio only.
"""

from __future__ import annotations

import gzip
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from genellm_dagster.geo.matrix import read_series_matrix

SIZES = ((5_000, 100), (10_000, 200), (20_000, 200))
ROUNDS = 3


def write_matrix(path: Path, probes: int, samples: int) -> None:
    """Write a series matrix file of random values."""
    values = np.random.default_rng(0).gamma(8.0, 1.0, (probes, samples))
    gsm = [f'"GSM{number}"' for number in range(1, samples + 1)]
    head = [
        '!Series_geo_accession\t"GSE1"',
        "!Sample_title\t" + "\t".join(gsm),
        "!Sample_geo_accession\t" + "\t".join(gsm),
        "!series_matrix_table_begin",
        '"ID_REF"\t' + "\t".join(gsm),
    ]
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("\n".join(head) + "\n")
        for number, row in enumerate(values):
            file.write(f'"P{number}"\t' + "\t".join(f"{value:.5f}" for value in row) + "\n")
        file.write("!series_matrix_table_end\n")


def seconds(function: Callable[[], object]) -> float:
    """Return the median time of a few calls."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    print(f"{'probes x samples':>18} {'reader s':>9} {'pandas s':>9} {'pandas / reader':>16}")
    with tempfile.TemporaryDirectory() as folder:
        for probes, samples in SIZES:
            path = Path(folder) / "matrix.txt.gz"
            write_matrix(path, probes, samples)
            ours = seconds(lambda path=path: read_series_matrix(path))
            theirs = seconds(
                lambda path=path: pd.read_csv(path, sep="\t", comment="!", index_col=0)
            )
            print(f"{probes:>9} x {samples:<6} {ours:>9.2f} {theirs:>9.2f} {theirs / ours:>16.2f}")


if __name__ == "__main__":
    main()
