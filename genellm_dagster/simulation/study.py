"""A whole simulated study on disk: GEO files, the study file that reads them, and the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import StoreError
from genellm_dagster.files import atomic_folder, write_json, write_text
from genellm_dagster.simulation.cohorts import SimulatedCohort, simulate_cohort
from genellm_dagster.simulation.genes import describe_genes, plant_genes
from genellm_dagster.simulation.geo_files import (
    annotation_path,
    matrix_path,
    write_annotation,
    write_series_matrix,
)
from genellm_dagster.simulation.options import CohortPlan, SimulationOptions
from genellm_dagster.simulation.probes import measure_probes, probe_table
from genellm_dagster.simulation.study_file import DISCLAIMER, WORDS, study_yaml
from genellm_dagster.simulation.truth import planted_truth

TRUTH_FILE = "truth.json"
_WHEN = "Jan 01 2024"


@dataclass(frozen=True)
class SimulatedStudy:
    """Where a simulated study lies.

    Attributes:
        study_file: Its study file, cohort descriptions inline.
        geo_root: The folder that stands for GEO.
        truth: What was planted; the same as ``truth.json`` beside the study file.
    """

    study_file: Path
    geo_root: Path
    truth: dict[str, Any]

    @property
    def truth_file(self) -> Path:
        """Where the truth lies."""
        return self.study_file.parent / TRUTH_FILE

    def cohorts(self) -> pd.DataFrame:
        """Return the series as they were written, one a row, for people."""
        return pd.DataFrame(
            [
                {
                    "cohort": name,
                    "stratum": one["stratum"],
                    "samples": one["samples"],
                    "cases": one["written_cases"],
                    "controls": one["written_controls"],
                    "prevalence": one["prevalence"],
                    "mislabelled": len(one["mislabelled"]),
                    "poor arrays": len(one["poor_arrays"]),
                    "genes not measured": len(one["absent_genes"]),
                    "of earlier series": sum(
                        pair["cohort_b"] == name for pair in self.truth["same_person"]
                    ),
                }
                for name, one in self.truth["cohorts"].items()
            ]
        )

    def planted(self) -> list[str]:
        """Return what was planted, one sentence a stratum, and what the strata share."""
        lines = []
        for name, one in self.truth["strata"].items():
            effects = np.abs([gene["cohens_d"] for gene in one["planted"]])
            lines.append(
                f"{name}: {len(effects)} genes planted, Cohen's d {effects.min():.2f} to "
                f"{effects.max():.2f}"
            )
        shared, opposite = (
            self.truth[key] for key in ("planted_in_all", "planted_in_opposite_directions")
        )
        lines.append(f"in every stratum: {len(shared)} of them, {len(opposite)} the other way")
        return lines


def simulate_study(
    destination: Path, options: SimulationOptions | None = None, seed: int | None = None
) -> SimulatedStudy:
    """Simulate a study and write it: ``<name>.yaml``, ``truth.json`` and ``geo/``.

    The same options and seed give the same bytes.

    Args:
        destination: A folder that does not exist, is empty, or holds an earlier simulation, which
            is replaced.
        options: How large, hard and untidy; the standard demo when None.
        seed: Seed of everything random; the options' when None.

    Raises:
        StoreError: When the folder holds something else.
        ExpressionError: When there are fewer genes than the options ask for.
    """
    options = options or SimulationOptions()
    seed = options.seed if seed is None else seed
    options = options.model_copy(update={"seed": seed})
    if destination.exists() and not _may_replace(destination):
        raise StoreError(
            f"{destination} holds something other than a simulated study; name an empty or a new "
            "folder."
        )
    planted = plant_genes(options, seed)
    genes = describe_genes(options, planted, seed)
    first: dict[str, SimulatedCohort] = {}
    cohorts: list[SimulatedCohort] = []
    for number, plan in enumerate(options.cohorts):
        effects, earlier = planted[plan.stratum], first.get(plan.stratum)
        cohort = simulate_cohort(options, number, genes, effects, earlier, seed)
        first.setdefault(plan.stratum, cohort)
        cohorts.append(cohort)
    truth = planted_truth(options, planted, genes, cohorts, seed)
    with atomic_folder(destination) as folder:
        for cohort in cohorts:
            _write_cohort(folder / "geo", cohort, seed)
        write_text(folder / f"{options.name}.yaml", study_yaml(options, cohorts))
        write_json(folder / TRUTH_FILE, truth)
    return SimulatedStudy(destination / f"{options.name}.yaml", destination / "geo", truth)


def _may_replace(folder: Path) -> bool:
    return folder.is_dir() and ((folder / TRUTH_FILE).is_file() or not any(folder.iterdir()))


def written_ages(plan: CohortPlan, people: pd.DataFrame) -> list[str]:
    """Return the ages as a series of this plan writes them, ``NA`` where not recorded.

    Cut to completed units, not rounded: 17.98 years must not be written as 18.0, which is another
    stratum.
    """
    per_year = {"years": 1.0, "months": 12.0}[plan.age_unit]
    digits = 1 if plan.age_unit == "years" and plan.stratum == "pediatric" else 0
    units = np.floor(people["age_years"] * per_year * 10**digits) / 10**digits
    return [
        f"{age:.{digits}f}" if known else "NA"
        for age, known in zip(units, people["age_recorded"], strict=True)
    ]


def _sample_lines(cohort: SimulatedCohort, rows: int) -> list[tuple[str, list[str]]]:
    plan, people = cohort.plan, cohort.people
    count = len(people)
    labels = [WORDS.get(label, "") for label in people["label"]]
    times = [f", {time}" if plan.repeated else "" for time in people["timepoint"]]
    who = [f"patient {s}{t}" for s, t in zip(people["subject"], times, strict=True)]
    titles = [f"Whole blood, {one}" for one in who]
    characteristics = [f"disease state: {one}" if one else "" for one in labels]
    if plan.label_in == "title":
        titles = [f"{one or 'Unknown'}, {name}" for one, name in zip(labels, who, strict=True)]
        characteristics = ["tissue: whole blood"] * count
    columns = [characteristics, [f"patient id: {subject}" for subject in people["subject"]]]
    if plan.age_unit != "none":
        columns.append([f"age ({plan.age_unit}): {text}" for text in written_ages(plan, people)])
    letters = plan.ids == "illumina"
    columns.append([f"Sex: {sex[0].upper() if letters else sex}" for sex in people["sex"]])
    if plan.repeated:
        columns.append([f"time point: {time}" for time in people["timepoint"]])
    if plan.batches > 1:
        columns.append([f"processing batch: {batch}" for batch in people["batch"]])
    return [
        ("title", titles),
        ("geo_accession", list(people["gsm"])),
        ("status", [f"Public on {_WHEN}"] * count),
        ("type", ["RNA"] * count),
        ("channel_count", ["1"] * count),
        ("source_name_ch1", ["Whole blood"] * count),
        ("organism_ch1", ["Homo sapiens"] * count),
        *(("characteristics_ch1", column) for column in columns),
        ("molecule_ch1", ["total RNA"] * count),
        ("description", ["SIMULATED"] * count),
        ("platform_id", [plan.platform] * count),
        ("data_row_count", [str(rows)] * count),
    ]


def _write_cohort(root: Path, cohort: SimulatedCohort, seed: int) -> None:
    plan, values = cohort.plan, cohort.values
    if plan.ids == "symbol":
        ids, cells = list(values.index), values.to_numpy()
    else:
        probes = probe_table(plan.ids, plan.platform, list(values.index), seed)
        ids, cells = list(probes["id"]), measure_probes(values, probes, seed, plan.accession)
        title = f"SIMULATED array, ids as of {plan.ids.capitalize()}"
        write_annotation(annotation_path(root, plan.platform), plan.platform, title, probes)
    series = [
        ("title", f"SIMULATED: {plan.title}"),
        ("geo_accession", plan.accession),
        ("status", f"Public on {_WHEN}"),
        ("submission_date", _WHEN),
        ("last_update_date", _WHEN),
        ("summary", DISCLAIMER),
        ("overall_design", f"SIMULATED: {len(cohort.people)} samples of whole blood"),
        ("type", "Expression profiling by array"),
        ("sample_id", " ".join(cohort.people["gsm"])),
        ("platform_id", plan.platform),
        ("platform_taxid", "9606"),
        ("sample_taxid", "9606"),
    ]
    linear = plan.scale == "linear"
    write_series_matrix(
        matrix_path(root, plan.accession),
        series,
        _sample_lines(cohort, len(ids)),
        ids,
        np.exp2(cells) if linear else cells,
        "%.2f" if linear else "%.4f",
    )
