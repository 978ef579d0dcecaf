"""The search for series: E-utilities played by a server, and a folder that is walked."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.catalog import COLUMNS, search_series, search_term
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.studies.study import Study
from genellm_dagster_tests.geo.files_of_geo import (
    matrix_path,
    matrix_text,
    write_gzip,
    write_mirror,
)
from genellm_dagster_tests.geo.server import FakeGeo, Mood

SAMPLES = [{"accession": "GSM1", "title": "a"}, {"accession": "GSM2", "title": "b"}]
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
    polite = options(eutils=f"{geo.address}/eutils", page_size=100, email="me@x.org", api_key="k3y")
    with GeoClient(geo.address, polite) as client:
        found = search_series(client, STUDY)
    assert found.columns.tolist() == COLUMNS
    assert len(found) == 249
    assert found["accession"].tolist()[:3] == ["GSE1", "GSE2", "GSE3"]
    assert found["revision"].is_unique
    assert found.attrs["skipped"] == 1  # the platform
    assert found.drop(columns="revision").loc[1].to_dict() == {
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
        "tool": polite.tool,
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
        ' AND (("2024/01/01"[PDAT] : "3000"[PDAT]) OR ("2024/01/01"[UDAT] : "3000"[UDAT]))'
    )
    assert search_term(STUDY, date(2024, 1, 1), updates=False).endswith(
        'gse[ETYP] AND ("2024/01/01"[PDAT] : "3000"[PDAT])'
    )


def test_a_search_that_finds_nothing_is_an_empty_table(client: GeoClient, geo: FakeGeo) -> None:
    geo.serve_catalogue([])
    found = search_series(client, STUDY)
    assert found.empty
    assert found.columns.tolist() == COLUMNS


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"error": "API key invalid"}', "refuses the question .API key invalid"),
        (b'{"esearchresult": {"ERROR": "Empty term"}}', "refuses the question .Empty term"),
        (b'{"eutilsresult": {"ERROR": "Invalid db name"}}', "question .Invalid db name"),
        (b"[]", "refuses the question .it answers with a list"),
        (b'{"esearchresult": {"count": "many"}}', "cannot answer the search .* .no count"),
        (b'{"esearchresult": []}', "cannot answer the search .* .no count"),
        (
            b'{"esearchresult": {"count": "999999999999", "webenv": "x", "querykey": "1"}}',
            "finds 999,999,999,999 series; narrow",
        ),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_refusal_is_told_at_once_in_whichever_shape_it_comes(
    client: GeoClient, geo: FakeGeo, body: bytes, sentence: str, status: int
) -> None:
    geo.next("/eutils/esearch.fcgi", Mood(status, body=body))
    with pytest.raises(GeoError, match=sentence):
        search_series(client, STUDY)
    assert len(geo.asked("/eutils/esearch.fcgi")) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>sorry</html>",
        b'{"esearchresult": {"count": "1", "web',
        b"[" * 100_000,
        b'{"error": "Search Backend failed: read request has failed"}',
        b'{"esearchresult": {"ERROR": "Search Backend failed: Exception"}}',
        b'{"error": "API rate limit exceeded", "api-key": "x", "count": "4", "limit": "3"}',
    ],
)
def test_a_failure_inside_an_answer_is_asked_again(
    client: GeoClient, geo: FakeGeo, body: bytes
) -> None:
    geo.serve_catalogue([entry(1)])
    geo.next("/eutils/esearch.fcgi", Mood(body=body), Mood(body=body))
    geo.next("/eutils/esummary.fcgi", Mood(body=body))
    assert search_series(client, STUDY)["accession"].tolist() == ["GSE1"]
    assert len(geo.asked("/eutils/esearch.fcgi")) == 3


def test_answers_that_stay_no_json_are_told(client: GeoClient, geo: FakeGeo) -> None:
    geo.next("/eutils/esearch.fcgi", *[Mood(body=b"<html>sorry</html>")] * 4)
    with pytest.raises(GeoError, match=r"after 4 tries \(the answer is no JSON"):
        search_series(client, STUDY)


def test_pages_that_break_off_are_told(client: GeoClient, geo: FakeGeo) -> None:
    geo.serve_catalogue([entry(1)])
    geo.next("/eutils/esummary.fcgi", Mood(body=b'{"result": {"uids": []}}'))
    with pytest.raises(GeoError, match="breaks off after 0 of 1"):
        search_series(client, STUDY)


def test_two_thousand_series_come_in_pages(client: GeoClient, geo: FakeGeo) -> None:
    geo.serve_catalogue([entry(number) for number in range(1, 2_001)])
    found = search_series(client, STUDY)
    assert found["accession"].tolist() == [f"GSE{number}" for number in range(1, 2_001)]
    assert found.attrs == {"skipped": 0, "notes": [], "complete": True}
    starts = [int(page.form["retstart"]) for page in geo.asked("/eutils/esummary.fcgi")]
    assert starts == list(range(0, 2_000, 200))


def test_pages_too_large_for_ncbi_are_asked_for_in_smaller_ones(
    geo: FakeGeo, options: Callable[..., GeoOptions]
) -> None:
    many = [{"accession": f"GSM{n}", "title": f"sample {n}"} for n in range(200)]
    series = [entry(n, samples=many if n in (30, 31, 60) else []) for n in range(1, 101)]
    series[9]["summary"] = "word " * 10_000  # larger by itself than what NCBI can give
    geo.serve_catalogue(series)
    geo.summary_bytes = 30_000
    large = options(eutils=f"{geo.address}/eutils", page_size=500)
    found = search_series(GeoClient(geo.address, large), STUDY)
    assert found["accession"].tolist() == [f"GSE{n}" for n in range(1, 101) if n != 10]
    assert found.attrs["skipped"] == 1
    assert not found.attrs["complete"]
    assert "1 entries of NCBI's answer could not be understood" in found.attrs["notes"]


def test_a_search_that_ncbi_forgot_is_made_again(client: GeoClient, geo: FakeGeo) -> None:
    geo.serve_catalogue([entry(number) for number in range(1, 301)])
    lost = Mood(body=b'{"error": "Unable to obtain query #1"}')
    geo.next("/eutils/esummary.fcgi", Mood(), lost)
    assert len(search_series(client, STUDY)) == 300
    assert len(geo.asked("/eutils/esearch.fcgi")) == 2


def test_the_date_of_updates_finds_revised_series(client: GeoClient, geo: FakeGeo) -> None:
    series = [
        entry(1, pdat="2011/01/01", udat="2011/01/02"),
        entry(2, pdat="2011/01/01", udat="2024/05/01"),
        entry(3, pdat="2024/04/01", udat="2024/04/01"),
    ]
    geo.serve_catalogue(series)
    found = search_series(client, STUDY, date(2024, 1, 1))
    assert found["accession"].tolist() == ["GSE2", "GSE3"]
    geo.serve_catalogue(series, knows_update_dates=False)
    found = search_series(client, STUDY, date(2024, 1, 1))
    assert found["accession"].tolist() == ["GSE3"]
    assert "does not search by the date of updates" in found.attrs["notes"][0]


@pytest.mark.parametrize(
    ("change", "revised"),
    [
        ({"title": "Another title"}, True),
        ({"n_samples": 8}, True),
        ({"gpl": "570"}, True),
        ({"gdstype": "Other"}, True),
        ({"pdat": "2024/02/04"}, True),
        ({"suppfile": "TXT, XLSX"}, True),
        ({"samples": [{"accession": "GSM2", "title": "b"}]}, True),
        ({"samples": [{"accession": "GSM1", "title": "b"}, {"accession": "GSM2"}]}, True),
        ({"samples": SAMPLES[::-1], "gpl": "570;96", "suppfile": "CEL,TXT"}, False),
        ({"pubmedids": ["1"], "summary": "Cited by now"}, False),
    ],
)
def test_a_series_that_changes_between_two_polls_has_another_revision(
    client: GeoClient, geo: FakeGeo, change: dict[str, Any], revised: bool
) -> None:
    first, others = entry(7, samples=SAMPLES, suppfile="TXT, CEL"), [entry(8), entry(9)]
    geo.serve_catalogue([first, *others])
    before = search_series(client, STUDY).set_index("accession")["revision"]
    geo.serve_catalogue([*others, {**first, **change}])
    after = search_series(client, STUDY).set_index("accession")["revision"]
    assert (before["GSE7"] != after["GSE7"]) == revised
    assert before.drop("GSE7").equals(after.drop("GSE7"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = ("accession", "title", "gdstype", "n_samples", "gpl", "pdat", "suppfile", "samples")


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    strange=st.lists(
        JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), max_size=4
    )
)
def test_whatever_an_entry_holds_the_good_ones_are_found(
    client: GeoClient, geo: FakeGeo, strange: list[Any]
) -> None:
    odd = {"accession": "GSE5", **(strange[0] if strange and isinstance(strange[0], dict) else {})}
    geo.serve_catalogue([*strange, entry(1), odd, entry(2)])
    found = search_series(client, STUDY)
    good = found[found["accession"].isin(["GSE1", "GSE2"])]
    assert good["samples"].tolist() == [1, 2]
    assert found.attrs["skipped"] + len(found) >= 2
    assert found["revision"].str.fullmatch("[0-9a-f]{64}").all()


@pytest.mark.parametrize(
    "fields",
    [
        {"n_samples": "9" * 30},
        {"n_samples": -4},
        {"n_samples": True},
        {"gpl": "570;../x;abc"},
        {"pdat": "soon"},
        {"title": ["a", "b"]},
        {"title": "half a \ud83d sign"},
        {"title": "two\nlines\x00 of " + "x" * 5_000},
    ],
)
def test_what_a_field_cannot_be_is_left_out(
    client: GeoClient, geo: FakeGeo, fields: dict[str, Any]
) -> None:
    geo.serve_catalogue([entry(4, **fields)])
    found = search_series(client, STUDY)
    pa.Table.from_pandas(found)  # it can be kept
    row = found.loc[0].to_dict()
    assert row["accession"] == "GSE4"
    assert row["platforms"] == ("GPL570" if "gpl" in fields else "GPL570;GPL96")
    assert pd.isna(row["samples"]) == ("n_samples" in fields)
    assert (row["published"] is None) == ("pdat" in fields)
    assert row["title"] is None or (len(row["title"]) <= 1_000 and "\n" not in row["title"])


def test_the_key_stays_secret_when_ncbi_repeats_it(
    geo: FakeGeo, options: Callable[..., GeoOptions]
) -> None:
    geo.next("/eutils/esearch.fcgi", Mood(400, body=b'{"error":"API key k3yk3y not wellformed"}'))
    with_key = options(
        eutils=f"{geo.address.replace('//', '//me:pa55word@')}/eutils", api_key="k3yk3y"
    )
    with pytest.raises(GeoError, match=r"API key \*\*\* not wellformed") as refusal:
        search_series(GeoClient(geo.address, with_key), STUDY)
    assert "pa55word" not in str(refusal.value)


def test_a_redirect_never_carries_the_form_elsewhere(client: GeoClient, geo: FakeGeo) -> None:
    geo.next("/eutils/esearch.fcgi", Mood(307, {"Location": f"{geo.address}/elsewhere"}))
    with pytest.raises(GeoError, match="HTTP 307"):
        search_series(client, STUDY)
    assert not geo.asked("/elsewhere")


def test_too_long_an_answer_is_refused(geo: FakeGeo, options: Callable[..., GeoOptions]) -> None:
    geo.next("/eutils/esearch.fcgi", Mood(body=b" " * 5_000))
    bounded = options(eutils=f"{geo.address}/eutils", max_answer_bytes=1_000)
    with pytest.raises(GeoError, match="more than 1,000 bytes"):
        search_series(GeoClient(geo.address, bounded), STUDY)


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
    assert found.drop(columns="revision").loc["GSE123"].to_dict() == {
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


def test_a_file_that_arrives_or_changes_gives_a_walked_series_another_revision(
    mirror: Path, options: Callable[..., GeoOptions]
) -> None:
    client = GeoClient(str(mirror), options())
    write_mirror(mirror, {matrix_path(): matrix_text(), matrix_path("GSE77"): b"broken"})

    def revisions() -> dict[str, str]:
        found = search_series(client, STUDY)
        return dict(zip(found["accession"], found["revision"], strict=True))

    first = revisions()
    assert revisions() == first
    write_gzip(mirror / "series/GSEnnn/GSE123/suppl/GSE123_counts.tsv.gz", "x")
    second = revisions()
    assert second["GSE123"] != first["GSE123"]
    assert second["GSE77"] == first["GSE77"]
    os.utime(mirror / matrix_path("GSE77"), (1e9, 1e9))
    assert revisions()["GSE77"] != first["GSE77"]


def test_what_arrived_in_a_mirror_since_a_day_is_found_whenever_it_was_published(
    mirror: Path, options: Callable[..., GeoOptions]
) -> None:
    client = GeoClient(str(mirror), options())
    write_mirror(
        mirror, {matrix_path(name): matrix_text(accession=name) for name in ("GSE1", "GSE2")}
    )
    os.utime(mirror / matrix_path("GSE1"), (1.5e9, 1.5e9))  # in 2017; it was updated in 2019

    def found(year: int) -> list[str]:
        return search_series(client, STUDY, date(year, 1, 1))["accession"].tolist()

    assert found(2018) == ["GSE1", "GSE2"]
    assert found(2020) == ["GSE2"]
    assert found(2999) == []


def test_a_file_where_a_folder_of_series_should_be_hides_no_series(
    mirror: Path, options: Callable[..., GeoOptions]
) -> None:
    write_mirror(mirror, {matrix_path(): matrix_text()})
    (mirror / "series" / "GSE1nnn").write_text("no folder")
    found = search_series(GeoClient(str(mirror), options()), STUDY)
    assert found["accession"].tolist() == ["GSE123"]
    assert "series/GSE1nnn was left out" in found.attrs["notes"][0]
    assert not found.attrs["complete"]
