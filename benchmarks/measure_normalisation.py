"""What each normalisation and harmonisation is worth to logistic regression on the real studies.

Fetches and reads the studies beside the repository as the assets do, takes the project's folds and
genes, and prints AUROC with its interval, pooled and inside cohorts, the paired difference from the
default, and the share of variance that cohort, platform and label explain before and after.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.baselines.classical import Training, fit_logistic_regression
from genellm_dagster.baselines.options import BaselineOptions
from genellm_dagster.errors import ExpressionError
from genellm_dagster.evaluation.folds import Fold, Folds, make_folds
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.evaluation.report import evaluate
from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.fold_profiles import FoldProfiles, profiles_of_fold
from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.expression.profile_options import (
    HarmonisationOptions,
    NormalisationOptions,
)
from genellm_dagster.expression.qc import quality_control
from genellm_dagster.expression.variance import explained_by_state
from genellm_dagster.expression.vocabulary import choose_vocabulary
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.series import fetch_series, read_series
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import load_study
from genellm_dagster.studies.plan import samples_by_stratum
from genellm_dagster.studies.study import Study
from genellm_dagster.workflows.stratum import StratumSamples, stratum_samples

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
NORMALISATIONS = {
    "rank_normal": {},
    "rank_normal, vocabulary": {"method": "rank_normal", "scope": "vocabulary"},
    "within_sample_z": {"method": "within_sample_z"},
    "quantile": {"method": "quantile"},
    "reference_quantiles": {"method": "reference_quantiles"},
    "gene_z": {"method": "gene_z"},
}
HARMONISATIONS = ("none", "combat", "coconut")
DEFAULT = "rank_normal | none"


@dataclass
class Stratum:
    """A stratum as the models see it."""

    name: str
    data: StratumSamples
    genes: list[str]
    folds: Folds
    platforms: dict[str, str]
    marks: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def read_study(study: Study, geo: Path, folder: Path) -> list[Stratum]:
    """Read a study from GEO's files to folds."""
    options = ExpressionOptions()
    sheets, tables = {}, {}
    with GeoClient(str(geo), GeoOptions()) as client:
        for name in study.cohorts:
            cohort = study.cohort(name)
            series = read_series(folder / name, fetch_series(client, cohort, folder / name))
            sheets[name] = build_sample_sheet(series.samples, cohort, study)
            found = build_expression(series.values, series.id_table, cohort, series.kind, options)
            tables[name] = found.table
    strata = []
    for stratum, cohorts in samples_by_stratum(sheets, study).cells.items():
        own = {}
        for name in cohorts:
            rows = sheets[name][sheets[name]["stratum"] == stratum]
            own[stratum, name] = quality_control(tables[name], rows, options.qc).table
        data = stratum_samples(study, stratum, sheets, own)
        genes = choose_vocabulary(data.tables, options.vocabulary).table["gene"].tolist()
        folds = make_folds(data.samples, None, EvaluationOptions())
        platforms = {name: study.cohort(name).platform for name in data.tables}
        strata.append(Stratum(f"{study.name} {stratum}", data, genes, folds, platforms))
    return strata


def fold_profiles(
    stratum: Stratum, fold: Fold, normalisation: NormalisationOptions, method: str
) -> FoldProfiles:
    """Profiles of both sides of a fold; all that is learned is learned on its training side."""
    samples = stratum.data.samples
    return profiles_of_fold(
        stratum.data.tables,
        stratum.genes,
        fold.train,
        fold.test,
        normalisation=normalisation,
        harmonisation=HarmonisationOptions(method=method),
        controls=samples.loc[samples["case"] == 0, "gsm"].tolist(),
    )


def predict(stratum: Stratum, normalisation: NormalisationOptions, method: str) -> pd.DataFrame:
    """Out-of-fold scores of the project's logistic regression."""
    samples = stratum.data.samples.set_index("gsm", drop=False)
    options, seed = BaselineOptions(), EvaluationOptions().seed
    parts = []
    for fold in stratum.folds:
        found = fold_profiles(stratum, fold, normalisation, method)
        profiles = found.profiles
        model = f"{normalisation.method} | {method}"
        stratum.marks.setdefault(model, [mark.split(" (")[0] for mark in found.marks])
        rows = samples.loc[list(fold.train)]
        persons = rows["cohort"].astype(str) + "|" + rows["subject"].astype(str)
        training = Training(
            values=profiles.loc[list(fold.train)].to_numpy(dtype=np.float64),
            case=rows["case"].to_numpy(dtype=int),
            cohorts=rows["cohort"].to_numpy(object),
            persons=persons.to_numpy(object),
        )
        fitted = fit_logistic_regression(training, options, seed)
        test = samples.loc[list(fold.test), ["gsm", "cohort", "subject", "case"]]
        score = fitted.predict(profiles.loc[list(fold.test)].to_numpy(dtype=np.float64))
        parts.append(test.assign(fold=fold.name, score=np.clip(score, 0, 1)))
    return pd.concat(parts, ignore_index=True)


