"""The commands ``genellm simulate`` and ``genellm power``."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from genellm_dagster.files import read_parquet, write_parquet
from genellm_dagster.simulation.options import STANDARD_COHORTS
from genellm_dagster.workflows.power import what_a_study_could_show
from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, Finished, set_environment

Genellm = Callable[..., Any]
SMALL = ("--samples", 0.3, "--genes", 300)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings of its own, where ``genellm`` writes."""
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({"store": str(tmp_path / "store"), "backbone": "tiny"}))
    set_environment(monkeypatch, settings)
    return tmp_path


def test_a_simulated_study_can_be_ingested_by_the_command_it_prints(
    here: Path, genellm: Genellm
) -> None:
    config = here / "two.yaml"
    plans = [STANDARD_COHORTS[at].model_dump(mode="json") for at in (2, 4)]
    config.write_text(yaml.safe_dump({"cohorts": plans}))
    said = genellm(
        "simulate", "--output", here / "a", "--config", config, *SMALL, "--seed", 5, "--json"
    )
    assert said.status == 0, said.err
    told = json.loads(said.out)
    assert told["simulated"] is True
    command = told["run"].split()
    assert command[:3] == ["genellm", "run", "--study"]
    ingested = genellm("ingest", *command[2:])
    assert ingested.status == 0, ingested.err
    truth = json.loads(Path(told["truth"]).read_text())
    assert truth["seed"] == told["seed"] == 5
    assert "pediatric: " in ingested.out
    assert "adult: " in ingested.out

    seen = genellm("power", "--study", told["study"], "--json")
    assert seen.status == 0, seen.err
    rows = pd.DataFrame(json.loads(seen.out))
    assert rows["power"].between(0.05, 1).all()
    assert rows["better"].str.split(" ").str[0].unique().tolist() == ["pediatric", "adult"]


def test_what_the_command_line_asks_for_is_in_the_truth(here: Path, genellm: Genellm) -> None:
    said = genellm(
        "simulate", "--output", here / "a", *SMALL, "--name", "mine", "--overlap", 0.5,
        "--discordant", 0.4, "--effect", 0.5, "--effect", "adult=0.3", "--prevalence", 0.5,
        "--prevalence", "GSE9900004=0.25", "--batch", 0.6, "--absent", 0.1, "--missing", 0.05,
        "--duplicates", 10, "--mislabelled", 0.1, "--composition", 1.5,
    )  # fmt: skip
    assert said.status == 0, said.err
    assert said.out.startswith("SIMULATED: mine")
    truth = json.loads((here / "a" / "truth.json").read_text())
    assert (here / "a" / "mine.yaml").is_file()
    assert len(truth["planted_in_all"]) == 15
    assert len(truth["planted_in_opposite_directions"]) == 6
    asked = truth["options"]
    assert {name: one["effect"] for name, one in asked["strata"].items()} == {
        "pediatric": 0.5,
        "adult": 0.3,
    }
    shares = {
        plan["accession"]: plan["cases"] / (plan["cases"] + plan["controls"])
        for plan in asked["cohorts"]
    }
    assert shares.pop("GSE9900004") == pytest.approx(0.25, abs=0.01)
    assert set(shares.values()) == {0.5}
    assert [plan["duplicates"] for plan in asked["cohorts"]] == [0, 10, 10, 0, 10]
    whole = {"batch_sd": 0.6, "absent_share": 0.1, "missing_share": 0.05,
             "mislabelled_share": 0.1, "composition_shift": 1.5, "sample_share": 0.3}  # fmt: skip
    assert {name: asked[name] for name in whole} == whole
    assert any(one["mislabelled"] for one in truth["cohorts"].values())


