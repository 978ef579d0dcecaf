"""A study's tables leave for other programs with every sample, gap and source as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from genellm_dagster.errors import StoreError, StudyError
from genellm_dagster.files import write_json, write_parquet
from genellm_dagster.settings import Settings, load_settings, study_of
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.export import OBS_COLUMNS, Exported, gather
from genellm_dagster.workflows.export_files import format_of, write_export
from genellm_dagster.workflows.scales import scales_of

RULES = {
    "label": [
        {"field": "title", "pattern": "s", "value": "sepsis"},
        {"field": "title", "pattern": "h", "value": "healthy"},
    ]
}
DESCRIBED = {
    "name": "mine",
    "title": "Sepsis = a test",
    "case": ["sepsis"],
    "control": ["healthy"],
    "strata": {"pediatric": {"max_age": 18}, "adult": {"min_age": 18}},
    "cohorts": ["GSE2", "GSE1"],
    "cohort_files": {
        name: {"accession": name, "platform": "GPL570", "sample": RULES}
        for name in ("GSE2", "GSE1")
    },
}
SHA = "ab" * 32


def sheet(gsm: list[str], **columns: object) -> pd.DataFrame:
    n = len(gsm)
    labels = ["sepsis", "healthy"] * n
    return pd.DataFrame(
        {
            "gsm": gsm,
            "subject": [f"p{i}" for i in range(n)],
            "age_years": [20.0 + i for i in range(n)],
            "sex": pd.Series(["female", None] * n, dtype=object)[:n],
            "timepoint": pd.Series([None] * n, dtype=object),
            "label": labels[:n],
            "case": pd.array([1, 0] * n, "Int8")[:n],
            "stratum": "adult",
            "used": True,
            "why_not": "",
        }
        | columns
    )


def table(gsm: list[str], genes: list[str], first: float) -> pd.DataFrame:
    values = first + np.arange(len(gsm) * len(genes)).reshape(len(genes), -1) / 7
    frame = pd.DataFrame(values.astype(np.float32), columns=gsm)
    frame.index = pd.Index(genes, name="gene")
    return frame


class Place:
    """A store as ingestion leaves it, and the study's file."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "store"
        self.study_file = folder / "mine.yaml"
        self.describe(DESCRIBED)
        self.cohort("GSE1", sheet(["GSM1", "GSM2"]), table(["GSM1", "GSM2"], ["A1BG", "TP53"], 5))
        young = sheet(["GSM3", "GSM4", "GSM5", "GSM6"]).assign(
            stratum=["adult", "adult", "pediatric", None],
            used=[True, True, True, False],
            why_not=["", "", "", "=HYPERLINK(1)"],
        )
        self.cohort("GSE2", young, table(list(young["gsm"]), ["TP53", "CD177"], 8))

    @property
    def study_folder(self) -> Path:
        return self.root / "mine"

    def describe(self, content: dict[str, Any]) -> None:
        self.study_file.write_text(yaml.safe_dump(content, sort_keys=False))

    def cohort(self, name: str, samples: pd.DataFrame, values: pd.DataFrame) -> None:
        folder = self.study_folder
        write_parquet(folder / "sample_sheet" / f"{name}.parquet", samples)
        values.loc[values.index[0], values.columns[0]] = np.nan
        write_parquet(
            folder / "gene_expression" / f"{name}.parquet", values, {"run": f"run {name}"}
        )
        scale = {"kind": "log2", "decided_by": "detected", "counts": None}
        report = {"scale": scale, "collapse": {"method": "median"}, "hgnc": "2024"}
        write_json(folder / "gene_expression" / f"{name}.json", report | {"transductive": []})
        record = {
            "address": f"https://example.org/{name}.gz", "size": 3, "sha256": SHA,
            "fetched_at": "2026-01-01T00:00:00+00:00", "name": f"{name}.gz", "role": "matrix",
        }  # fmt: skip
        manifest = {"accession": name, "platform": "GPL570", "root": "https://example.org"}
        write_json(folder / "raw_series" / f"{name}.json", manifest | {"files": [record]})
        adults = samples.loc[samples["stratum"] == "adult", "gsm"]
        # Quality control has left one gene out.
        write_parquet(
            folder / "qc_expression" / "adult" / f"{name}.parquet", values[list(adults)].iloc[:-1]
        )

    def settings(self) -> Settings:
        return load_settings(study=str(self.study_file), store=self.root)

    def study(self) -> Study:
        return study_of(self.settings())

    def gather(self, *arguments: Any, **named: Any) -> Exported:
        return gather(self.settings(), self.study(), *arguments, **named)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_cohorts_keep_their_own_genes_and_absent_ones_stay_absent(place: Place) -> None:
    found = place.gather("expression")
    assert list(found.values.columns) == ["A1BG", "CD177", "TP53"]
    assert list(found.values.index) == ["GSM3", "GSM4", "GSM5", "GSM6", "GSM1", "GSM2"]
    assert (found.values.dtypes == np.float32).all()
    assert found.values.loc[["GSM1", "GSM2"], "CD177"].isna().all()
    assert found.values.loc["GSM3":"GSM6", "A1BG"].isna().all()
    for name in ("GSE1", "GSE2"):
        path = place.study_folder / "gene_expression" / f"{name}.parquet"
        stored = pd.read_parquet(path)
        there = found.values.loc[stored.columns, stored.index]
        np.testing.assert_array_equal(there.to_numpy(), stored.to_numpy().T)
    assert found.genes.loc["TP53"].tolist() == [2, 5]
    assert found.genes.loc["CD177"].tolist() == [1, 4]