def measure(stratum: Stratum) -> dict[str, Any]:
    """Judge every combination on the same folds; several cohorts are needed to harmonise."""
    tables = []
    several = len(stratum.data.tables) > 1
    for name, chosen in NORMALISATIONS.items():
        normalisation = NormalisationOptions(**chosen)
        for method in HARMONISATIONS if several else ("none",):
            model = f"{name} | {method}"
            try:
                scores = predict(stratum, normalisation, method)
            except ExpressionError as error:
                stratum.refused[model] = str(error)
                continue
            tables.append(scores.assign(model=model))
    options = EvaluationOptions(reference_model=DEFAULT, bootstraps=100)
    return evaluate(
        "real", stratum.name, pd.concat(tables), stratum.folds, options, developed_on={}
    )


def variance(stratum: Stratum) -> pd.DataFrame | None:
    """Share of variance by cohort, platform and label, all cohorts together, as a picture has it.

    Everything is fitted on all samples here: this describes, it predicts nothing.
    """
    samples = stratum.data.samples.set_index("gsm")
    if samples["cohort"].nunique() < 2:
        return None
    factors = samples[["cohort", "case"]].copy()
    factors.insert(1, "platform", samples["cohort"].map(stratum.platforms))
    everyone = Fold("all", tuple(samples.index), ())
    states = {
        f"{name} | {method}": fold_profiles(
            stratum, everyone, NormalisationOptions(**NORMALISATIONS[name]), method
        ).profiles.loc[samples.index]
        for name in ("rank_normal", "gene_z")
        for method in HARMONISATIONS
    }
    return explained_by_state(states, factors)


def shown(interval: dict[str, Any]) -> str:
    """A value with its interval."""
    if interval["value"] is None:
        return f"{interval.get('reason', '')}"
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def print_report(stratum: Stratum, report: dict[str, Any]) -> None:
    """Print one stratum."""
    sizes = ", ".join(
        f"{name} {part['cases']}/{part['n']}"
        for name, part in next(iter(report["models"].values()))["cohorts"].items()
    )
    print(
        f"\n## {stratum.name}: n {report['n']}, cases {report['cases']}, prevalence "
        f"{report['prevalence']:.2f}, {len(stratum.genes)} genes, {stratum.folds.kind} "
        f"({len(stratum.folds)} folds); cases/n {sizes}\n"
    )
    print(
        "| normalisation | harmonisation | AUROC pooled | inside cohorts | minus default | uses |"
    )
    print("|---|---|---|---|---|---|")
    differences = {one["model"]: one for one in report["comparisons"]}
    for model, found in report["models"].items():
        name, method = model.split(" | ")
        inside = report["within_cohorts"][model]["auroc"]
        # The report's difference is reference minus model; a table reads better the other way.
        apart = differences.get(model, {}).get("auroc_difference")
        minus = (
            f"{0 - apart['value']:+.3f} [{0 - apart['high']:+.3f}, {0 - apart['low']:+.3f}]"
            if apart
            else "(default)"
        )
        marks = "; ".join(stratum.marks[f"{name.split(',')[0]} | {method}"])
        print(
            f"| {name} | {method} | {shown(found['auroc'])} | {shown(inside)} | {minus} | {marks} |"
        )
    for model, reason in stratum.refused.items():
        print(f"{model} refused: {reason}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--geo-root", type=Path, default=SHARED / "geo")
    parser.add_argument("--study", type=Path, action="append", help="a study file; may be repeated")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    arguments = parser.parse_args()
    files = arguments.study or [SHARED / "studies" / f"{n}_real.yaml" for n in ("sepsis", "tb")]
    # A penalty path may stop a hair before scikit-learn's tolerance; the project accepts that too.
    warnings.filterwarnings("ignore", category=UserWarning)
    start, everything = time.perf_counter(), {}
    for file in files:
        study = load_study(file, data_dir=ROOT / "data")
        with tempfile.TemporaryDirectory() as folder:
            strata = read_study(study, arguments.geo_root, Path(folder))
        for stratum in strata:
            report = measure(stratum)
            print_report(stratum, report)
            shares = variance(stratum)
            if shares is not None:
                print("\nshare of variance alone / beyond the other factors")
                print(shares.round(3).to_string(index=False))
            everything[stratum.name] = {
                "report": report,
                "variance": None
                if shares is None
                else json.loads(shares.to_json(orient="records")),
            }
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1))
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
