"""A finished run leaves a card beside each adapter, with the run that trained it, in the UI."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genellm_dagster.tracking.tracker import Tracker
from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, Finished


@pytest.mark.parametrize("stratum", CELLS)
def test_a_card_lies_beside_the_adapter_and_with_its_run(
    finished: Finished, stratum: str, tmp_path: Path
) -> None:
    facts = finished.json("adapter", stratum)
    card = finished.study_folder / "adapter" / f"{stratum}.card.html"
    assert Path(facts["card"]) == card
    settings = finished.settings()
    tracker = Tracker(settings.tracking, settings.store)
    name = f"model_card/version-{facts['version']}/{card.name}"
    kept = tracker.kept(facts["run_id"], name, tmp_path, 10_000_000)
    assert kept is not None
    assert kept.read_bytes() == card.read_bytes()


def test_numbers_of_the_card_are_those_of_the_evaluation_report(finished: Finished) -> None:
    card = (finished.study_folder / "adapter" / f"{CHILDREN}.card.html").read_text()
    report = finished.json("evaluation_report", CHILDREN)
    auroc = report["models"]["genellm"]["auroc"]
    inside = report["within_cohorts"]["genellm"]["auroc"]
    said = re.search(r"AUROC ([\d.]+) \(.*?\) out of fold, ([\d.]+) \(.*?\) inside cohorts", card)
    assert said is not None
    assert said.groups() == (f"{auroc['value']:.3f}", f"{inside['value']:.3f}")
    assert f"n = {report['n']}, {report['cases']} cases" in card


def test_the_card_of_a_demo_names_adapter_backbone_and_decision(finished: Finished) -> None:
    card = (finished.study_folder / "adapter" / f"{ADULTS}.card.html").read_text()
    assert "<title>SIMULATED: Model card of demo-adult version 1</title>" in card
    assert finished.json("backbone")["sha256"] in card
    assert finished.json("adapter", ADULTS)["promotion"]["reason"] in card
    assert "GeneLLM, shuffled labels" in card
    for cohort in CELLS[ADULTS]:
        assert cohort in card
    assert CELLS[CHILDREN][0] not in card
