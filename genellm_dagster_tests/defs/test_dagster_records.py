"""What a person sees of a whole run in Dagster: runs, partitions, metadata, checks."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from genellm_dagster.defs import jobs
from genellm_dagster.defs.partitions import StudyPartitions, cell_key
from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, ONE_CLASS, Finished

CHECKS_BY_ASSET = {
    "raw_series": {"files_are_whole"},
    "sample_sheet": {"structure", "content"},
    "gene_expression": {"structure"},
    "sample_overlap": {"structure"},
    "qc_expression": {"structure", "samples", "genes"},
    "cross_validation": {"structure"},
    "baseline_predictions": {"structure"},
    "blood_composition": {"structure"},
    "gene_vocabulary": {"structure"},
    "profiles": {"structure"},
    "token_dataset": {"structure"},
    "gene_attributions": {"structure"},
    "model_comparison": {"structure"},
}
PLOTS = {
    "gene_expression": "distribution",
    "qc_expression": "distribution",
    "cross_validation": "losses",
    "evaluation_report": "auroc",
    "gene_attributions": "top_genes",
}


@pytest.fixture(scope="module")
def instance(finished: Finished):
    with finished.instance() as opened:
        yield opened


def _key(asset: str) -> dg.AssetKey:
    return dg.AssetKey(["demo", asset])


def _metadata(instance: dg.DagsterInstance, asset: str):
    event = instance.get_latest_materialization_event(_key(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization.metadata


def test_every_run_succeeded_and_each_cell_has_its_own(instance: dg.DagsterInstance) -> None:
    runs = instance.get_runs()
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    names = {run.job_name for run in runs}
    assert names == set(jobs.__dict__["_ASSETS"]) - {jobs.CATALOG, jobs.TUNE}
    encoded = {
        (run.tags["dagster/partition/stratum"], run.tags["dagster/partition/cohort"])
        for run in runs
        if run.job_name == jobs.ENCODE
    }
    assert encoded == {(stratum, name) for stratum, names in CELLS.items() for name in names}


def test_only_cells_that_hold_samples_were_materialized(instance: dg.DagsterInstance) -> None:
    for asset in ("qc_expression", "token_dataset", "prefix_states"):
        found = instance.get_materialized_partitions(_key(asset))
        assert found == {
            cell_key(cohort, stratum) for stratum, names in CELLS.items() for cohort in names
        }
    sheets = instance.get_materialized_partitions(_key("sample_sheet"))
    assert sheets == {*CELLS[CHILDREN], *CELLS[ADULTS], ONE_CLASS}


def test_dimensions_of_a_cell_are_found_by_name(
    instance: dg.DagsterInstance, finished: Finished
) -> None:
    parts = StudyPartitions.of(finished.study())
    keys = parts.cell.get_partition_keys(dynamic_partitions_store=instance)
    dimensions = [key.keys_by_dimension for key in keys if isinstance(key, dg.MultiPartitionKey)]
    assert len(dimensions) == len(keys)
    assert {one["stratum"] for one in dimensions} == set(CELLS)
    assert ONE_CLASS in {one["cohort"] for one in dimensions}


@pytest.mark.parametrize("asset", ["sample_sheet", "cross_validation", "token_dataset"])
def test_tables_say_rows_and_place(instance: dg.DagsterInstance, asset: str) -> None:
    metadata = _metadata(instance, asset)
    assert metadata["rows"].value > 0
    assert str(metadata["path"].value).endswith(".parquet")


@pytest.mark.parametrize(("asset", "name"), PLOTS.items())
def test_assets_show_a_plot(instance: dg.DagsterInstance, asset: str, name: str) -> None:
    assert str(_metadata(instance, asset)[name].value).startswith("![plot](data:image/png;base64,")


def test_assets_show_what_a_person_asks_first(instance: dg.DagsterInstance) -> None:
    sheet = _metadata(instance, "sample_sheet")
    assert {"used", "labels", "used_by_stratum", "why_not_used", "head"} <= set(sheet)
    assert "dagster/column_schema" in sheet
    raw = str(_metadata(instance, "raw_series")["head"].value)
    assert "series_matrix.txt.gz" in raw
    assert "http" in str(_metadata(instance, "cross_validation")["mlflow"].value)
    assert "version 1" in str(_metadata(instance, "adapter")["registered"].value)
    assert str(_metadata(instance, "study_report")["report"].value).endswith("report.html")


@pytest.mark.parametrize(("asset", "names"), CHECKS_BY_ASSET.items())
def test_checks_are_recorded_on_the_partition_that_they_checked(
    instance: dg.DagsterInstance, asset: str, names: set[str]
) -> None:
    found = [
        record.event.dagster_event.asset_check_evaluation_data
        for name in names
        for record in instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(_key(asset), name), limit=50
        )
    ]
    assert {one.check_name for one in found} == names
    assert all(one.passed and one.blocking for one in found)
    materialized = instance.get_materialized_partitions(_key(asset))
    assert {one.partition for one in found} == (materialized or {None})


def test_warnings_of_quality_control_are_shown_and_stop_nothing(
    instance: dg.DagsterInstance, finished: Finished
) -> None:
    records = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(_key("qc_expression"), "qc_warnings"), limit=50
    )
    found = [record.event.dagster_event.asset_check_evaluation_data for record in records]
    assert {one.partition for one in found} == instance.get_materialized_partitions(
        _key("qc_expression")
    )
    for one in found:
        cohort, stratum = one.partition.split("|")
        said = finished.json("qc_expression", stratum, cohort).get("warnings", [])
        assert one.severity == dg.AssetCheckSeverity.WARN
        assert not one.blocking
        assert one.passed == (not said)
        assert all(sentence in one.description for sentence in said)


@pytest.mark.parametrize(
    ("asset", "pages"), [("sample_sheet", ["sheet"]), ("qc_expression", ["samples", "genes"])]
)
def test_data_docs_of_each_partition_are_linked_and_there(
    instance: dg.DagsterInstance, finished: Finished, asset: str, pages: list[str]
) -> None:
    top = finished.study_folder / "data_docs"
    listed = (top / "index.html").read_text()
    linked = _metadata(instance, asset)
    index = Path(str(linked["data_docs"].value))
    assert index.is_file()
    assert linked["open_data_docs"].value == index.resolve().as_uri()
    partitions = instance.get_materialized_partitions(_key(asset))
    folders = {path.parent for path in (top / asset).rglob("index.html")}
    assert len(folders) == len(partitions)
    for folder in folders:
        assert f'href="{folder.relative_to(top).as_posix()}/index.html"' in listed
        written = {path.parents[2].name for path in folder.rglob("validations/*/*/*/*.html")}
        assert written == set(pages)


def test_second_run_encodes_nothing_again(finished: Finished) -> None:
    cohort = CELLS[CHILDREN][0]
    with finished.runner() as runner:
        result = runner.definitions.resolve_job_def(jobs.ENCODE).execute_in_process(
            instance=runner.instance,
            partition_key=cell_key(cohort, CHILDREN),
            asset_selection=[_key("prefix_states")],
        )
    (event,) = result.asset_materializations_for_node("demo__prefix_states")
    encoded = event.metadata["encoded"].value
    assert set(encoded) == {"pretrained", "random", "shuffled_genes"}
    for report in encoded.values():
        assert report["profiles"] > 10
        assert report["encoded"] == 0
        assert report["tokens"] == 0
