"""Asset values as files: where they lie, and which partitions an input gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from genellm_dagster.defs.io_managers import JsonIOManager, ParquetIOManager, asset_path
from genellm_dagster.defs.partitions import STRATUM, StudyPartitions, cell_key
from genellm_dagster.errors import StoreError
from genellm_dagster.files import write_json, write_parquet
from genellm_dagster_tests.defs.makers import a_study

PARTS = StudyPartitions.of(a_study("GSE1", "GSE2"))


def _assets() -> list[dg.AssetsDefinition]:
    @dg.asset(key=PARTS.key("sheet"), partitions_def=PARTS.cohort, io_manager_key="parquet")
    def sheet() -> pd.DataFrame:
        return pd.DataFrame({"gsm": ["GSM1"]})

    @dg.asset(key=PARTS.key("cells"), partitions_def=PARTS.cell, io_manager_key="parquet")
    def cells() -> pd.DataFrame:
        return pd.DataFrame({"gsm": ["GSM1"]})

    @dg.asset(key=PARTS.key("numbers"), partitions_def=PARTS.stratum, io_manager_key="json")
    def numbers() -> dict[str, Any]:
        return {"n": 1}

    @dg.asset(
        key=PARTS.key("of_stratum"),
        partitions_def=PARTS.stratum,
        ins={"cells": PARTS.cells_of_stratum("cells")},
        io_manager_key="json",
    )
    def of_stratum(cells: dict[tuple[str, str], pd.DataFrame]) -> list[list[str]]:
        return sorted(list(key) for key in cells)

    @dg.asset(
        key=PARTS.key("of_all"),
        ins={"sheets": PARTS.every("sheet"), "numbers": PARTS.every("numbers")},
        io_manager_key="json",
    )
    def of_all(sheets: dict[str, pd.DataFrame], numbers: dict[str, dict]) -> dict[str, list[str]]:
        return {"sheets": sorted(sheets), "numbers": sorted(numbers)}

    return [sheet, cells, numbers, of_stratum, of_all]


def _run(store: Path, instance: dg.DagsterInstance, asset: str, partition: str | None = None):
    resources = {
        "parquet": ParquetIOManager(store=str(store), cohorts=PARTS.study.cohorts),
        "json": JsonIOManager(store=str(store), cohorts=PARTS.study.cohorts),
    }
    return dg.materialize(
        _assets(),
        selection=dg.AssetSelection.assets(PARTS.key(asset)),
        partition_key=partition,
        instance=instance,
        resources=resources,
    )


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as opened:
        opened.add_dynamic_partitions(PARTS.cohort.name or "", ["GSE1", "GSE2"])
        yield opened


def test_files_lie_below_study_asset_and_partition() -> None:
    key, store = PARTS.key("sheet"), Path("store")
    assert asset_path(store, key, None, ".json") == Path("store/small/sheet.json")
    assert asset_path(store, key, "GSE1", ".parquet") == Path("store/small/sheet/GSE1.parquet")
    cell = asset_path(store, key, cell_key("GSE1", "adult"), ".parquet")
    assert cell == Path("store/small/sheet/adult/GSE1.parquet")


def test_cell_is_written_as_stratum_and_cohort_with_its_run(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    import pyarrow.parquet as pq

    result = _run(tmp_path, instance, "cells", cell_key("GSE1", "adult"))
    file = tmp_path / "small/cells/adult/GSE1.parquet"
    assert pq.read_schema(file).metadata[b"run"].decode() == result.run_id


def test_stratum_gets_the_cells_that_are_there(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    frame = pd.DataFrame({"gsm": ["GSM1"]})
    for name in ("adult/GSE2", "pediatric/GSE1", "adult/GSE9"):
        write_parquet(tmp_path / f"small/cells/{name}.parquet", frame)
    result = _run(tmp_path, instance, "of_stratum", "adult")
    assert result.output_for_node("small__of_stratum") == [["adult", "GSE2"]]


def test_stratum_that_was_not_run_is_passed_over(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    frame = pd.DataFrame({"gsm": ["GSM1"]})
    for name in PARTS.study.cohorts:
        write_parquet(tmp_path / f"small/sheet/{name}.parquet", frame)
    write_json(tmp_path / "small/numbers/adult.json", {"n": 1})
    result = _run(tmp_path, instance, "of_all")
    assert result.output_for_node("small__of_all")["numbers"] == ["adult"]


def test_cohort_that_left_the_study_is_passed_over(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(PARTS.cohort.name or "", ["GSE9"])
    frame = pd.DataFrame({"gsm": ["GSM1"]})
    for name in PARTS.study.cohorts:
        write_parquet(tmp_path / f"small/sheet/{name}.parquet", frame)
    write_json(tmp_path / "small/numbers/adult.json", {"n": 1})
    result = _run(tmp_path, instance, "of_all")
    assert result.output_for_node("small__of_all")["sheets"] == ["GSE1", "GSE2"]


@pytest.mark.parametrize("there", [[], ["GSE1"]])
def test_cohort_without_its_file_is_an_error_that_names_it(
    tmp_path: Path, instance: dg.DagsterInstance, there: list[str]
) -> None:
    for name in there:
        write_parquet(tmp_path / f"small/sheet/{name}.parquet", pd.DataFrame({"gsm": ["GSM1"]}))
    write_json(tmp_path / "small/numbers/adult.json", {"n": 1})
    with pytest.raises(StoreError) as caught:
        _run(tmp_path, instance, "of_all")
    missing = next(name for name in PARTS.study.cohorts if name not in there)
    assert f"{missing}.parquet is missing" in str(caught.value)


def test_no_stratum_at_all_is_an_error(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    for name in PARTS.study.cohorts:
        write_parquet(tmp_path / f"small/sheet/{name}.parquet", pd.DataFrame({"gsm": ["GSM1"]}))
    with pytest.raises(StoreError) as caught:
        _run(tmp_path, instance, "of_all")
    assert "Nothing of small/numbers" in str(caught.value)


def test_mapping_of_cells_goes_by_the_name_of_the_dimension() -> None:
    mapping = PARTS.cells_of_stratum("cells").partition_mapping
    assert isinstance(mapping, dg.MultiToSingleDimensionPartitionMapping)
    assert mapping.partition_dimension_name == STRATUM
