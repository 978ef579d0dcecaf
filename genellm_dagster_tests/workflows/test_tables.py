"""A study's tables are asked in SQL, and a question can neither write nor look elsewhere."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from genellm_dagster.errors import StoreError
from genellm_dagster.files import write_json, write_parquet
from genellm_dagster.workflows.tables import TABLES, query_store, store_tables

STUDY = "mine"


def sheet(cohort: str, labels: list[str | None], **columns: list[object]) -> pd.DataFrame:
    n = len(labels)
    return pd.DataFrame(
        {
            "gsm": [f"{cohort}_{i}" for i in range(n)],
            "subject": [f"p{i}" for i in range(n)],
            "age_years": [float(i) for i in range(n)],
            "sex": pd.Series([None] * n, dtype=object),
            "timepoint": pd.Series([None] * n, dtype=object),
            "label": pd.Series(labels, dtype=object),
            "case": pd.array([None if x is None else int(x == "sepsis") for x in labels], "Int8"),
            "stratum": ["adult"] * n,
            "used": [x is not None for x in labels],
            "why_not": ["" if x is not None else "no label rule matches" for x in labels],
        }
        | columns
    )


def predictions(model: str, stratum: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"gsm": ["a", "b"], "model": model, "stratum": stratum, "score": [0.1, 0.9]}
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    # A name that a glob and a quote would trip over.
    root = tmp_path / "st'ore [1]*"
    study = root / STUDY
    write_parquet(study / "sample_sheet" / "GSE1.parquet", sheet("GSE1", ["sepsis", "healthy"]))
    write_parquet(
        study / "sample_sheet" / "GSE2-GPL570.parquet",
        sheet("GSE2", ["sepsis", None], timepoint=["D1", "D3"]),
    )
    write_parquet(
        study / "geo_catalog.parquet",
        pd.DataFrame({"accession": ["GSE1", "GSE9"], "status": ["ingested", "found"]}),
    )
    for asset, model in (("cross_validation", "genellm"), ("baseline_predictions", "lasso")):
        write_parquet(study / asset / "adult.parquet", predictions(model, "adult"))
        write_json(study / asset / "adult.json", {})
    write_parquet(
        study / "cross_validation" / "adult.representations.parquet", pd.DataFrame({"x": [1]})
    )
    write_parquet(
        study / "gene_attributions" / "adult.signature.parquet", pd.DataFrame({"gene": ["CD177"]})
    )
    write_parquet(study / "gene_attributions" / "adult.parquet", pd.DataFrame({"CD177": [0.5]}))
    return root


def ask(store: Path, sql: str) -> list[tuple[object, ...]]:
    return list(query_store(store, STUDY, sql).itertuples(index=False, name=None))


def test_samples_of_all_cohorts_are_one_table(store: Path) -> None:
    answer = ask(store, 'SELECT cohort, sum("case") FROM sample_sheet GROUP BY ALL ORDER BY 1')
    assert answer == [("GSE1", 1), ("GSE2-GPL570", 1)]
    assert ask(store, "SELECT gsm FROM sample_sheet WHERE timepoint = 'D1'") == [("GSE2_0",)]


def test_a_column_that_no_cohort_fills_can_still_be_compared_as_text(store: Path) -> None:
    assert ask(store, "SELECT gsm FROM sample_sheet WHERE sex = 'female'") == []


def test_tables_can_be_joined(store: Path) -> None:
    answer = ask(
        store,
        "SELECT c.accession, c.status, count(s.gsm) FROM geo_catalog c LEFT JOIN sample_sheet s "
        "ON s.cohort = c.accession GROUP BY ALL ORDER BY 1",
    )
    assert answer == [("GSE1", "ingested", 2), ("GSE9", "found", 0)]


def test_predictions_are_those_of_all_models_and_nothing_that_lies_beside_them(store: Path) -> None:
    answer = ask(store, "SELECT model, count(*) FROM predictions GROUP BY 1 ORDER BY 1")
    assert answer == [("genellm", 2), ("lasso", 2)]
    assert ask(store, "FROM gene_signature") == [("adult", "CD177")]


def test_half_written_files_are_passed_over(store: Path) -> None:
    folder = store / STUDY / "sample_sheet"
    (folder / ".GSE3.parquet.77.part").write_bytes(b"half")
    (folder / ".GSE4.parquet").write_bytes(b"half")
    assert ask(store, "SELECT count(DISTINCT cohort) FROM sample_sheet") == [(2,)]


def test_the_list_says_which_tables_there_are(store: Path) -> None:
    listed = store_tables(store, STUDY).set_index("table")["files"]
    assert list(listed.index) == [table.name for table in TABLES]
    assert listed["sample_sheet"] == 2
    assert listed["predictions"] == 2
    assert listed["sample_overlap"] == 0
    shown = {row[0] for row in ask(store, "SHOW TABLES")}
    assert shown == {"sample_sheet", "geo_catalog", "predictions", "gene_signature"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_parquet('{parquet}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM sniff_csv('{file}')",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM query('COPY sample_sheet TO ''{out}''')",
        "SELECT * FROM enable_logging('QueryLog', storage_path = '{out}')",
        "SELECT * FROM enable_profiling(save_location = '{out}')",
        "SELECT * FROM arrow_scan(1, 1, 1)",
        "SELECT * FROM store",
        "COPY sample_sheet TO '{out}'",
        "EXPLAIN ANALYZE COPY sample_sheet TO '{out}'",
        "ATTACH '{out}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA enable_profiling",
        "EXPORT DATABASE '{out}'",
        "CREATE TABLE t AS SELECT 1",
        "DROP TABLE sample_sheet",
        "DELETE FROM sample_sheet",
        "CALL force_checkpoint()",
        "SELECT 1; COPY sample_sheet TO '{out}'",
        "",
        "-- nothing",
        "SELEC 1",
    ],
)
def test_whatever_is_no_question_about_the_tables_is_refused(
    store: Path, tmp_path: Path, sql: str
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    places = {
        "file": secret,
        "folder": tmp_path,
        "out": tmp_path / "out",
        "parquet": str(store / STUDY / "geo_catalog.parquet").replace("'", "''"),
    }
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match=r"^The query ") as caught:
        query_store(store, STUDY, sql.format(**places))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_table_not_made_yet_is_told_with_those_that_are(store: Path) -> None:
    with pytest.raises(StoreError, match="materialize model_comparison first") as caught:
        query_store(store, STUDY, "SELECT * FROM model_comparison")
    assert "geo_catalog, sample_sheet, predictions" in str(caught.value)


def test_a_misspelt_column_is_told(store: Path) -> None:
    with pytest.raises(StoreError, match=r'"labl" not found .*mend the query'):
        query_store(store, STUDY, "SELECT labl FROM sample_sheet")


def test_a_damaged_file_is_told(store: Path) -> None:
    place = store / STUDY / "sample_sheet" / "GSE1.parquet"
    place.write_bytes(place.read_bytes()[:200])
    with pytest.raises(StoreError, match=r"cannot be read .*delete the damaged one"):
        query_store(store, STUDY, "SELECT * FROM sample_sheet")
    assert ask(store, "SELECT count(*) FROM geo_catalog") == [(2,)]


@pytest.mark.parametrize("study", ["../other", "", "a/b", "no such"])
def test_a_name_that_is_no_study_leads_nowhere(store: Path, study: str) -> None:
    with pytest.raises(StoreError, match="cannot name a folder"):
        query_store(store, study, "SELECT 1")


def test_a_study_without_tables_says_so(store: Path) -> None:
    assert store_tables(store, "empty")["files"].sum() == 0
    with pytest.raises(StoreError, match="are: none; materialize sample_sheet first"):
        query_store(store, "empty", "SELECT * FROM sample_sheet")


def test_a_query_of_endless_length_is_refused(store: Path) -> None:
    with pytest.raises(StoreError, match="more than the 20000 allowed"):
        query_store(store, STUDY, "SELECT 1" + " " * 20_000)