def test_samples_carry_their_sheet_and_people_are_told_apart_between_series(place: Place) -> None:
    found = place.gather("expression")
    assert tuple(found.samples.columns) == OBS_COLUMNS
    assert list(found.samples.index) == list(found.values.index)
    assert found.samples.loc["GSM1", "subject"] == "GSE1:p0"
    assert found.samples.loc["GSM3", "subject"] == "GSE2:p0"
    assert found.samples.loc["GSM6", "why_not"] == "=HYPERLINK(1)"
    assert not found.samples.loc["GSM6", "used"]


def test_after_quality_control_only_what_the_study_works_on_is_there(place: Place) -> None:
    found = place.gather("qc")
    # GSM5 is the only child, GSM6 is in no stratum; the last gene of each left.
    assert list(found.values.index) == ["GSM3", "GSM4", "GSM1", "GSM2"]
    assert list(found.values.columns) == ["A1BG", "TP53"]
    assert found.provenance["strata"] == ["adult"]


def test_one_cohort_and_one_stratum_can_be_chosen(place: Place) -> None:
    found = place.gather("expression", ["GSE2"], "pediatric")
    assert list(found.values.index) == ["GSM5"]
    # No gene of a cohort that is not exported.
    assert list(found.values.columns) == ["CD177", "TP53"]
    assert list(found.provenance["cohorts"]) == ["GSE2"]


def test_a_sample_that_two_series_share_comes_once(place: Place) -> None:
    shared = sheet(["GSM3", "GSM2"])
    place.cohort("GSE1", shared, table(["GSM3", "GSM2"], ["A1BG", "TP53"], 5))
    found = place.gather("expression")
    assert found.values.index.is_unique
    assert found.samples.loc["GSM3", "cohort"] == "GSE2"
    assert found.provenance["samples_left_out_as_already_there"] == {"GSE1": 1}


def test_provenance_names_files_hashes_and_how_values_were_read(place: Place) -> None:
    found = place.gather("qc").provenance
    cohort = found["cohorts"]["GSE1"]
    assert cohort["files"][0]["sha256"] == SHA
    assert cohort["scale"] == "log2"
    assert cohort["run"] == "run GSE1"
    assert found["simulated"] is False
    assert found["options_at_export"]["collapse"] == "median"
    json.dumps(found, allow_nan=False)


def test_anndata_reads_what_was_written(place: Place, tmp_path: Path) -> None:
    found = place.gather("expression")
    (output,) = write_export(found, tmp_path / "deep" / "study.h5ad")
    read = anndata.read_h5ad(output)
    np.testing.assert_array_equal(read.X, found.values.to_numpy())
    assert read.X.dtype == np.float32
    assert list(read.obs_names) == list(found.values.index)
    assert list(read.var_names) == list(found.values.columns)
    assert read.var["cohorts"].tolist() == found.genes["cohorts"].tolist()
    assert read.obs["case"].tolist() == found.samples["case"].tolist()
    assert isinstance(read.obs["label"].dtype, pd.CategoricalDtype)
    # A column that no sample fills is empty, not the word None.
    assert read.obs["timepoint"].isna().all()
    assert read.obs["sex"].isna().tolist() == found.samples["sex"].isna().tolist()
    kept = read.uns["genellm"]
    assert bool(kept["simulated"]) is False
    assert kept["study"] == "mine"
    assert kept["files"]["sha256"].tolist() == [SHA, SHA]
    assert kept["cohorts"].loc["GSE1", "scale"] == "log2"
    assert json.loads(kept["json"]) == found.provenance


