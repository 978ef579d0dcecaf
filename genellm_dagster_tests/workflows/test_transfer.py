"""Transfer on a finished run: who is trained, who is tested, and what is said where nothing is."""

from __future__ import annotations

import dagster as dg
import pandas as pd
import pytest

from genellm_dagster.baselines.options import BaselineOptions
from genellm_dagster.defs.checks import structure
from genellm_dagster.workflows.stratum import StratumSamples
from genellm_dagster.workflows.transfer import (
    COLUMNS,
    Transfer,
    only_logistic,
    transfer_between,
)
from genellm_dagster_tests.finished import ADULTS, CELLS, CHILDREN, Finished


@pytest.fixture(scope="module")
def parts(finished: Finished) -> dict[str, StratumSamples]:
    sheets = {
        name: finished.table("sample_sheet", name) for cell in CELLS.values() for name in cell
    }
    found = {}
    for stratum, cohorts in CELLS.items():
        tables = {name: finished.table("qc_expression", stratum, name) for name in cohorts}
        rows = [
            sheets[name].set_index("gsm", drop=False).loc[table.columns].assign(cohort=name)
            for name, table in tables.items()
        ]
        samples = pd.concat(rows, ignore_index=True).astype({"case": int})
        found[stratum] = StratumSamples(samples, tables, [])
    return found


def _vocabularies(finished: Finished) -> dict[str, list[str]]:
    return {name: finished.table("gene_vocabulary", name)["gene"].tolist() for name in CELLS}


def _between(finished: Finished, parts, vocabularies, overlap=None, **age):
    settings = finished.settings()
    evaluation = settings.evaluation.model_copy(
        update={"age": settings.evaluation.age.model_copy(update={"transfer_samples": 0, **age})}
    )
    changed = settings.model_copy(update={"evaluation": evaluation})
    scales = {name: "log2" for cell in CELLS.values() for name in cell}
    return transfer_between(parts, vocabularies, overlap, scales, changed, None)


def test_run_has_transfer_of_baselines_and_adapters_both_ways(finished: Finished) -> None:
    table = finished.table("stratum_transfer")
    strata = table[table["level"] == "stratum"]
    for trained, tested in ((CHILDREN, ADULTS), (ADULTS, CHILDREN)):
        rows = strata[(strata["trained_on"] == trained) & (strata["tested_on"] == tested)]
        assert {"genellm", "logistic_regression", "best_single_gene"} <= set(rows["model"])
        assert set(rows["cohort"]) == set(CELLS[tested])
        assert not rows.duplicated(["gsm", "model"]).any()
    cells = {
        (row.trained_on, row.tested_on) for row in table[table["level"] == "cohort"].itertuples()
    }
    names = [f"{stratum}/{name}" for stratum, part in CELLS.items() for name in part]
    assert cells == {(one, other) for one in names for other in names}


def test_comparison_has_every_section_of_the_age_question(finished: Finished) -> None:
    found = finished.json("age_comparison")
    cells = {(c["trained_on"], c["tested_on"], c["model"]): c for c in found["transfer"]}
    assert (CHILDREN, ADULTS, "genellm") in cells
    assert (ADULTS, ADULTS, "genellm") in cells
    moved = cells[CHILDREN, ADULTS, "logistic_regression"]
    assert moved["auroc"]["low"] <= moved["auroc"]["value"] <= moved["auroc"]["high"]
    assert moved["at_home_minus_transferred"]["n"] == moved["n"]
    assert len(found["transfer_between_cohorts"]) == 16
    assert set(found["along_age"]) == {"genellm", "logistic_regression"}
    assert set(found["composition"]["strata"]) == set(CELLS)
    assert {"logistic_regression", "genellm"} <= set(found["discrimination"])
    assert set(found["signatures"]["enrichment"]["btm"]) == set(CELLS)
    assert "two_sample_label" in found["separability"]["strata"][ADULTS]


def test_people_of_both_strata_are_not_tested(finished: Finished, parts) -> None:
    child, adult = (parts[name].samples["gsm"].iloc[0] for name in (CHILDREN, ADULTS))
    overlap = pd.DataFrame({"gsm_a": [child], "gsm_b": [adult]})
    found = _between(finished, parts, _vocabularies(finished), overlap)
    table = found.table
    away = table[table["trained_on"] != table["tested_on"]]
    strata = away[away["level"] == "stratum"]
    assert adult not in set(strata.loc[strata["trained_on"] == CHILDREN, "gsm"])
    assert child not in set(strata.loc[strata["trained_on"] == ADULTS, "gsm"])
    assert found.about["dropped"] == {CHILDREN: 1, ADULTS: 1}
    own = table[table["trained_on"] == table["tested_on"]]
    assert {child, adult} <= set(own["gsm"])


def test_labels_of_the_tested_stratum_change_no_score(finished: Finished, parts) -> None:
    children = parts[CHILDREN]
    turned = children.samples.assign(case=1 - children.samples["case"])
    # In the same order: trees draw genes by their place.
    flipped = {**parts, CHILDREN: StratumSamples(turned, children.tables, [])}
    one, other = (
        _between(finished, data, _vocabularies(finished)).table.query(
            f"level == 'stratum' and trained_on == '{ADULTS}'"
        )
        for data in (parts, flipped)
    )
    keys = ["model", "gsm"]
    pd.testing.assert_series_equal(one.set_index(keys)["score"], other.set_index(keys)["score"])
    assert set(one["model"]) >= {"logistic_regression", "gradient_boosting", "best_single_gene"}


def test_too_few_common_genes_are_said_and_nothing_is_trained(finished: Finished, parts) -> None:
    vocabularies = {name: genes[:3] for name, genes in _vocabularies(finished).items()}
    found = _between(finished, parts, vocabularies)
    assert found.table.empty
    assert {(one["trained_on"], one["tested_on"]) for one in found.missing} == {
        (CHILDREN, ADULTS),
        (ADULTS, CHILDREN),
    }
    assert all("fewer than 10" in one["reason"] for one in found.missing)


def test_one_stratum_alone_has_transfer_between_its_cohorts(finished: Finished, parts) -> None:
    found = _between(finished, {ADULTS: parts[ADULTS]}, _vocabularies(finished)).table
    assert set(found["level"]) == {"cohort"}
    assert len(found.groupby(["trained_on", "tested_on"])) == 4


def test_only_logistic_regression_is_fitted_many_times() -> None:
    options = only_logistic(BaselineOptions())
    assert options.logistic_regression is not None
    assert (options.gradient_boosting, options.single_gene, options.signatures) == (None, None, ())


def test_no_transfer_at_all_is_a_table_of_the_same_types():
    """As of strata that share too few genes; the asset is still checked, and sound."""
    empty = Transfer().table
    assert empty.columns.tolist() == COLUMNS
    found = structure(dg.AssetKey("stratum_transfer"), empty, "stratum_transfer")
    assert found.passed, found.description