def test_a_file_of_options_is_read_and_the_command_line_wins(here: Path, genellm: Genellm) -> None:
    config = here / "options.yaml"
    config.write_text("{name: from_file, genes: 250, sample_share: 0.3, shared_genes: 30}")
    said = genellm("simulate", "--output", here / "a", "--config", config, "--genes", 300)
    assert said.status == 0, said.err
    truth = json.loads((here / "a" / "truth.json").read_text())
    assert (truth["study"], truth["options"]["genes"]) == ("from_file", 300)
    assert len(truth["planted_in_all"]) == 30


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--overlap", 1.5), "overlap 1.5 is no share"),
        (("--effect", "old=1"), "no stratum 'old'"),
        (("--prevalence", "GSE1=0.5"), "no cohort 'GSE1'"),
        (("--genes", 10), "genes: cannot be used"),
        (("--mislabelled", 0.7), "mislabelled_share: cannot be used"),
        (("--config", "absent.yaml"), "absent.yaml does not exist"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_sentence(
    here: Path, genellm: Genellm, options: tuple[object, ...], words: str
) -> None:
    said = genellm("simulate", "--output", here / "a", *options)
    assert said.status == 1
    assert len(said.sentences) == 1
    assert words in said.err
    assert not (here / "a").exists()


def test_a_file_with_an_unknown_option_is_refused_with_its_place(
    here: Path, genellm: Genellm
) -> None:
    config = here / "options.yaml"
    config.write_text("genes: 300\ngene: 5\n")
    said = genellm("simulate", "--output", here / "a", "--config", config)
    assert said.status == 1
    assert "line 2" in said.err
    assert "'gene'" in said.err


def test_what_is_no_number_is_wrong_usage(here: Path, genellm: Genellm) -> None:
    assert genellm("simulate", "--output", here / "a", "--effect", "adult=much").status == 2
    assert genellm("power", "--scores", "flat").status == 2
    assert genellm("power", "--study", "demo", "--prevalence", 0.5).status == 2


def test_sizes_are_printed_for_people_and_for_programs(here: Path, genellm: Genellm) -> None:
    asked = ("--difference", 0.1, "--auroc", 0.9, "--prevalence", 0.5, "--power", 0.9)
    people, programs = genellm("power", *asked), genellm("power", *asked, "--json")
    (row,) = json.loads(programs.out)
    assert row["cases"] == row["controls"]
    assert str(row["n"]) in people.out
    assert "difference of 0.1" in people.out
    (other,) = json.loads(genellm("power", *asked, "--json", "--scores", "exponential").out)
    assert other["n"] != row["n"]


def test_a_study_of_which_nothing_is_there_yet_is_told_to_be_ingested(
    here: Path, genellm: Genellm
) -> None:
    assert genellm("simulate", "--output", here / "a", *SMALL).status == 0
    said = genellm("power", "--study", here / "a" / "simulated.yaml")
    assert said.status == 1
    assert "run `genellm ingest" in said.err


def test_power_of_a_study_counts_persons_and_not_samples(
    finished: Finished, tmp_path: Path
) -> None:
    for asset in ("sample_sheet", "qc_expression"):
        shutil.copytree(finished.study_folder / asset, tmp_path / "demo" / asset)
    settings, study = finished.settings(store=tmp_path), finished.study()

    def counted() -> dict[str, tuple[int, int]]:
        words = what_a_study_could_show(settings, study)["better"].unique()
        found = [re.fullmatch(r"(\w+) \((\d+) \+ (\d+)\)", text) for text in words]
        return {one[1]: (int(one[2]), int(one[3])) for one in found if one}

    before = counted()
    report = finished.json("evaluation_report", ADULTS)
    assert before[ADULTS] == (report["cases"], report["n"] - report["cases"])
    cohort = CELLS[ADULTS][0]
    kept = read_parquet(tmp_path / "demo" / "qc_expression" / ADULTS / f"{cohort}.parquet").columns
    file = tmp_path / "demo" / "sample_sheet" / f"{cohort}.parquet"
    sheet = read_parquet(file)
    case = sheet.index[sheet["gsm"].isin(kept) & sheet["case"].eq(True)][:2]
    sheet.loc[case[1], "subject"] = sheet.loc[case[0], "subject"]
    write_parquet(file, sheet)
    cases, controls = before[ADULTS]
    assert counted() == {**before, ADULTS: (cases - 1, controls)}


def test_the_finished_demo_says_simulated(of_finished: Finished, genellm: Genellm) -> None:
    said = genellm("power", "--study", "demo")
    assert said.status == 0, said.err
    assert said.out.startswith("SIMULATED demo")
    assert CHILDREN in said.out