def test_a_missing_class_stays_missing_in_every_format(place: Place, tmp_path: Path) -> None:
    found = place.gather("expression")
    found.samples["case"] = pd.array([1, pd.NA, 0, pd.NA, 1, 0], "Int8")
    for form in ("h5ad", "parquet", "csv"):
        output = write_export(found, tmp_path / f"study.{form}")[0]
        read = {
            "h5ad": lambda path: anndata.read_h5ad(path).obs,
            "parquet": pd.read_parquet,
            "csv": pd.read_csv,
        }[form](output)
        assert read["case"].isna().tolist() == [False, True, False, True, False, False]


def test_text_that_hdf5_would_cut_is_kept_whole(place: Place, tmp_path: Path) -> None:
    found = place.gather("expression")
    found.samples["label"] = ["sep\x00sis", "größer/kleiner", "=1", "", "a" * 5000, None]
    (output,) = write_export(found, tmp_path / "study.h5ad")
    read = anndata.read_h5ad(output).obs["label"]
    assert read.tolist()[:5] == ["sep sis", "größer/kleiner", "=1", "", "a" * 5000]
    assert pd.isna(read.iloc[5])


def test_parquet_has_the_sheet_in_front_and_provenance_in_its_schema(
    place: Place, tmp_path: Path
) -> None:
    found = place.gather("expression")
    (output,) = write_export(found, tmp_path / "study.parquet")
    read = pd.read_parquet(output)
    assert read.index.name == "gsm"
    assert tuple(read.columns[: len(OBS_COLUMNS)]) == OBS_COLUMNS
    np.testing.assert_array_equal(read[found.values.columns], found.values)
    assert read["timepoint"].isna().all()
    kept = pq.read_schema(output).metadata[b"provenance"]
    assert json.loads(kept) == found.provenance


def test_csv_reads_back_to_the_last_digit(place: Place, tmp_path: Path) -> None:
    found = place.gather("expression")
    output, beside = write_export(found, tmp_path / "study.csv")
    read = pd.read_csv(output, index_col="gsm", dtype=dict.fromkeys(found.values, np.float32))
    np.testing.assert_array_equal(read[found.values.columns], found.values)
    assert json.loads(beside.read_text())["study"] == "mine"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_of_a_csv_is_a_formula(place: Place, tmp_path: Path, start: str) -> None:
    found = place.gather("expression")
    found.samples["label"] = f"{start}cmd|' /C calc'!A0"
    found.samples.index = [f"{start}GSM{i}" for i in range(6)]
    found.samples.index.name = "gsm"
    found.values.columns = [f"{start}A1BG", "CD177", "TP53"]
    output, beside = write_export(found, tmp_path / "study.csv")
    text = output.read_bytes().decode()
    read = pd.read_csv(output, dtype=str, keep_default_na=False)
    texts = ["gsm", "label", "subject", "why_not"]
    assert not any(read[name].str.startswith(start).any() for name in texts)
    assert read["label"].iloc[0] == f"'{start}cmd|' /C calc'!A0"
    assert f"'{start}A1BG" in text.partition("CD177")[0]
    # Six labels, six samples, one gene; the reason of GSM6 begins with = in any case.
    assert json.loads(beside.read_text())["cells_with_an_apostrophe_in_front"] == 14


def test_a_gene_named_as_a_column_is_refused_where_the_two_would_be_one(
    place: Place, tmp_path: Path
) -> None:
    found = place.gather("expression")
    found.values.columns = ["case", "CD177", "TP53"]
    found.genes.index = found.values.columns
    for form in ("parquet", "csv"):
        with pytest.raises(StoreError, match="gene case has the name of a column"):
            write_export(found, tmp_path / f"study.{form}")
    (output,) = write_export(found, tmp_path / "study.h5ad")
    assert anndata.read_h5ad(output).var_names[0] == "case"


@pytest.mark.parametrize("form", ["h5ad", "parquet", "csv"])
def test_a_write_that_fails_leaves_what_was_there(
    place: Place, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = place.gather("expression")
    output = tmp_path / f"study.{form}"
    write_export(found, output)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("study*")}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    writer = {
        "h5ad": "anndata.AnnData.write_h5ad",
        "parquet": "pyarrow.parquet.write_table",
        "csv": "pyarrow.csv.write_csv",
    }[form]
    monkeypatch.setattr(writer, full)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\)"):
        write_export(found, output)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("study*")} == before
    assert not list(tmp_path.glob(".*"))


