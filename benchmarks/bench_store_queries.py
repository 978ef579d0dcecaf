"""Questions to the catalogue and the sample sheets, as both grow: times and ratios of one run.

Sheets and a catalogue of made-up content are written first, as runs write them: one Parquet file a
cohort of 100 samples. Each question is timed whole (connection, files read, answer as a table),
the median of a few calls. The last column is the same question over one Parquet file that holds
every sample, read with pandas: what keeping the sheets in many files costs, or saves.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from timing import median_seconds

from genellm_dagster.files import write_parquet
from genellm_dagster.studies.curation import SHEET_COLUMNS
from genellm_dagster.workflows.tables import query_store

STUDY = "made_up"
SIZES = ((1_000, 10), (10_000, 100), (100_000, 1_000))
ROUNDS = 5
QUESTIONS = {
    "samples by cohort and label": (
        "SELECT cohort, label, count(*) FILTER (used) AS used, count(*) AS samples "
        "FROM sample_sheet GROUP BY ALL ORDER BY ALL"
    ),
    "why samples are left out": (
        "SELECT why_not, count(*) AS samples FROM sample_sheet WHERE NOT used "
        "GROUP BY ALL ORDER BY samples DESC"
    ),
    "cases by stratum and age": (
        'SELECT stratum, floor(age_years / 10) AS decade, avg("case") AS cases '
        "FROM sample_sheet WHERE used GROUP BY ALL ORDER BY ALL"
    ),
    "catalogue beside the sheets": (
        "SELECT c.status, count(DISTINCT c.accession) AS series, count(s.gsm) AS samples "
        "FROM geo_catalog c LEFT JOIN sample_sheet s ON s.cohort = c.accession GROUP BY ALL"
    ),
    "one person's samples": "SELECT * FROM sample_sheet WHERE subject = 'p7_3'",
    "titles in the catalogue": (
        "SELECT accession, title FROM geo_catalog WHERE title ILIKE '%septic%' "
        "ORDER BY published DESC LIMIT 20"
    ),
}


def write_store(store: Path, samples: int, cohorts: int) -> Path:
    """Write sample sheets and a catalogue; return one file with every sample."""
    random = np.random.default_rng(0)
    per = samples // cohorts
    sheets = []
    for cohort in range(cohorts):
        label = random.choice(["sepsis", "healthy", "septic_shock", "unassigned"], per)
        age = random.uniform(0, 90, per)
        used = label != "unassigned"
        sheet = pd.DataFrame(
            {
                "gsm": [f"GSM{cohort * per + i}" for i in range(per)],
                "subject": [f"p{cohort}_{i // 2}" for i in range(per)],
                "age_years": age,
                "sex": random.choice(["female", "male"], per),
                "timepoint": pd.Series([None] * per, dtype=object),
                "label": label,
                "case": pd.array(np.where(label == "healthy", 0, 1), dtype="Int8"),
                "stratum": np.where(age < 18, "pediatric", "adult"),
                "used": used,
                "why_not": np.where(used, "", "label 'unassigned' is neither case nor control"),
            }
        )[list(SHEET_COLUMNS)]
        write_parquet(store / STUDY / "sample_sheet" / f"GSE{cohort}.parquet", sheet)
        sheets.append(sheet.assign(cohort=f"GSE{cohort}"))
    catalogue = pd.DataFrame(
        {
            "accession": [f"GSE{i}" for i in range(samples)],
            "title": [f"Whole blood of septic patients, series {i}" for i in range(samples)],
            "samples": 100,
            "published": [f"20{i % 25:02d}-01-01" for i in range(samples)],
            "status": np.where(np.arange(samples) < cohorts, "ingested", "found"),
        }
    )
    write_parquet(store / STUDY / "geo_catalog.parquet", catalogue)
    together = store / "together.parquet"
    write_parquet(together, pd.concat(sheets, ignore_index=True))
    return together


def main() -> None:
    """Measure and print."""
    names = [f"{samples:,} in {cohorts:,}" for samples, cohorts in SIZES]
    print("seconds; samples in cohorts (the catalogue has as many series as there are samples)\n")
    print(f"{'question':<30}" + "".join(f"{name:>20}" for name in names) + f"{'last / first':>14}")
    taken: dict[str, list[float]] = {question: [] for question in QUESTIONS}
    by_hand: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for samples, cohorts in SIZES:
            store = Path(folder) / str(samples)
            together = write_store(store, samples, cohorts)
            query_store(store, STUDY, "SELECT 1")  # the import is no part of a question
            for question, sql in QUESTIONS.items():
                taken[question].append(
                    median_seconds(ROUNDS, partial(query_store, store, STUDY, sql))
                )
            by_hand.append(
                median_seconds(
                    ROUNDS,
                    lambda together=together: (
                        pd.read_parquet(together)
                        .groupby(["cohort", "label"])["used"]
                        .agg(["sum", "size"])
                    ),
                )
            )
    for question, times in [*taken.items(), ("(pandas, one file: the first)", by_hand)]:
        cells = "".join(f"{value:>20.3f}" for value in times)
        print(f"{question:<30}{cells}{times[-1] / times[0]:>14.1f}")


if __name__ == "__main__":
    main()
