"""Blood composition: scores of one sample alone, and nothing where too little is measured."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.cell_markers import COVERAGE, CellMarkers, load_markers
from genellm_dagster.expression.composition import blood_composition, marker_coherence
from genellm_dagster.expression.options import CompositionOptions
from genellm_dagster.simulation.cohorts import simulate_cohort
from genellm_dagster.simulation.genes import FACTORS, describe_genes, plant_genes
from genellm_dagster.simulation.options import SimulationOptions
from genellm_dagster_tests.expression.tables import cohort, gene_names
from genellm_dagster_tests.expression.test_real_series import MIRROR, values_of

FEW = CompositionOptions(min_genes=1)
SOURCE = {"here": {"title": "A list", "doi": "10.1000/1", "licence": "CC0"}}


def markers_of(**classes: object) -> CellMarkers:
    given_classes = {
        name: genes if isinstance(genes, dict) else {"markers": {g: ["here"] for g in genes}}
        for name, genes in classes.items()
    }
    parts = {name: {"title": name, **one} for name, one in given_classes.items()}
    return CellMarkers.model_validate(
        {"name": "test", "title": "Test", "sources": SOURCE, "classes": parts}
    )


GENES = gene_names(60)
MARKERS = markers_of(
    red=GENES[:5], white=GENES[5:15], pair=GENES[15:17], both={"of": ["red", "white"]}
)
CLASSES = ["red", "white", "pair", "both"]


def blood(seed: int, samples: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.normal(8, 2, (len(GENES), samples)).astype(np.float32)
    return pd.DataFrame(
        values, index=pd.Index(GENES, name="gene"), columns=[f"GSM{i}" for i in range(samples)]
    )


def test_more_of_a_cells_genes_is_a_higher_score_of_that_cell_alone():
    table = blood(1)
    table.loc[GENES[:5], "GSM0"] += 3
    scores = blood_composition(table, MARKERS, FEW).set_index("gsm")
    before = blood_composition(blood(1), MARKERS, FEW).set_index("gsm")
    change = scores[CLASSES] - before[CLASSES]
    assert change.loc["GSM0", "red"] > 0.5
    assert change.loc["GSM0", "both"] > 0.1
    assert (change.loc["GSM0", ["white", "pair"]].abs() < 0.2).all()
    assert (change.drop(index="GSM0") == 0).all(axis=None)


def test_the_columns_are_the_classes_their_coverage_and_the_reasons():
    table = blood(1).drop(index=GENES[:2])
    found = blood_composition(table, MARKERS, FEW)
    assert list(found) == ["gsm", *CLASSES, *[COVERAGE + name for name in CLASSES], "why_not"]
    assert set(found[COVERAGE + "red"]) == {0.6}
    assert set(found[COVERAGE + "white"]) == {1.0}
    assert set(found["why_not"]) == {""}
    assert found["gsm"].tolist() == table.columns.tolist()


def test_a_class_with_too_few_markers_in_the_cohort_has_no_score_and_a_reason():
    found = blood_composition(blood(1).drop(index=GENES[:3]), MARKERS, FEW)
    assert found["red"].isna().all()
    assert set(found["why_not"]) == {"red: 2 of 5 markers"}
    assert found[["white", "pair", "both"]].notna().all(axis=None)


def test_a_sample_that_lacks_markers_of_its_cohort_has_no_score_and_a_reason():
    table = blood(1)
    table.loc[GENES[5:8], "GSM2"] = np.nan
    found = blood_composition(table, MARKERS, FEW).set_index("gsm")
    assert found["white"].isna().tolist() == [gsm == "GSM2" for gsm in found.index]
    assert found.loc["GSM2", "why_not"] == "white: 7 of 10 markers"
    assert found.loc["GSM2", COVERAGE + "white"] == pytest.approx(0.7)


def test_one_gene_missing_of_two_is_too_few():
    found = blood_composition(blood(1).drop(index=GENES[15]), MARKERS, FEW)
    assert found["pair"].isna().all()


def test_a_panel_and_centred_values_give_no_scores():
    table = blood(1)
    panel = blood_composition(table, MARKERS)
    assert panel[CLASSES].isna().all(axis=None)
    assert set(panel["why_not"]) == {"a panel of 60 genes"}
    centred = blood_composition(table, MARKERS, FEW, scale="centred")
    assert centred[CLASSES].isna().all(axis=None)
    assert set(centred["why_not"]) == {"the cohort's values are centred"}
    assert blood_composition(table, MARKERS, FEW, scale="log2")[CLASSES].notna().all(axis=None)


def test_a_sample_without_any_value_has_no_score():
    table = blood(1)
    table["GSM3"] = np.nan
    found = blood_composition(table, MARKERS, FEW).set_index("gsm")
    assert found.loc["GSM3", CLASSES].isna().all()
    assert found.loc["GSM3", "why_not"] == "a panel of 0 genes"
    assert found.drop(index="GSM3")[CLASSES].notna().all(axis=None)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), random=st.randoms(use_true_random=False))
def test_a_sample_alone_among_others_and_in_any_order_has_the_same_scores(seed, random):
    table = blood(seed)
    holes = np.random.default_rng(seed).random(table.shape) < 0.05
    table = table.mask(holes)
    expected = blood_composition(table, MARKERS, FEW).set_index("gsm")
    genes, samples = list(table.index), list(table.columns)
    random.shuffle(genes)
    random.shuffle(samples)
    shuffled = blood_composition(table.loc[genes, samples], MARKERS, FEW).set_index("gsm")
    pd.testing.assert_frame_equal(shuffled.loc[expected.index], expected, rtol=0, atol=1e-9)
    alone = blood_composition(table[[samples[0]]], MARKERS, FEW).set_index("gsm")
    pd.testing.assert_frame_equal(alone, expected.loc[[samples[0]]], rtol=0, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    factor=st.floats(0.1, 10),
    shift=st.floats(-20, 20),
)
def test_the_scale_of_an_array_changes_no_score(seed, factor, shift):
    table = blood(seed).astype(np.float64)
    expected = blood_composition(table, MARKERS, FEW)
    other = table.copy()
    other["GSM1"] = other["GSM1"] * factor + shift
    pd.testing.assert_frame_equal(blood_composition(other, MARKERS, FEW), expected, atol=1e-6)


def test_planted_cells_of_simulated_blood_are_found_again():
    options = SimulationOptions(genes=2500, sample_share=1.0, composition_shift=1.0)
    planted = plant_genes(options, 3)
    genes = describe_genes(options, planted, 3)
    plan = options.cohorts[0]
    simulated = simulate_cohort(options, 0, genes, planted[plan.stratum], None, 3)
    names = ["neutrophil", "lymphocyte", "monocyte", "erythroid", "platelet"]
    # Genes of the disease move with it as well as with their cell.
    lists = {n: [g for g in FACTORS[n] if genes["kind"].get(g) == "marker"] for n in names}
    scores = blood_composition(simulated.values, markers_of(**lists)).set_index("gsm")
    people = simulated.people.set_index("gsm")
    good = people.index[~people["poor"]]
    truth = simulated.biology.factors.T.loc[good].copy()
    truth["neutrophil"] += options.composition_shift * people.loc[good, "activity"]
    truth["lymphocyte"] -= options.composition_shift * people.loc[good, "activity"]
    for name in names:
        others = [scores.loc[good, name].corr(truth[one]) for one in names if one != name]
        assert scores.loc[good, name].corr(truth[name]) > 0.9
        assert max(others) < 0.4
    ill = people.loc[good, "kind"] == "case"
    means = scores.loc[good, names].groupby(ill).mean()
    assert means.loc[True, "neutrophil"] > means.loc[False, "neutrophil"]
    assert means.loc[True, "lymphocyte"] < means.loc[False, "lymphocyte"]


def test_markers_that_follow_their_class_are_told_from_one_that_follows_another():
    rng = np.random.default_rng(5)
    red, white = rng.normal(size=(2, 40))
    table = blood(2, 40).astype(np.float64)
    table.loc[GENES[:5]] = 8 + red + rng.normal(0, 0.3, (5, 40))
    table.loc[GENES[5:15]] = 8 + white + rng.normal(0, 0.3, (10, 40))
    table.loc[GENES[4]] = 8 + white + rng.normal(0, 0.3, 40)
    found = marker_coherence(table, MARKERS, {"rest": GENES[17:]}).set_index("gene")
    assert set(found.index) == set(GENES[:17])
    assert found.loc[GENES[:4], "own"].min() > 0.6
    assert found.loc[GENES[4], "rival"] == "white"
    assert found.loc[GENES[4], "other"] > 0.6 > found.loc[GENES[4], "own"]
    # A marker is not compared with itself: two that share nothing do not hold together.
    assert found.loc[GENES[15:17], "own"].abs().max() < 0.5


def test_a_marker_that_does_not_vary_has_no_coherence():
    table = blood(2, 20)
    table.loc[GENES[0]] = -100.0
    found = marker_coherence(table, MARKERS).set_index("gene")
    assert np.isnan(found.loc[GENES[0], "own"])
    assert found.drop(index=GENES[0])["own"].notna().all()


def test_the_packaged_markers_are_sourced_and_cover_the_cells_of_blood():
    markers = load_markers()
    assert {"neutrophils", "monocytes", "lymphocytes", "t_cells", "cd8_t_cells", "b_cells",
            "nk_cells", "platelets", "erythroid_cells"} <= set(markers.classes)  # fmt: skip
    assert all(len(markers.genes(name)) >= 2 for name in markers.classes)
    assert set(markers.genes("t_cells")) < set(markers.genes("lymphocytes"))
    for cells in markers.classes.values():
        assert not set(cells.left_out) & set(cells.markers)
        assert all(reason for reason in cells.left_out.values())


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ({"a": ["IL8"]}, "IL8, a marker of a, is no approved HGNC symbol; write CXCL8"),
        ({"a": ["nosuch"]}, "nosuch, a marker of a, is no approved HGNC symbol; remove it"),
        ({"a": ["CD14"], "b": ["CD14"]}, "CD14 is a marker of a and of b"),
        ({"a": {"of": ["b"]}}, "a is made of 'b'"),
        ({"a": {}}, "a needs either markers or"),
        ({"a": {"markers": {"CD14": ["elsewhere"]}}}, "names the source 'elsewhere'"),
        ({"a": {"markers": {"CD14": []}}}, "names no source"),
        ({"why_not": ["CD14"]}, "taken by a column"),
        ({"coverage_a": ["CD14"]}, "taken by a column"),
    ],
)
def test_markers_that_do_not_hold_together_are_refused_with_the_reason(classes, told):
    with pytest.raises(ValueError, match=told):
        markers_of(**classes)


def test_a_file_of_markers_is_read_and_its_mistakes_are_placed(tmp_path):
    file = tmp_path / "mine.yaml"
    text = (
        "name: mine\ntitle: Mine\n"
        "sources: {here: {title: A list, doi: 10.1000/1, licence: CC0}}\n"
        "classes: {mono: {title: Monocytes, markers: {CD14: [here]}}}\n"
    )
    file.write_text(text)
    assert load_markers(file).genes("mono") == ("CD14",)
    options = CompositionOptions(markers=str(file), min_genes=1, min_markers=1)
    table = blood(1).rename(index={GENES[0]: "CD14"})
    assert blood_composition(table, options=options)["mono"].notna().all()
    file.write_text(text.replace("title: Monocytes, ", ""))
    with pytest.raises(ExpressionError, match=r"line 4, column .*'title' is missing"):
        load_markers(file)
    file.write_text("x" * 300_000)
    with pytest.raises(ExpressionError, match="larger than"):
        load_markers(file)


def test_an_unknown_name_of_markers_tells_the_known_ones():
    with pytest.raises(ExpressionError, match="there are: blood"):
        load_markers("liver")


@pytest.mark.skipif(not MIRROR.is_dir(), reason="no ../shared/geo beside the repository")
def test_real_tuberculosis_has_more_neutrophils_and_fewer_lymphocytes():
    path = next(MIRROR.glob("*/GSE101705/matrix/GSE101705_series_matrix.txt.gz"))
    header = gzip.decompress(path.read_bytes()).decode().split("!series_matrix_table_begin")[0]
    row = next(line for line in header.splitlines() if "tb status" in line)
    status = [cell.split(": ")[1] for cell in re.findall(r'"([^"]*)"', row)]
    table = build_expression(values_of("GSE101705"), None, cohort(), "array").table
    scores = blood_composition(table)
    assert (scores["why_not"] == "").all()
    means = scores.drop(columns=["gsm", "why_not"]).groupby(np.array(status)).mean()
    difference = means.loc["PTB"] - means.drop(index="PTB").squeeze()
    assert difference["neutrophils"] > 0
    assert difference["monocytes"] > 0
    assert difference[["t_cells", "cd8_t_cells", "b_cells", "nk_cells", "lymphocytes"]].max() < 0
    coherence = marker_coherence(table).groupby("cell_class")["own"].mean()
    assert coherence.min() > 0.5


@pytest.mark.skipif(not MIRROR.is_dir(), reason="no ../shared/geo beside the repository")
def test_a_real_panel_of_disease_genes_has_no_composition():
    table = build_expression(values_of("GSE22098"), None, cohort(), "array").table
    scores = blood_composition(table)
    assert scores[list(load_markers().classes)].isna().all(axis=None)
    assert set(scores["why_not"]) == {"a panel of 353 genes"}