def test_profiles_come_with_what_they_were_learned_on(place: Place) -> None:
    parts = [
        pd.DataFrame({"fold": fold, "gsm": ["GSM3", "GSM1"], "cohort": ["GSE2", "GSE1"]})
        for fold in ("all", "GSE1")
    ]
    profiles = pd.concat(parts, ignore_index=True)
    profiles["TP53"] = np.array([1, 2, 3, 4], dtype=np.float32)
    write_parquet(place.study_folder / "profiles" / "adult.parquet", profiles)
    beside = {"learned": {"normalisation": {"a": 1}, "harmonisation": None}, "marks": ["a mark"]}
    write_json(place.study_folder / "profiles" / "adult.json", beside)
    found = place.gather("profiles", stratum="adult")
    assert found.values["TP53"].to_dict() == {"GSM3": 1.0, "GSM1": 2.0}
    assert found.provenance["learned_on_all_samples"] == ["normalisation"]
    assert found.provenance["transductive"] == ["a mark"]
    with pytest.raises(StudyError, match=r"--stratum \(pediatric, adult\)"):
        place.gather("profiles")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("qc", ["GSE404"]), "no cohort 'GSE404'; it has GSE2, GSE1"),
        (("qc", [], "newborn"), "no stratum 'newborn'; it has pediatric, adult"),
        (("qc", [], "pediatric"), "No cohort of GSE2, GSE1 enters the stratum 'pediatric'"),
        (("expression", ["GSE1"], "pediatric"), "No cohort of GSE1 has samples with values"),
        (("profiles", [], "adult"), "genellm run"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(
    place: Place, arguments: tuple[Any, ...], words: str
) -> None:
    with pytest.raises((StudyError, StoreError)) as caught:
        place.gather(*arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize("asset", ["sample_sheet", "gene_expression"])
def test_a_cohort_that_was_not_ingested_is_not_passed_over(place: Place, asset: str) -> None:
    (place.study_folder / asset / "GSE1.parquet").unlink()
    with pytest.raises(StoreError, match=r"GSE1.parquet is missing; run `genellm ingest"):
        place.gather("expression")
    assert list(place.gather("expression", ["GSE2"]).provenance["cohorts"]) == ["GSE2"]


def test_a_sheet_of_another_state_than_the_values_is_refused(place: Place) -> None:
    write_parquet(place.study_folder / "sample_sheet" / "GSE1.parquet", sheet(["GSM1"]))
    with pytest.raises(StoreError, match="does not hold GSM2"):
        place.gather("expression")


@pytest.mark.parametrize(
    ("name", "named", "words"),
    [
        ("study.xlsx", None, ".h5ad or .parquet or .csv"),
        ("study", "csv", "does not end in .csv"),
        ("study.h5ad", "csv", "does not end in .csv"),
    ],
)
def test_a_name_that_says_another_format_is_refused(name: str, named: Any, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        format_of(Path(name), named)


def test_scales_are_those_that_the_reports_record(place: Place) -> None:
    from genellm_dagster.store import Store

    store = Store(place.root, "mine")
    assert scales_of(store, ["GSE1", "GSE2"]) == {"GSE1": "log2", "GSE2": "log2"}
    write_json(place.study_folder / "gene_expression" / "GSE1.json", {"scale": None})
    with pytest.raises(StoreError, match="does not say how the table of GSE1 was made"):
        scales_of(store, ["GSE1"])


def test_the_command_writes_the_file_and_says_what_is_in_it(
    genellm: Callable[..., Any], place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENELLM_STORE", str(place.root))
    output = tmp_path / "out.parquet"
    asked = ("export", "--study", place.study_file, "--output", output)
    said = genellm(*asked, "--table", "expression", "--cohort", "GSE1", "--cohort", "GSE2")
    assert said.status == 0, said.err
    assert "6 samples x 3 genes of GSE2, GSE1" in said.out
    assert "Research use only" in said.out
    assert "SIMULATED" not in said.out
    assert len(pd.read_parquet(output)) == 6
    refused = genellm(*asked, "--format", "csv")
    assert refused.status == 1
    assert len(refused.sentences) == 1
    assert genellm(*asked, "--format", "loom").status == 2


def test_simulated_values_leave_marked_as_such(
    genellm: Callable[..., Any], place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENELLM_STORE", str(place.root))
    place.describe(DESCRIBED | {"simulated": True})
    output = tmp_path / "out.h5ad"
    said = genellm("export", "--study", place.study_file, "--output", output)
    assert said.out.startswith("SIMULATED: ")
    assert bool(anndata.read_h5ad(output).uns["genellm"]["simulated"])
