"""From a gzipped SOFT family file to a matrix: this project's reader against GEOparse, in one run.

A made-up family is written first (one platform, tables with detection calls as arrays have them).
GEOparse is asked for what takes it as far: ``get_GEO`` of the file, then ``pivot_samples``. Prints
a table of medians and their ratio; the machine's speed cancels out of the ratio only.
"""

from __future__ import annotations

import gzip
import logging
import tempfile
from pathlib import Path

import GEOparse
import numpy as np
import pandas as pd
from timing import median_seconds

from genellm_dagster.geo.soft import read_soft_family

SIZES = ((25_000, 10), (25_000, 40), (50_000, 40), (25_000, 160))
ROUNDS = 3


def write_family(path: Path, probes: int, samples: int) -> None:
    """Write a SOFT family file of random values."""
    rng = np.random.default_rng(0)
    names = [f"{number}_at" for number in range(probes)]
    gsms = [f"GSM{number}" for number in range(1, samples + 1)]
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("^DATABASE = GeoMiame\n^SERIES = GSE1\n!Series_title = made up\n")
        file.writelines(f"!Series_sample_id = {gsm}\n" for gsm in gsms)
        file.write("^PLATFORM = GPL1\n!Platform_title = made up\n#ID = \n#Gene Symbol = \n")
        file.write("!platform_table_begin\nID\tGene Symbol\n")
        file.writelines(f"{name}\tG{number}\n" for number, name in enumerate(names))
        file.write("!platform_table_end\n")
        for gsm in gsms:
            file.write(
                f"^SAMPLE = {gsm}\n!Sample_title = {gsm}\n!Sample_geo_accession = {gsm}\n"
                "!Sample_characteristics_ch1 = age: 3\n!Sample_platform_id = GPL1\n#ID_REF = \n"
                "#VALUE = log2\n#ABS_CALL = \n#DETECTION P-VALUE = \n!sample_table_begin\n"
                "ID_REF\tVALUE\tABS_CALL\tDETECTION P-VALUE\n"
            )
            values = rng.gamma(8.0, 1.0, probes)
            file.writelines(
                f"{name}\t{value:.5f}\tP\t0.000244\n"
                for name, value in zip(names, values, strict=True)
            )
            file.write("!sample_table_end\n")


def read_ours(path: Path) -> pd.DataFrame:
    """Read the values with this project's reader."""
    values = read_soft_family(path).values
    if values is None:
        raise AssertionError("the family has values")
    return values


def read_theirs(path: Path) -> pd.DataFrame:
    """Read the values with GEOparse."""
    return GEOparse.get_GEO(filepath=str(path), silent=True).pivot_samples("VALUE")


def main() -> None:
    """Measure and print."""
    logging.getLogger("GEOparse").setLevel(logging.ERROR)
    print(
        f"{'probes x samples':>18} {'gzip MB':>8} {'reader s':>9} {'GEOparse s':>11} "
        f"{'GEOparse / reader':>18}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for probes, samples in SIZES:
            path = Path(folder) / "GSE1_family.soft.gz"  # GEOparse reads the accession from it
            write_family(path, probes, samples)
            ours, theirs = read_ours(path), read_theirs(path)
            np.testing.assert_allclose(theirs.loc[ours.index, ours.columns], ours, rtol=1e-6)
            mine = median_seconds(ROUNDS, lambda path=path: read_ours(path))
            other = median_seconds(ROUNDS, lambda path=path: read_theirs(path))
            print(
                f"{probes:>9} x {samples:<6} {path.stat().st_size / 1e6:>8.1f} {mine:>9.2f} "
                f"{other:>11.2f} {other / mine:>18.1f}"
            )


if __name__ == "__main__":
    main()
