"""Searching GEO again and again: what is new, what was revised, what is proposed by itself."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
import yaml

from genellm_dagster.errors import GeoError, StudyError
from genellm_dagster.files import write_parquet, write_text
from genellm_dagster.geo.series import fetch_series
from genellm_dagster.settings import study_of
from genellm_dagster.studies.loading import load_cohort
from genellm_dagster.studies.options import DiscoveryOptions
from genellm_dagster.workflows.catalog import read_catalog, update_statuses
from genellm_dagster.workflows.discovery import Discovery, discover, search_since
from genellm_dagster.workflows.done import read_changes
from genellm_dagster.workflows.news import study_news
from genellm_dagster.workflows.proposals import proposal_of, propose_series, read_proposals
from genellm_dagster_tests.geo.files_of_geo import matrix_path
from genellm_dagster_tests.geo.server import Mood
from genellm_dagster_tests.workflows.discovering import Place

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


def search(place: Place, now: datetime = NOW, **options: Any) -> Discovery:
    """Search as the asset does, the catalogue written at the end."""
    settings = place.settings(**options)
    with place.client() as client:
        found = discover(client, settings, study_of(settings), now)
    write_parquet(place.store.place("geo_catalog.parquet"), found.catalog)
    return found


def row(found: Discovery, accession: str) -> dict[str, Any]:
    return found.catalog.set_index("accession").loc[accession].to_dict()


def terms(place: Place) -> list[str]:
    return [request.form["term"] for request in place.geo.asked("/eutils/esearch.fcgi")]


def test_first_search_finds_all_and_proposes_what_is_not_the_studys(place: Place) -> None:
    place.publish("GSE2000")
    found = search(place)
    assert (found.new, found.revised) == (["GSE1000", "GSE2000"], [])
    assert (found.proposed, found.approved) == (["GSE2000"], [])
    assert row(found, "GSE1000")["status"] == "approved"
    assert row(found, "GSE2000")["status"] == "proposed"
    assert row(found, "GSE2000")["first_seen"] == "2025-03-01T12:00:00+00:00"
    cohort = place.store.place("cohort_proposals", "GSE2000.yaml")
    assert yaml.safe_load(cohort.read_text())["accession"] == "GSE2000"
    said = json.loads(cohort.with_suffix(".json").read_text())
    assert said["samples"]["GSM200000"] == "sepsis"
    assert said["samples"]["GSM200003"] == "healthy"
    assert said["labels"] == {"sepsis": 2, "healthy": 2}
    assert said["would_use"] == {"adult": {"cases": 2, "controls": 2}}
    assert said["evidence"] and 0 < said["confidence"] <= 1
    assert row(found, "GSE2000")["confidence"] == said["confidence"]


def test_second_search_asks_from_the_last_one_less_the_overlap(place: Place) -> None:
    search(place)
    place.publish("GSE2000", pdat="2025/02/27")
    later = search(place, NOW + timedelta(days=2))
    assert later.since == date(2025, 1, 30)
    assert '"2025/01/30"[PDAT]' in terms(place)[-1]
    assert later.new == ["GSE2000"]
    # What an old date hides stays as it was known.
    assert set(later.catalog["accession"]) == {"GSE1000", "GSE2000"}
    assert row(later, "GSE1000")["checked_at"] == "2025-03-01T12:00:00+00:00"
    whole = search(place, NOW + timedelta(days=8))
    assert whole.since is None
    assert row(whole, "GSE1000")["checked_at"].startswith("2025-03-09")


def test_another_question_is_asked_as_a_whole(place: Place) -> None:
    search(place)
    text = place.study_file.read_text()
    place.study_file.write_text(text.replace("search: sepsis", "search: septic"))
    assert search(place, NOW + timedelta(hours=6)).since is None


def test_series_that_does_not_change_is_neither_revised_nor_proposed_again(place: Place) -> None:
    place.publish("GSE2000")
    search(place)
    written = proposal_of(place.store, "GSE2000").file.stat().st_mtime_ns
    for days in (1, 8, 16):
        again = search(place, NOW + timedelta(days=days))
        assert (again.new, again.revised, again.proposed) == ([], [], [])
        assert row(again, "GSE2000")["revised_at"] is None
    assert proposal_of(place.store, "GSE2000").file.stat().st_mtime_ns == written


def test_revised_series_is_noticed_and_proposed_anew(place: Place) -> None:
    place.publish("GSE2000")
    search(place)
    place.publish("GSE2000", states=("Sepsis", "Healthy control", "Healthy control"))
    revised = search(place, NOW + timedelta(days=8))
    assert (revised.revised, revised.proposed) == (["GSE2000"], ["GSE2000"])
    assert row(revised, "GSE2000")["revised_at"] == "2025-03-09T12:00:00+00:00"
    assert proposal_of(place.store, "GSE2000").content["labels"] == {"sepsis": 1, "healthy": 2}
    assert row(revised, "GSE2000")["first_seen"] == "2025-03-01T12:00:00+00:00"


def test_proposal_that_a_person_corrected_is_kept(place: Place) -> None:
    place.publish("GSE2000")
    search(place)
    file = proposal_of(place.store, "GSE2000").file
    mine = file.read_text() + "# as I read it\n"
    file.write_text(mine)
    place.publish("GSE2000", states=("Sepsis", "Healthy control", "Healthy control"))
    assert search(place, NOW + timedelta(days=8)).proposed == []
    assert file.read_text() == mine
    with place.client() as client, pytest.raises(StudyError, match="was corrected by hand"):
        propose_series(client, place.study(), place.store, "GSE2000")


def test_at_most_so_many_are_proposed_in_one_search_newest_first(place: Place) -> None:
    for number in range(4):
        place.publish(f"GSE200{number}", pdat=f"2024/0{number + 1}/01")
    assert search(place, proposals_per_search=0).proposed == []
    assert search(place, NOW + timedelta(hours=1), proposals_per_search=3).proposed == [
        "GSE2003", "GSE2002", "GSE2001",
    ]  # fmt: skip
    assert search(place, NOW + timedelta(hours=2), proposals_per_search=3).proposed == ["GSE2000"]


def test_series_that_cannot_be_proposed_is_noted_and_stops_no_other(place: Place) -> None:
    place.publish("GSE2000", pdat="2024/01/01")
    place.publish("GSE2001", pdat="2024/02/01")
    (place.geo.root / matrix_path("GSE2001")).write_bytes(b"<html>Sorry</html>")
    found = search(place)
    assert found.proposed == ["GSE2000"]
    assert row(found, "GSE2001")["status"] == "found"
    assert row(found, "GSE2001")["note"].startswith("not proposed: ")
    asked = len(place.geo.asked(f"/{matrix_path('GSE2001')}"))
    again = search(place, NOW + timedelta(days=8))
    assert row(again, "GSE2001")["note"] == row(found, "GSE2001")["note"]
    assert len(place.geo.asked(f"/{matrix_path('GSE2001')}")) == asked
    place.publish("GSE2001", n_samples=5)
    mended = search(place, NOW + timedelta(days=16))
    assert mended.proposed == ["GSE2001"]
    assert row(mended, "GSE2001")["note"] is None


def test_other_kinds_of_series_are_listed_and_not_proposed(place: Place) -> None:
    place.publish("GSE2000", gdstype="Methylation profiling by array")
    found = search(place)
    assert (row(found, "GSE2000")["status"], found.proposed) == ("found", [])


def test_series_that_left_the_search_stays_with_a_note(place: Place) -> None:
    place.publish("GSE2000", gdstype="Other")
    search(place)
    place.withdraw("GSE2000")
    gone = search(place, NOW + timedelta(days=8))
    assert "the search finds it no longer" in row(gone, "GSE2000")["note"]
    assert study_news(place.settings(), place.study()).table.empty is False
    assert "GSE2000" not in set(study_news(place.settings(), place.study()).table["accession"])
    place.publish("GSE2000", gdstype="Other")
    assert row(search(place, NOW + timedelta(days=16)), "GSE2000")["note"] is None


def test_nothing_enters_a_study_unreviewed_unless_it_says_so(place: Place) -> None:
    before = place.study_file.read_text()
    place.publish("GSE2000")
    found = search(place)
    assert found.approved == []
    assert place.study_file.read_text() == before
    assert not (place.folder / "data" / "cohorts" / "GSE2000.yaml").exists()


def test_sure_proposal_enters_a_study_that_says_so_and_it_is_on_record(
    place: Place,
) -> None:
    place.say(auto_approve_above=0.5)
    place.publish("GSE2000")
    place.publish("GSE2001", states=("apple", "pear", "plum", "fig"))
    # Cases alone: sure or not, no stratum could use it.
    place.publish("GSE2002", states=("Sepsis", "Sepsis", "Sepsis"))
    found = search(place)
    assert found.approved == ["GSE2000"]
    assert {"GSE2001", "GSE2002"} >= set(read_proposals(place.store))
    assert proposal_of(place.store, "GSE2002").adds_both_classes is False
    study = place.study()
    assert study.cohorts == ["GSE1000", "GSE2000"]
    cohort = load_cohort("GSE2000", data_dir=place.folder / "data")
    assert any("Approved without a review" in source for source in cohort.sources)
    assert not cohort.verified
    assert row(found, "GSE2000")["status"] == "approved"
    assert "approved without review: confidence" in row(found, "GSE2000")["note"]
    assert "GSE2000" not in read_proposals(place.store)
    assert "# the one we began with" in place.study_file.read_text()
    later = search(place, NOW + timedelta(days=8))
    assert "approved without review" in row(later, "GSE2000")["note"]


def test_unsure_proposal_waits_for_a_person(place: Place) -> None:
    place.say(auto_approve_above=1.0)
    place.publish("GSE2000")
    found = search(place)
    assert proposal_of(place.store, "GSE2000").confidence < 1
    assert (found.approved, found.proposed) == ([], ["GSE2000"])


def test_changed_files_of_a_cohort_are_noticed_whatever_the_search_tells(place: Place) -> None:
    with place.client() as client:
        cohort = place.study().cohort("GSE1000")
        fetch_series(client, cohort, place.store.place("raw_series", "GSE1000"))
    facts = place.series["GSE1000"]
    assert search(place).changed == []
    assert read_changes(place.store) == {}
    place.publish("GSE1000", states=("Sepsis", "Sepsis", "Healthy", "Healthy"))
    place.series["GSE1000"] = facts
    place.geo.serve_catalogue(list(place.series.values()))
    found = search(place, NOW + timedelta(hours=6))
    assert (found.changed, found.revised) == (["GSE1000"], [])
    (change,) = read_changes(place.store).values()
    search(place, NOW + timedelta(hours=12))
    assert read_changes(place.store)["GSE1000"].token == change.token


def test_statuses_follow_what_people_and_runs_did(place: Place) -> None:
    place.publish("GSE2000")
    place.publish("GSE2001", gdstype="Other")
    search(place)

    def statuses() -> dict[str, str]:
        update_statuses(place.store, place.study())
        catalog = read_catalog(place.store)
        assert catalog is not None
        return dict(zip(catalog["accession"], catalog["status"], strict=True))

    assert statuses() == {"GSE1000": "approved", "GSE2000": "proposed", "GSE2001": "found"}
    for asset in ("sample_sheet", "gene_expression"):
        write_text(place.store.place(asset, "GSE1000.parquet"), "")
    place.say(rejected={"GSE2001": "not blood", "GSE2000": "mice"})
    assert statuses() == {"GSE1000": "ingested", "GSE2000": "rejected", "GSE2001": "rejected"}


def test_news_say_what_to_do_next(place: Place) -> None:
    place.publish("GSE2000", pdat="2024/01/01")
    place.publish("GSE2001", pdat="2024/02/01", gdstype="Other")
    place.publish("GSE2002", pdat="2024/03/01")
    (place.geo.root / matrix_path("GSE2002")).unlink()
    place.say(rejected={"GSE2003": "mice"})
    place.publish("GSE2003")
    search(place)
    news = study_news(place.settings(), place.study())
    told = {row["accession"]: (row["news"], row["next"]) for row in news.table.to_dict("records")}
    assert told == {
        "GSE1000": ("approved", "genellm refresh"),
        "GSE2000": ("proposed", "genellm cohort approve GSE2000"),
        "GSE2002": ("found", "genellm cohort inspect GSE2002"),
        "GSE2001": ("found", "genellm cohort propose GSE2001"),
    }
    rows = json.loads(news.to_json())
    assert {row["accession"] for row in rows} == set(place.series)
    assert [row["next"] for row in rows if row["accession"] == "GSE2003"] == [None]
    assert news.lines() == ["5 series for mine: 2 found, 1 approved, 1 proposed, 1 rejected"]


def test_search_that_cannot_be_asked_leaves_the_catalogue(place: Place) -> None:
    search(place)
    before = read_catalog(place.store)
    place.geo.next("/eutils/esearch.fcgi", *[Mood(503)] * 9)
    with pytest.raises(GeoError):
        search(place, NOW + timedelta(hours=6))
    assert before is not None
    pd.testing.assert_frame_equal(before, read_catalog(place.store))


def test_folder_is_walked_as_a_whole_each_time(place: Place) -> None:
    settings, study = place.settings(), place.study()
    place.publish("GSE2000")
    for days in (0, 1):
        with place.client(str(place.geo.root)) as client:
            found = discover(client, settings, study, NOW + timedelta(days=days))
        write_parquet(place.store.place("geo_catalog.parquet"), found.catalog)
        assert found.since is None
        assert set(found.catalog["accession"]) == {"GSE1000", "GSE2000"}
    (place.geo.root / matrix_path("GSE2000")).write_bytes(b"<html>")
    with place.client(str(place.geo.root)) as client:
        broken = discover(client, settings, study, NOW + timedelta(days=2))
    entry = row(broken, "GSE2000")
    assert entry["title"] == "Whole blood of adults with sepsis, GSE2000"
    assert entry["note"].startswith("unreadable: ")
    assert entry["status"] == "proposed"


def test_catalogue_of_an_earlier_version_is_taken_on(place: Place) -> None:
    old = pd.DataFrame(
        {
            "accession": ["GSE7", "GSE1000"], "title": ["old", "old"], "type": None, "samples": 3,
            "platforms": None, "published": None, "updated": None, "status": "found",
        }
    )  # fmt: skip
    write_parquet(place.store.place("geo_catalog.parquet"), old)
    found = search(place)
    assert (found.new, found.revised) == ([], [])
    assert row(found, "GSE7")["title"] == "old"
    assert row(found, "GSE1000")["revision"]


@pytest.mark.parametrize("content", ["no json", "[]", '{"term": 1}'])
def test_search_without_a_memory_asks_for_everything(place: Place, content: str) -> None:
    search(place)
    write_text(place.store.place("geo_catalog", "search.json"), content)
    assert search(place, NOW + timedelta(hours=6)).since is None


@pytest.mark.parametrize(
    ("whole_at", "checked", "expected"),
    [
        (None, ["2025-02-28T12:00:00+00:00"], None),
        ("2025-02-21T12:00:00+00:00", ["2025-02-28T12:00:00+00:00"], None),
        ("2025-02-27T12:00:00+00:00", [], None),
        ("2025-02-27T12:00:00+00:00", [None], None),
        ("2025-02-27T12:00:00+00:00", ["2025-02-27T00:00:00+00:00", "2025-02-28T12:00:00+00:00"],
         date(2025, 1, 29)),
    ],
)  # fmt: skip
def test_first_day_to_ask_for(
    whole_at: str | None, checked: list[str | None], expected: date | None
) -> None:
    previous = pd.DataFrame({"checked_at": pd.Series(checked, dtype=object)})
    assert search_since(previous, whole_at, DiscoveryOptions(), NOW) == expected


def test_several_platforms_are_proposed_and_approved_one_by_one(place: Place) -> None:
    place.publish("GSE2000")
    folder = (place.geo.root / matrix_path("GSE2000")).parent
    whole = folder / "GSE2000_series_matrix.txt.gz"
    place.publish("GSE2000", platform="GPL96")
    other = whole.read_bytes()
    place.publish("GSE2000")
    (folder / "GSE2000-GPL570_series_matrix.txt.gz").write_bytes(whole.read_bytes())
    (folder / "GSE2000-GPL96_series_matrix.txt.gz").write_bytes(other)
    (folder / "GSE2000-GPL97_series_matrix.txt.gz").write_bytes(b"\x1f\x8bbroken")
    whole.unlink()
    found = search(place)
    assert found.proposed == ["GSE2000-GPL570", "GSE2000-GPL96"]
    assert row(found, "GSE2000")["status"] == "proposed"
    with pytest.raises(StudyError, match="GSE2000-GPL570, GSE2000-GPL96"):
        proposal_of(place.store, "GSE2000")
    one = proposal_of(place.store, "GSE2000-GPL96")
    assert yaml.safe_load(one.file.read_text())["platform"] == "GPL96"
    assert list(one.content["problems"]) == ["GSE2000-GPL97_series_matrix.txt.gz"]
    with place.client() as client:
        (again,) = propose_series(client, place.study(), place.store, "GSE2000-GPL96")
        assert again.name == "GSE2000-GPL96"
        with pytest.raises(StudyError, match="no samples on that platform"):
            propose_series(client, place.study(), place.store, "GSE2000-GPL5")


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("patients", StudyError, "names no series"),
        ("../GSE1", StudyError, "names no series"),
        ("GSE404", GeoError, "GSE404"),
    ],
)
def test_what_cannot_be_proposed_is_one_sentence(
    place: Place, name: str, error: type[Exception], words: str
) -> None:
    with place.client() as client, pytest.raises(error, match=words) as said:
        propose_series(client, place.study(), place.store, name)
    assert "\n" not in str(said.value)


def test_proposal_that_is_not_there_says_how_to_make_it(place: Place) -> None:
    with pytest.raises(StudyError, match="genellm cohort propose GSE9"):
        proposal_of(place.store, "GSE9")


def test_cohort_file_that_a_person_put_among_the_proposals_counts_as_theirs(place: Place) -> None:
    write_text(place.store.place("cohort_proposals", "GSE9.yaml"), "accession: GSE9\n")
    mine = proposal_of(place.store, "GSE9")
    assert (mine.edited, mine.confidence) == (True, 0.0)
