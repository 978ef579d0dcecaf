"""The code location as a whole: every asset, its group, partitions, checks and jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from genellm_dagster.defs.build import build_definitions
from genellm_dagster.defs.jobs import REFRESH
from genellm_dagster.defs.partitions import StudyPartitions
from genellm_dagster.defs.picture import draw_assets
from genellm_dagster.settings import PROJECT_ROOT, load_settings
from genellm_dagster_tests.defs.makers import a_study

# The table of the design: group, partitions, checks. All of them block but those that only warn.
ASSETS: dict[str, tuple[str, str, set[str]]] = {
    "geo_catalog": ("geo", "-", {"structure"}),
    "raw_series": ("geo", "cohort", {"files_are_whole"}),
    "sample_sheet": ("cohort", "cohort", {"structure", "content"}),
    "gene_expression": ("cohort", "cohort", {"structure"}),
    "sample_overlap": ("cohort", "-", {"structure"}),
    "qc_expression": ("qc", "cell", {"structure", "samples", "genes", "qc_warnings"}),
    "blood_composition": ("qc", "cell", {"structure"}),
    "gene_vocabulary": ("tokens", "stratum", {"structure"}),
    "profiles": ("tokens", "stratum", {"structure"}),
    "tokenizer": ("tokens", "stratum", set()),
    "token_dataset": ("tokens", "cell", {"structure"}),
    "backbone": ("model", "-", set()),
    "prefix_states": ("model", "cell", set()),
    "tuned_options": ("model", "stratum", set()),
    "cross_validation": ("model", "stratum", {"structure"}),
    "baseline_predictions": ("model", "stratum", {"structure"}),
    "adapter": ("model", "stratum", set()),
    "evaluation_report": ("evaluation", "stratum", set()),
    "gene_attributions": ("evaluation", "stratum", {"structure"}),
    "stratum_transfer": ("evaluation", "-", {"structure"}),
    "age_comparison": ("evaluation", "-", set()),
    "model_comparison": ("evaluation", "-", {"structure"}),
    "study_report": ("evaluation", "-", set()),
}
ONLY_WARN = {"qc_warnings"}
JOBS = {
    "refresh_catalog": "-",
    "ingest_cohort": "cohort",
    "compare_cohorts": "-",
    "quality_control": "cell",
    "choose_genes": "stratum",
    "encode_profiles": "cell",
    "tune_stratum": "stratum",
    "train_stratum": "stratum",
    "rebuild_reports": "-",
}
HEAVY = (
    "torch", "mlflow", "transformers", "great_expectations", "shap", "peft", "sklearn",
    "matplotlib", "umap", "lightgbm", "dagster_pandas", "optuna",
)  # fmt: skip


@pytest.fixture(scope="module")
def study():
    return a_study("GSE1", "GSE2")


@pytest.fixture(scope="module")
def defs(study) -> dg.Definitions:
    return build_definitions(load_settings(), study)


@pytest.fixture(scope="module")
def graph(defs: dg.Definitions):
    return defs.resolve_asset_graph()


def _partitions(study, kind: str) -> dg.PartitionsDefinition | None:
    parts = StudyPartitions.of(study)
    return None if kind == "-" else getattr(parts, kind)


def test_assets_are_those_of_the_design(graph, study) -> None:
    keys = {key.path[-1] for key in graph.get_all_asset_keys()}
    assert keys == set(ASSETS)
    assert {tuple(key.path[:-1]) for key in graph.get_all_asset_keys()} == {(study.name,)}


@pytest.mark.parametrize("name", ASSETS)
def test_asset_has_group_partitions_and_words(graph, study, name: str) -> None:
    group, kind, _ = ASSETS[name]
    node = graph.get(dg.AssetKey([study.name, name]))
    assert node.group_name == group
    assert node.partitions_def == _partitions(study, kind)
    assert len(node.description or "") > 20
    assert node.kinds


@pytest.mark.parametrize("name", ASSETS)
def test_checks_block_and_have_the_partitions_of_their_asset(graph, study, name: str) -> None:
    # Dagster accepts a check with other partitions than its asset's without a word.
    key = dg.AssetKey([study.name, name])
    nodes = [graph.get(one) for one in graph.asset_check_keys if one.asset_key == key]
    assert {node.key.name for node in nodes} == ASSETS[name][2]
    for node in nodes:
        assert node.blocking == (node.key.name not in ONLY_WARN)
        assert node.partitions_def == graph.get(key).partitions_def


def test_jobs_hold_every_asset_once_and_one_set_of_partitions_each(
    defs: dg.Definitions, study
) -> None:
    found: list[str] = []
    for name, kind in JOBS.items():
        job = defs.resolve_job_def(name)
        assert job.partitions_def == _partitions(study, kind)
        assert len(job.description or "") > 20
        found += [key.path[-1] for key in job.asset_layer.selected_asset_keys]
    assert sorted(found) == sorted(ASSETS)
    named = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert named == {*JOBS, REFRESH}
    assert len(defs.resolve_job_def(REFRESH).description or "") > 20


def test_strata_are_those_of_the_study_in_its_order(study) -> None:
    assert StudyPartitions.of(study).stratum.get_partition_keys() == ["pediatric", "adult"]


def test_picture_shows_every_asset_and_is_the_same_each_time(defs: dg.Definitions) -> None:
    picture = draw_assets(defs)
    assert picture.startswith("<?xml")
    assert [name for name in ASSETS if name not in picture] == []
    assert draw_assets(defs) == picture


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    code = (
        "import sys, genellm_dagster.definitions\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = _in_fresh_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_definitions_validate_with_dagster_home_at_the_root(tmp_path: Path) -> None:
    for name in ("dagster.yaml", "workspace.yaml"):
        (tmp_path / name).write_text((PROJECT_ROOT / name).read_text())
    dagster = Path(sys.executable).with_name("dagster")
    done = subprocess.run(
        [dagster, "definitions", "validate", "-w", "workspace.yaml"],
        cwd=tmp_path,
        env={**_environment(), "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "genellm" in done.stderr + done.stdout


def test_unknown_study_is_one_sentence_also_for_the_code_location(tmp_path: Path) -> None:
    done = _in_fresh_python("-c", "import genellm_dagster.definitions", GENELLM_STUDY="nowhere")
    assert done.returncode == 1
    assert "There is no study 'nowhere'" in done.stderr.splitlines()[-1]


def _environment(**others: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GENELLM_")}
    kept.pop("DAGSTER_HOME", None)
    return {**kept, **others}


def _in_fresh_python(*arguments: str, **others: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=_environment(**others),
        capture_output=True,
        text=True,
        timeout=120,
    )
