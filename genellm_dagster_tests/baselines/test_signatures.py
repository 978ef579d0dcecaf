"""Published scores: their formulas by hand, and their refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.baselines.signatures import (
    Refused,
    load_signatures,
    read_signature,
    score_signature,
)
from genellm_dagster.errors import EvaluationError

NAMES = {
    "sepsis_metascore", "septicyte_lab", "faim3_plac8", "snip", "herberg", "bacterial_viral_7",
    "mortality_12", "sepstratifier_7",
}  # fmt: skip
OLD_NAMES = {"C9orf95", "KIAA1370", "FAM214A", "FAIM3", "SEPP1", "C11orf74", "EMR3"}


def table(signature_name: str, rows: int = 4) -> tuple[pd.DataFrame, pd.Series]:
    genes = list(load_signatures()[signature_name].genes)
    generator = np.random.default_rng(1)
    index = [f"GSM{i}" for i in range(rows)]
    values = pd.DataFrame(generator.uniform(4, 12, (rows, len(genes))), index, genes)
    return values, pd.Series(["GSE1"] * (rows // 2) + ["GSE2"] * (rows - rows // 2), index)


def gm(frame: pd.DataFrame) -> pd.Series:
    return frame.prod(axis=1) ** (1 / frame.shape[1])


def test_all_published_scores_are_there_with_source_and_approved_symbols():
    found = load_signatures()
    assert set(found) == NAMES
    for signature in found.values():
        assert signature.source
        assert not OLD_NAMES & set(signature.genes)
        assert set(signature.aliases.values()) <= set(signature.genes)
    for name in ("septicyte_lab", "faim3_plac8", "snip"):
        assert "GSE65682" in found[name].developed_on


def test_metascore_is_the_weighted_difference_of_geometric_means():
    values, cohorts = table("sepsis_metascore")
    up = values[["CEACAM1", "ZDHHC19", "NMRK1", "GNA15", "BATF", "C3AR1"]]
    down = values[["ATOSA", "TGFBI", "MTCH1", "RPGRIP1", "HLA-DPB1"]]
    found = score_signature(load_signatures()["sepsis_metascore"], values, cohorts)
    pd.testing.assert_series_equal(found, gm(up) - 5 / 6 * gm(down))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("septicyte_lab", lambda v: v.PLAC8 + v.LAMP1 - v.PLA2G7 - v.CEACAM4),
        ("faim3_plac8", lambda v: v.FCMR / v.PLAC8),
        ("snip", lambda v: (v.NLRP1 - v.IDNK) / v.PLAC8),
        ("herberg", lambda v: v.FAM89A - v.IFI44L),
        (
            "bacterial_viral_7",
            lambda v: gm(v[["IFI27", "JUP", "LAX1"]]) - gm(v[["HK3", "TNIP1", "GPAA1", "CTSB"]]),
        ),
        (
            "mortality_12",
            lambda v: (
                gm(v[["DEFA4", "CD163", "PER1", "RGS1", "HIF1A", "SELENOP", "IFTAP", "CIT"]])
                - gm(v[["LY86", "TST", "OR52R1", "KCNJ2"]])
            ),
        ),
    ],
)
def test_formula_by_hand(name, expected):
    values, cohorts = table(name)
    found = score_signature(load_signatures()[name], values, cohorts)
    pd.testing.assert_series_equal(found, expected(values), check_names=False)


def test_directions_are_those_of_the_sources():
    directions = {name: one.direction for name, one in load_signatures().items()}
    assert directions["faim3_plac8"] == directions["bacterial_viral_7"] == "low"
    assert directions["sepsis_metascore"] == directions["septicyte_lab"] == "high"
    assert directions["snip"] == "training"


def test_a_missing_gene_is_refused_naming_gene_and_cohort():
    values, cohorts = table("sepsis_metascore")
    values.loc[cohorts == "GSE2", ["BATF", "TGFBI"]] = np.nan
    found = score_signature(load_signatures()["sepsis_metascore"], values, cohorts)
    assert isinstance(found, Refused)
    assert "GSE2 lacks BATF, TGFBI" in found.reason
    assert "GSE1" not in found.reason
    absent = score_signature(
        load_signatures()["herberg"], pd.DataFrame(index=cohorts.index), cohorts
    )
    assert "GSE1, GSE2 lack FAM89A, IFI44L" in absent.reason


def test_missing_genes_are_tolerated_only_when_asked_for():
    values, cohorts = table("sepsis_metascore")
    expected = score_signature(
        load_signatures()["sepsis_metascore"], values, cohorts, missing_genes_allowed=2
    )
    values["BATF"] = np.nan
    found = score_signature(
        load_signatures()["sepsis_metascore"], values, cohorts, missing_genes_allowed=1
    )
    assert np.isfinite(found).all()
    assert not np.allclose(found, expected)
    linear, linear_cohorts = table("septicyte_lab")
    linear["LAMP1"] = np.nan
    refused = score_signature(
        load_signatures()["septicyte_lab"], linear, linear_cohorts, missing_genes_allowed=3
    )
    assert isinstance(refused, Refused)


def test_centred_values_are_refused_under_a_geometric_mean_and_a_ratio():
    values, cohorts = table("sepsis_metascore")
    found = score_signature(load_signatures()["sepsis_metascore"], values - 8, cohorts)
    assert "centred" in found.reason
    one_low = values.copy()
    one_low.iloc[3, 0] = -0.1
    found = score_signature(load_signatures()["sepsis_metascore"], one_low, cohorts)
    assert "at or below zero" in found.reason
    assert "1 samples of GSE2" in found.reason
    ratio, cohorts = table("faim3_plac8")
    assert (
        "divides by PLAC8"
        in score_signature(load_signatures()["faim3_plac8"], ratio - 20, cohorts).reason
    )


def test_centred_values_are_fine_for_a_difference_of_logs():
    values, cohorts = table("septicyte_lab")
    here = score_signature(load_signatures()["septicyte_lab"], values, cohorts)
    there = score_signature(load_signatures()["septicyte_lab"], values - 8, cohorts)
    np.testing.assert_allclose(here, there)


RAW = {"GSE1": "log2", "GSE2": "counts"}
FIRST_CENTRED = {"GSE1": "centred", "GSE2": "log2"}


@pytest.mark.parametrize("name", ["sepsis_metascore", "faim3_plac8", "snip"])
def test_a_recorded_scale_is_believed_not_the_few_genes_of_a_formula(name):
    values, cohorts = table(name)
    signature = load_signatures()[name]
    # All above zero: nothing in these genes shows that they were centred.
    found = score_signature(signature, values, cohorts, scales=FIRST_CENTRED)
    assert isinstance(found, Refused)
    assert "GSE1 is recorded as centred" in found.reason
    assert "GSE2" not in found.reason
    assert "set scale in the cohort file" in found.reason
    both = score_signature(signature, values, cohorts, scales=dict.fromkeys(RAW, "centred"))
    assert "GSE1, GSE2 are recorded as centred" in both.reason
    pd.testing.assert_series_equal(
        score_signature(signature, values, cohorts, scales=RAW),
        score_signature(signature, values, cohorts),
    )


def test_a_scale_set_by_hand_ends_the_guessing_though_not_the_arithmetic():
    values, cohorts = table("sepsis_metascore")
    values.loc[cohorts == "GSE1"] -= 8
    found = score_signature(load_signatures()["sepsis_metascore"], values, cohorts, scales=RAW)
    assert "values at or below zero" in found.reason
    assert "centred" not in found.reason


def test_a_difference_of_logs_is_refused_beside_cohorts_that_are_not_centred():
    values, cohorts = table("septicyte_lab")
    signature = load_signatures()["septicyte_lab"]
    mixed = score_signature(signature, values, cohorts, scales=FIRST_CENTRED)
    assert isinstance(mixed, Refused)
    assert "beside cohorts that are not: GSE1 is recorded as centred" in mixed.reason
    all_centred = dict.fromkeys(RAW, "centred")
    here = score_signature(signature, values - 8, cohorts, scales=all_centred)
    np.testing.assert_allclose(here, score_signature(signature, values, cohorts))
    alone = cohorts == "GSE1"
    one = score_signature(signature, values[alone], cohorts[alone], scales=FIRST_CENTRED)
    assert np.isfinite(one).all()


def test_a_cohort_whose_scale_was_not_recorded_is_read_as_before():
    values, cohorts = table("sepsis_metascore")
    signature = load_signatures()["sepsis_metascore"]
    pd.testing.assert_series_equal(
        score_signature(signature, values, cohorts, scales={}),
        score_signature(signature, values, cohorts),
    )


def test_the_list_of_genes_is_that_of_its_source():
    genes = ["ARL14EP", "CCNB1IP1", "DYRK2", "ADGRE3", "MDC1", "TDRD9", "ZAP70"]
    assert sorted(load_signatures()["sepstratifier_7"].genes) == sorted(genes)


def test_a_gene_list_never_gets_an_invented_formula():
    values, cohorts = table("sepstratifier_7")
    found = score_signature(load_signatures()["sepstratifier_7"], values, cohorts)
    assert isinstance(found, Refused)
    assert "reference set" in found.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "line 1"),
        ("name: x", "mend that field"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("[1, 2]", "mend that field"),
        ("x" * 300_000, "too many"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_hostile_files_end_with_a_sentence(tmp_path: Path, text, words):
    file = tmp_path / "bad.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(EvaluationError, match=words) as caught:
        read_signature(file)
    assert str(file) in str(caught.value)


def test_an_empty_folder_and_a_name_given_twice_are_named(tmp_path: Path):
    with pytest.raises(EvaluationError, match="no signature file"):
        load_signatures(tmp_path / "none")
    text = (
        "name: one\ntitle: t\nquestion: q\nsource: s\ndirection: high\n"
        "formula: {kind: linear, weights: {A: 1}}\n"
    )
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(EvaluationError, match="second time"):
        load_signatures(tmp_path)


def test_every_gene_name_is_an_approved_symbol():
    from genellm_dagster.expression.symbols import approve_symbols

    genes = sorted({gene for one in load_signatures().values() for gene in one.genes})
    approved, _ = approve_symbols(genes)
    assert list(approved) == genes
