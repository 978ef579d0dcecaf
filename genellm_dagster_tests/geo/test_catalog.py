"""The search for series: E-utilities played by a server, and a folder that is walked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.catalog import COLUMNS, search_series, search_term
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.studies.study import Study
from genellm_dagster_tests.geo.files_of_geo import matrix_path, matrix_text, write_mirror
from genellm_dagster_tests.geo.server import FakeGeo, Mood

STUDY = Study.model_construct(name="sepsis", search='sepsis[All Fields] AND "whole blood"')


def entry(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "accession": f"GSE{number}",
        "title": f"Series {number}",
        "gdstype": "Expression profiling by array",
        "n_samples": number,
        "gpl": "570;96",
        "pdat": "2024/02/03",
        **fields,
    }


def test_the_search_is_paged_and_told_as_a_table(
    geo: FakeGeo, options: Callable[..., GeoOptions]
) -> None:
    series = [entry(number) for number in range(250, 0, -1)]
    series[3] = {"accession": "GPL5", "title": "no series"}
    geo.serve_catalogue(series)
    settings = options(
        eutils=f"{geo.address}/eutils", page_size=100, email="me@x.org", api_key="k3y"
    )
    with GeoClient(geo.address, settings) as client:
        found = search_series(client, STUDY)
    assert found.columns.tolist() == COLUMNS
    assert len(found) == 249
    assert found["accession"].tolist()[:3] == ["GSE1", "GSE2", "GSE3"]
    assert found.loc[1].to_dict() == {
        "accession": "GSE2",
        "title": "Series 2",
        "type": "Expression profiling by array",
        "samples": 2,
        "platforms": "GPL570;GPL96",
        "published": "2024-02-03",
        "updated": None,
        "status": "found",
    }
    search = geo.asked("/eutils/esearch.fcgi")[0]
    assert search.method == "POST"
    assert search.query == {}
    assert search.form == {
        "db": "gds",
        "retmode": "json",
        "retmax": "0",
        "usehistory": "y",
        "term": search_term(STUDY),
        "tool": settings.tool,
        "email": "me@x.org",
        "api_key": "k3y",
    }
    assert [page.form["retstart"] for page in geo.asked("/eutils/esummary.fcgi")] == [
        "0",
        "100",
        "200",
    ]


def test_the_term_asks_for_human_series_since_a_day() -> None:
    assert search_term(STUDY, date(2024, 1, 1)) == (
        '(sepsis[All Fields] AND "whole blood") AND "Homo sapiens"[Organism] AND gse[ETYP]'
        ' AND ("2024/01/01"[PDAT] : "3000"[PDAT])'
    )


def test_a_search_that_finds_nothing_is_an_empty_table(client: GeoClient, geo: FakeGeo) -> None:
    geo.serve_catalogue([])
    found = search_series(client, STUDY)
    assert found.empty
    assert found.columns.tolist() == COLUMNS


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<html>sorry</html>", "something else than JSON"),
        (b'{"error": "API key invalid"}', "refuses the question .API key invalid"),
        (b'{"esearchresult": {"ERROR": "Empty term"}}', "cannot answer .* .Empty term"),
        (b"[]", "refuses the question"),
    ],
)
def test_an_answer_that_is_none_is_told(
    client: GeoClient, geo: FakeGeo, body: bytes, sentence: str
) -> None:
    geo.next("/eutils/esearch.fcgi", Mood(body=body))
    with pytest.raises(GeoError, match=sentence):
        search_series(client, STUDY)


def test_pages_that_break_off_are_told(client: GeoClient, geo: FakeGeo) -> None:
    geo.serve_catalogue([entry(1)])
    geo.next("/eutils/esummary.fcgi", Mood(body=b'{"result": {"uids": []}}'))
    with pytest.raises(GeoError, match="breaks off after 0 of 1"):
        search_series(client, STUDY)


def test_a_redirect_never_carries_the_form_elsewhere(client: GeoClient, geo: FakeGeo) -> None:
    geo.next("/eutils/esearch.fcgi", Mood(307, {"Location": f"{geo.address}/elsewhere"}))
    with pytest.raises(GeoError, match="HTTP 307"):
        search_series(client, STUDY)
    assert not geo.asked("/elsewhere")


def test_too_long_an_answer_is_refused(geo: FakeGeo, options: Callable[..., GeoOptions]) -> None:
    geo.next("/eutils/esearch.fcgi", Mood(body=b" " * 5_000))
    settings = options(eutils=f"{geo.address}/eutils", max_answer_bytes=1_000)
    with pytest.raises(GeoError, match="more than 1,000 bytes"):
        search_series(GeoClient(geo.address, settings), STUDY)


def test_a_study_without_search_is_told(client: GeoClient) -> None:
    with pytest.raises(GeoError, match="has no search"):
        search_series(client, Study.model_construct(name="x", search=" "))


def test_a_folder_is_walked_and_broken_series_are_named(
    mirror: Path, options: Callable[..., GeoOptions]
) -> None:
    two = {
        matrix_path("GSE2345", platform): matrix_text(
            accession="GSE2345", platform=platform, gsms=[gsm], characteristics=[], rows=[]
        )
        for platform, gsm in (("GPL570", "GSM1"), ("GPL96", "GSM2"))
    }
    write_mirror(mirror, {matrix_path(): matrix_text(), **two})
    broken = mirror / matrix_path("GSE77")
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"<html>")
    (mirror / "series" / "GSEnnn" / "GSE88").mkdir()
    (mirror / "series" / "notes").mkdir()
    found = search_series(GeoClient(str(mirror), options()), STUDY).set_index("accession")
    assert found.index.tolist() == ["GSE77", "GSE88", "GSE123", "GSE2345"]
    assert found.loc["GSE77", "status"].startswith("unreadable: ")
    assert "web page" in found.loc["GSE77", "status"]
    assert found.loc["GSE88", "status"].startswith("unreadable: ")
    assert found.loc["GSE123"].to_dict() == {
        "title": "Sepsis in children",
        "type": "Expression profiling by array",
        "samples": 3,
        "platforms": "GPL570",
        "published": "2011-01-02",
        "updated": "2019-03-25",
        "status": "found",
    }
    assert found.loc["GSE2345", "samples"] == 2
    assert found.loc["GSE2345", "platforms"] == "GPL570;GPL96"
