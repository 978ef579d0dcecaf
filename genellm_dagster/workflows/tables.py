"""The study's tables in the store, asked in SQL.

DuckDB reads the Parquet files that a question names into memory and is then shut off from
everything else: no file, no address, no extension, no other statement than one SELECT. A question
therefore cannot change the store, whoever wrote it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from genellm_dagster.errors import StoreError
from genellm_dagster.studies.study import check_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MAX_SQL_CHARS = 20_000
_MEMORY = "2GB"
# Taken away once the tables are loaded, in this order; the last one makes it final.
_LOCKS = {
    "enable_progress_bar": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "temp_directory": "''",
    "enable_external_access": "false",
    "lock_configuration": "true",
}
# These take addresses in memory; a made-up one would end the program.
_POINTERS = re.compile(r"\b(?:arrow_scan|arrow_scan_dumb|pandas_scan|python_\w+)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class StoredTable:
    """A table that a question can name.

    Attributes:
        name: Its name in SQL.
        files: Patterns of its files below the study's folder.
        key: Column made of the file's name: the partition that it holds; none where the files say
            it themselves or there is one only.
        holds: What it holds, for a list of tables.
    """

    name: str
    files: tuple[str, ...]
    key: str | None
    holds: str


TABLES = (
    StoredTable("geo_catalog", ("geo_catalog.parquet",), None, "the series that the search finds"),
    StoredTable("sample_sheet", ("sample_sheet/*.parquet",), "cohort", "one row a sample"),
    StoredTable(
        "sample_overlap", ("sample_overlap.parquet",), None, "pairs of one person or array"
    ),
    StoredTable(
        "predictions",
        ("cross_validation/*.parquet", "baseline_predictions/*.parquet"),
        None,
        "out-of-fold predictions of every model",
    ),
    StoredTable("gene_vocabulary", ("gene_vocabulary/*.parquet",), "stratum", "the model's genes"),
    StoredTable(
        "gene_signature",
        ("gene_attributions/*.signature.parquet",),
        "stratum",
        "genes by their SHAP values",
    ),
    StoredTable("model_comparison", ("model_comparison.parquet",), None, "every model's numbers"),
)


def store_tables(store: Path, study: str) -> pd.DataFrame:
    """List the tables of a study that can be asked.

    Args:
        store: The folder that runs write to.
        study: Name of the study.

    Returns:
        Columns ``table``, ``files`` (how many there are), ``holds``; tables without files are
        listed with 0.
    """
    folder = _folder(store, study)
    rows = [(table.name, len(_files(folder, table)), table.holds) for table in TABLES]
    return pd.DataFrame(rows, columns=["table", "files", "holds"])


def query_store(store: Path, study: str, sql: str) -> pd.DataFrame:
    """Answer a SELECT about a study's tables.

    Args:
        store: The folder that runs write to.
        study: Name of the study.
        sql: One SELECT in DuckDB's dialect, over the tables of :func:`store_tables`. The column
            ``case`` is a word of SQL: write it in double quotes.

    Returns:
        The answer.

    Raises:
        StoreError: When the question is no single SELECT, cannot be run, names a table that has not
            been made yet, or a file of the store is damaged.

    Examples:
        >>> query_store(  # doctest: +SKIP
        ...     Path("data/store"),
        ...     "sepsis",
        ...     "SELECT cohort, label, count(*) AS samples FROM sample_sheet GROUP BY ALL",
        ... )
    """
    import duckdb

    folder = _folder(store, study)
    if len(sql) > MAX_SQL_CHARS:
        raise StoreError(
            f"The query has {len(sql)} characters, more than the {MAX_SQL_CHARS} allowed; "
            "shorten it."
        )
    with duckdb.connect(":memory:", config={"memory_limit": _MEMORY}) as connection:
        _refuse_other_than_select(connection, sql)
        named = _named(sql)
        # A question that names none asks for all of them, SHOW TABLES for instance.
        for table in named or TABLES:
            files = _files(folder, table)
            if files:
                _load(connection, table, files)
        for option, value in _LOCKS.items():
            connection.execute(f"SET {option} = {value}")
        try:
            answer: pd.DataFrame = connection.execute(sql).df()
        except (duckdb.Error, MemoryError) as error:
            raise _refused(error, folder, named) from error
    return answer


def _folder(store: Path, study: str) -> Path:
    try:
        return store / check_name(study)
    except ValueError as error:
        raise StoreError(f"{error}.") from error


def _files(folder: Path, table: StoredTable) -> list[Path]:
    found = []
    for pattern in table.files:
        # One dot in a name: adult.parquet is a partition, adult.representations.parquet lies beside
        # it and is another table; hidden names are files half written.
        dots = pattern.rsplit("/", 1)[-1].count(".")
        found += [
            path
            for path in sorted(folder.glob(pattern))
            if not path.name.startswith(".") and path.name.count(".") == dots and path.is_file()
        ]
    return found


def _named(sql: str) -> list[StoredTable]:
    words = {word.lower() for word in _WORD.findall(sql)}
    return [table for table in TABLES if table.name in words]


def _refuse_other_than_select(connection: DuckDBPyConnection, sql: str) -> None:
    import duckdb

    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise StoreError(f"The query is no SQL ({_first_line(error)}); mend it.") from error
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        raise StoreError(
            "The query is not one single SELECT; the store is only read here, so ask with SELECT."
        )
    if _POINTERS.search(sql):
        raise StoreError("The query names a function that reads memory; ask the tables themselves.")


def _load(connection: DuckDBPyConnection, table: StoredTable, files: list[Path]) -> None:
    import duckdb

    key = (
        ""
        if table.key is None
        else f"split_part(parse_filename(filename), '.', 1) AS {table.key}, "
    )
    try:
        connection.execute(
            f"CREATE TABLE {table.name} AS SELECT {key}* EXCLUDE (filename) "  # noqa: S608
            "FROM read_parquet(?, union_by_name = true, filename = true)",
            [[str(path) for path in files]],
        )
        _text_for_empty_columns(connection, table.name)
    except duckdb.Error as error:
        raise StoreError(
            f"The files of {table.name} in {files[0].parent} cannot be read "
            f"({_first_line(error)}); delete the damaged one and run again."
        ) from error


def _text_for_empty_columns(connection: DuckDBPyConnection, name: str) -> None:
    """Make a column without a single value text: what Parquet calls it depends on who wrote it."""
    columns = connection.execute(f"DESCRIBE {name}").fetchall()
    for column, kind, *_ in columns:
        if kind not in {"INTEGER", '"NULL"', "NULL"}:
            continue
        quoted = '"' + str(column).replace('"', '""') + '"'
        filled = connection.execute(f"SELECT count({quoted}) FROM {name}").fetchall()  # noqa: S608
        if filled == [(0,)]:
            connection.execute(f"ALTER TABLE {name} ALTER {quoted} TYPE VARCHAR")


def _refused(error: Exception, folder: Path, named: list[StoredTable]) -> StoreError:
    there = ", ".join(table.name for table in TABLES if _files(folder, table)) or "none"
    missing = [table.name for table in named if not _files(folder, table)]
    remedy = f"materialize {' and '.join(missing)} first" if missing else "mend the query"
    return StoreError(
        f"The query cannot be run ({_first_line(error)}); the tables in {folder} are: {there}; "
        f"{remedy}."
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].rstrip(".")
