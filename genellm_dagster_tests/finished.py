"""A small simulated study, run once from GEO's files to the report by ``genellm demo``."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from genellm_dagster.cli import app
from genellm_dagster.defs.build import build_definitions
from genellm_dagster.defs.runs import StudyRunner, dagster_instance
from genellm_dagster.files import read_json, read_parquet, write_json, write_parquet, write_text
from genellm_dagster.settings import DEMO, FILE_VARIABLE, Settings, load_settings, study_of
from genellm_dagster.simulation.options import STANDARD_COHORTS, CohortPlan, SimulationOptions
from genellm_dagster.simulation.study import simulate_study
from genellm_dagster.store import Store
from genellm_dagster.studies.study import Study

CHILDREN, ADULTS = "pediatric", "adult"
CELLS = {CHILDREN: ["GSE9900001", "GSE9900003"], ADULTS: ["GSE9900004", "GSE9900005"]}
ONE_CLASS = "GSE9900006"
NEW = "GSE9900002"
NEW_WITHOUT_LABELS = "GSE9900002-GPL990003"

_PLANS = {plan.accession: plan for plan in STANDARD_COHORTS}
_SMALL = {"genes": 300, "sample_share": 0.3}
_COHORTS = (
    *(_PLANS[name] for cohorts in CELLS.values() for name in cohorts),
    CohortPlan(
        accession=ONE_CLASS, platform="GPL990003", stratum=ADULTS, title="Blood donors",
        cases=0, controls=30,
    ),
)  # fmt: skip


def quick_settings(folder: Path) -> dict[str, Any]:
    """Settings under which everything is run and nothing takes long."""
    cohorts = [plan.model_dump(mode="json") for plan in _COHORTS]
    return {
        "store": str(folder / "store"),
        "data_dir": str(folder / "data"),
        "backbone": "tiny",
        "simulation": {**_SMALL, "cohorts": cohorts},
        # The tiny backbone is so small that LoRA is more than the method's share of it.
        "model": {
            "adapter": {"max_trainable_share": 1.0},
            "training": {"epochs": 4, "ensemble": 2},
        },
        "controls": {"shuffled_labels": 2},
        "baselines": {"gradient_boosting": {"trees": 10}, "random_forest": {"trees": 10}},
        "evaluation": {
            "bootstraps": 100,
            "equal_size_resamples": 50,
            "separability_resamples": 20,
        },
        "interpretation": {
            "samples": 4,
            "background": 4,
            "gradient_samples": 1,
            "bootstraps": 10,
            # UMAP compiles for seconds; its own tests have it.
            "umap_min_samples": 1000,
        },
    }


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        folder: Of settings, store, descriptions, and the GEO of the new cohort.
    """

    folder: Path

    @property
    def settings_file(self) -> Path:
        return self.folder / "settings.yaml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def study_folder(self) -> Path:
        return self.store / DEMO

    @property
    def study_file(self) -> Path:
        return self.store / "simulated" / DEMO / f"{DEMO}.yaml"

    @property
    def other_geo(self) -> str:
        """GEO of the cohort that the study does not have."""
        return str(self.folder / "other" / "geo")

    def settings(self, **changes: Any) -> Settings:
        with self.environment():
            return load_settings(**{"study": DEMO, **changes})

    def study(self) -> Study:
        return study_of(self.settings())

    @property
    def of_study(self) -> Store:
        return Store(self.store, DEMO)

    def table(self, *parts: str) -> pd.DataFrame:
        return read_parquet(self.study_folder.joinpath(*parts[:-1], f"{parts[-1]}.parquet"))

    def json(self, *parts: str) -> Any:
        return read_json(self.study_folder.joinpath(*parts[:-1], f"{parts[-1]}.json"))

    @contextlib.contextmanager
    def environment(self):
        with pytest.MonkeyPatch.context() as patch:
            set_environment(patch, self.settings_file)
            yield

    @contextlib.contextmanager
    def instance(self):
        with self.environment(), dagster_instance(self.settings()) as instance:
            yield instance

    @contextlib.contextmanager
    def runner(self):
        settings, study = self.settings(), self.study()
        with self.instance() as instance:
            definitions = build_definitions(settings, study)
            yield StudyRunner(settings, study, definitions, instance, lambda _: None)


def set_environment(patch: pytest.MonkeyPatch, settings_file: Path) -> None:
    """Let ``genellm`` find these settings and nothing of the machine's own."""
    patch.setenv(FILE_VARIABLE, str(settings_file))
    for name in ("DAGSTER_HOME", "GENELLM_STORE", "GENELLM_STUDY", "GENELLM_BACKBONE"):
        patch.delenv(name, raising=False)


def run_demo(folder: Path) -> Finished:
    """Simulate, run, and keep what only this process knows: output, and scores in memory."""
    finished = Finished(folder)
    write_text(finished.settings_file, yaml.safe_dump(quick_settings(folder)))
    _describe_new_cohort(folder)
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, finished.settings_file)
        _keep_scores_in_memory(patch, folder)
        with contextlib.redirect_stdout(out):
            app(["demo", "--json"], standalone_mode=False)
    write_text(folder / "stdout.txt", out.getvalue())
    files = [path.relative_to(finished.store) for path in finished.store.rglob("*")]
    write_json(folder / "files.json", sorted(str(path) for path in files))
    return finished


def _describe_new_cohort(folder: Path) -> None:
    """Write a cohort that is not the study's, described with labels and without."""
    options = SimulationOptions.model_validate(
        {**_SMALL, "name": "other", "cohorts": [_PLANS[NEW].model_copy(update={"duplicates": 0})]}
    )
    other = simulate_study(folder / "other", options)
    rules = yaml.safe_load(other.study_file.read_text())["cohort_files"][NEW]
    write_text(folder / "data" / "cohorts" / f"{NEW}.yaml", yaml.safe_dump(rules))
    without = {**rules, "sample": {"label": []}}
    del without["expected_labels"]
    place = folder / "data" / "cohorts" / f"{NEW_WITHOUT_LABELS}.yaml"
    write_text(place, yaml.safe_dump(without))


def _keep_scores_in_memory(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Write the scores of each trained adapter before it has ever been on disk."""
    import numpy as np

    from genellm_dagster.genellm.prediction import predict
    from genellm_dagster.workflows import final_adapter

    train = final_adapter.fit_all

    def fit_and_score(model, backbone, states, samples, options, **others):
        adapter = train(model, backbone, states, samples, options, **others)
        said = predict(
            model, states, np.arange(len(samples)), adapter.members,
            options.prefix.head_layers, options.adapter,
        )  # fmt: skip
        scores = pd.DataFrame({"gsm": samples["gsm"].to_numpy(), "score": said.score})
        write_parquet(folder / "in_memory" / f"{samples['stratum'].iloc[0]}.parquet", scores)
        return adapter

    patch.setattr(final_adapter, "fit_all", fit_and_score)
