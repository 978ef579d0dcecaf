"""Overlap on real series, where a mirror lies beside the repository: known and planted copies."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.overlap import comparable, find_overlaps
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.series import fetch_series, read_series
from genellm_dagster.studies.loading import load_study
from genellm_dagster_tests.expression.tables import cohort, sheet_of
from genellm_dagster_tests.expression.test_real_series import MIRROR, values_of

SHARED = Path(__file__).resolve().parents[3] / "shared"
STUDY = SHARED / "studies" / "tb_real.yaml"

pytestmark = pytest.mark.skipif(
    not (MIRROR.is_dir() and STUDY.is_file()),
    reason="no mirror of real series in ../shared/geo beside the repository",
)
Tables = dict[str, pd.DataFrame]
Pairs = set[frozenset[str]]

# Two people (one without GSTM1, the other with it) whose arrays share an artefact; the description
# of OverlapOptions.max_false_share tells of them.
ALIKE = frozenset({"GSM2886060", "GSM2886088"})
# Of all: another platform's probes, counts, linear and log2 values.
FULL = ("GSE19439", "GSE101705", "GSE107991")


@pytest.fixture(scope="module")
def transcriptomes(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The expression tables of the real tuberculosis study."""
    study = load_study(STUDY, data_dir=STUDY.parent)
    client, found = GeoClient((SHARED / "geo").as_uri(), GeoOptions()), {}
    for name in study.cohorts:
        folder, one = tmp_path_factory.mktemp(name), study.cohort(name)
        series = read_series(folder, fetch_series(client, one, folder))
        found[name] = build_expression(series.values, series.id_table, one, series.kind).table
    return found


def called(tables: Tables) -> Pairs:
    """The pairs that expression alone calls one array."""
    found = find_overlaps(tables, {name: sheet_of(table) for name, table in tables.items()}, {})
    assert set(found["reason"]) <= {"expression"}
    return {frozenset(pair) for pair in zip(found["gsm_a"], found["gsm_b"], strict=True)}


def re_processed(table: pd.DataFrame, seed: int, noise: float = 0.1) -> pd.DataFrame:
    """The same arrays as other probes and another normalisation would give them."""
    random = np.random.default_rng(seed)
    mean = table.mean(axis=1).to_numpy()[:, None]
    slope = random.uniform(0.6, 1.4, mean.shape)
    values = slope * (table.to_numpy() - mean + noise * random.normal(size=table.shape)) + mean
    quantiles = np.sort(values, axis=0).mean(axis=1)
    values = quantiles[np.argsort(np.argsort(values, axis=0), axis=0)]
    return pd.DataFrame(values.astype(np.float32), table.index, table.columns)


def put_into(
    source: pd.DataFrame, target: pd.DataFrame, count: int, seed: int
) -> tuple[pd.DataFrame, Pairs]:
    """Put arrays of one series into another, on the other one's levels and distribution."""
    random = np.random.default_rng(seed)
    genes = source.index.intersection(target.index)
    chosen = list(random.choice(source.columns, count, replace=False))
    levels = target.loc[genes].mean(axis=1) - source.loc[genes].mean(axis=1)
    moved = source.loc[genes, chosen].add(levels, axis=0)
    copies = re_processed(moved, seed).add_prefix("COPY")
    together = target.loc[genes].join(copies)
    quantiles = np.sort(target.loc[genes].to_numpy(), axis=0).mean(axis=1)
    for gsm in copies:
        together[gsm] = quantiles[together[gsm].to_numpy().argsort().argsort()]
    return together.astype(np.float32), {frozenset({gsm, f"COPY{gsm}"}) for gsm in chosen}


def test_series_of_other_people_share_nobody(transcriptomes):
    assert comparable(transcriptomes)["compared"].all()
    assert called(transcriptomes) == set()


@pytest.mark.parametrize("series", FULL)
def test_a_real_series_issued_again_is_found_whole(transcriptomes, series):
    table = transcriptomes[series]
    again = re_processed(table, 1, noise=0.3).add_prefix("AGAIN")
    truth = {frozenset({gsm, f"AGAIN{gsm}"}) for gsm in table}
    found = called({series: table, "GSE1": again})
    assert len(truth & found) >= 0.99 * len(truth)
    # The two that share an artefact share it with each other's copies too.
    strangers = {pair for pair in found - truth if {s.removeprefix("AGAIN") for s in pair} != ALIKE}
    assert strangers == set()


def test_arrays_of_one_series_in_another_are_found_and_nearly_nothing_else(transcriptomes):
    truth, found = set(), set()
    for seed, (a, b) in enumerate(itertools.permutations(FULL, 2)):
        target, planted = put_into(transcriptomes[a], transcriptomes[b], 3, seed)
        truth |= {(a, b, pair) for pair in planted}
        here = called({a: transcriptomes[a], b: target})
        found |= {(a, b, pair) for pair in here if pair != ALIKE}
    assert len(truth) == 18
    assert len(truth & found) >= 17
    assert len(found - truth) <= 1


def test_eight_children_of_two_real_series_are_known_by_their_accessions():
    # Four genes in common: expression can say nothing, the accessions do.
    tables = {
        name: build_expression(values_of(name), None, cohort(accession=name), "array").table
        for name in ("GSE66099", "GSE8121")
    }
    sheets = {name: sheet_of(table) for name, table in tables.items()}
    assert comparable(tables)[["common_genes", "compared"]].to_numpy().tolist() == [[4, False]]
    found = find_overlaps(tables, sheets, {})
    assert set(found["reason"]) == {"same_gsm"}
    assert found["gsm_a"].tolist() == [
        "GSM201246", "GSM201253", "GSM201259", "GSM201260",
        "GSM201264", "GSM201266", "GSM201267", "GSM201271",
    ]  # fmt: skip
    # Declared to share people, nobody knowing who: no two of them may be on two sides.
    declared = find_overlaps(tables, sheets, {"GSE8121": ["GSE66099"]})
    assert len(declared) == 199 * 60
    assert declared["reason"].value_counts().to_dict() == {"declared": 199 * 60 - 8, "same_gsm": 8}


def test_panels_of_real_series_call_nobody_one_person():
    names = ("GSE65682", "GSE185263", "GSE154918", "GSE54514")
    tables = {
        name: build_expression(values_of(name), None, cohort(accession=name), "array").table
        for name in names
    }
    assert not comparable(tables)["compared"].any()
    assert called(tables) == set()
