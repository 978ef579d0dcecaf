"""Ids, values, platforms and overlaps are proposed from what the files' beginnings show."""

from __future__ import annotations

from typing import Any

import pytest

from genellm_dagster_tests.studies.series_makers import Group
from genellm_dagster_tests.studies.test_proposal import made, sick_and_well


@pytest.mark.parametrize(
    ("ids", "share", "kind"),
    [
        (("1007_s_at", "1053_at", "AFFX-BioB-5_at"), 0.0, "probe"),
        (("ILMN_1343291", "ILMN_1651209"), 0.0, "probe"),
        (("A_23_P100001", "A_33_P3"), 0.0, "probe"),
        (("TC0100006432.hg.1", "TC0100006433.hg.1"), 0.0, "probe"),
        (("2315554", "2315633", "7892501", "7892502", "7892503", "7892504"), 0.0, "probe"),
        (("ENSG00000000003.15", "ENSG00000000005", "ENSG00000000419.12"), 0.0, "ensembl"),
        (("1", "2", "9", "10", "12", "100287102", "653635"), 0.0, "entrez"),
        (("A1BG", "TP53", "IL8"), 0.9, "symbol"),
        (("A1BG", "TP53", "IL8"), None, "symbol"),
    ],
)
def test_the_kind_of_ids_is_found(ids: tuple[str, ...], share: float | None, kind: str) -> None:
    proposal = made(*sick_and_well(), ids=ids, approved_share=share)
    assert proposal.cohort.id_type == kind and "id_type" not in proposal.abstained


@pytest.mark.parametrize("ids", [(), ("foo bar", "b.a.z"), ("50000", "900000", "70000", "81000")])
def test_ids_that_tell_nothing_are_said_to(ids: tuple[str, ...]) -> None:
    assert "id_type" in made(*sick_and_well(), ids=ids, approved_share=0.0).abstained


@pytest.mark.parametrize(
    ("more", "source", "files"),
    [
        ({"has_values": True, "has_ncbi_counts": True}, "auto", ()),
        ({"has_values": False, "has_ncbi_counts": True}, "ncbi_counts", ()),
        (
            {
                "has_values": False,
                "has_ncbi_counts": False,
                "supplementary": (
                    "GSE900_RAW.tar",
                    "filelist.txt",
                    "GSE900_clinical_metadata.xlsx",
                    "GSE900_norm_counts.csv.gz",
                ),
            },
            "supplementary",
            ("GSE900_norm_counts.csv.gz",),
        ),
    ],
)
def test_values_come_from_where_there_are_some(
    more: dict[str, Any], source: str, files: tuple[str, ...]
) -> None:
    values = made(*sick_and_well(), **more).cohort.values
    assert (values.source, values.files) == (source, files)


def test_a_series_without_any_values_is_said_to_have_none() -> None:
    proposal = made(*sick_and_well(), has_values=False, supplementary=("GSE900_RAW.tar",))
    assert "values" in proposal.abstained
    assert "no table of the submitter" in proposal.to_yaml().replace("\n#  ", "")


def test_overlaps_come_from_relations_and_sentences_that_say_so() -> None:
    proposal = made(
        *sick_and_well(),
        relations=("Reanalysis of: GSE110487", "BioProject: PRJNA1", "SubSeries of: GSE901"),
        summary="A subset of the patients of GSE4607. Methods as in GSE777. This is GSE900.",
    )
    assert proposal.cohort.overlaps == ("GSE110487", "GSE901", "GSE4607")
    assert any("GSE777" in warning for warning in proposal.warnings)


def test_samples_of_several_platforms_are_told() -> None:
    groups = (
        Group(3, "sepsis", {"disease state": "sepsis", "platform": "GPL570"}),
        Group(2, "healthy", {"disease state": "healthy", "platform": "GPL96"}),
    )
    proposal = made(*groups, platform="")
    assert proposal.cohort.platform == "GPL570"
    assert "several platforms" in proposal.abstained["platform"]
