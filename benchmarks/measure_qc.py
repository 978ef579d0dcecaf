"""What quality control says of every series of real studies, cohort by cohort and stratum.

Fetches and reads the studies beside the repository as the assets do, and prints a table of the
summaries, which samples left and why, and the warnings. The expressed sex is held against the
recorded one, which took no part in it. Series of the mirror that no study names are judged as
tables of symbols, without a sample sheet.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.expression.qc import quality_control
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.options import GeoOptions
from genellm_dagster.geo.series import fetch_series, read_series
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import load_study
from genellm_dagster.studies.study import Study

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def cells(study: Study, geo: Path, folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Judge each cohort in each of its strata: cohort, stratum, summary."""
    options = ExpressionOptions()
    with GeoClient(str(geo), GeoOptions()) as client:
        for name in study.cohorts:
            cohort = study.cohort(name)
            series = read_series(folder / name, fetch_series(client, cohort, folder / name))
            sheet = build_sample_sheet(series.samples, cohort, study)
            built = build_expression(series.values, series.id_table, cohort, series.kind, options)
            for stratum, ages in study.strata.items():
                rows = sheet[sheet["stratum"] == stratum]
                if not rows["used"].any():
                    continue
                start = time.perf_counter()
                found = quality_control(
                    built.table,
                    rows,
                    options.qc,
                    bounds=(ages.min_age, ages.max_age),
                    scale=built.report["scale"]["kind"],
                )
                summary = {**found.summary, "scale": built.report["scale"]["kind"]}
                yield name, stratum, {**summary, "seconds": time.perf_counter() - start}


def series_alone(name: str, geo: Path, folder: Path) -> dict[str, Any]:
    """Judge a series of symbols by its values alone."""
    options = ExpressionOptions()
    bare = {"accession": name, "platform": "GPL570", "id_type": "symbol", "sample": {"label": []}}
    cohort = Cohort.model_validate(bare)
    with GeoClient(str(geo), GeoOptions()) as client:
        series = read_series(folder, fetch_series(client, cohort, folder))
    built = build_expression(series.values, series.id_table, cohort, series.kind, options)
    kind = built.report["scale"]["kind"]
    rows = pd.DataFrame({"gsm": built.table.columns})
    start = time.perf_counter()
    summary = quality_control(built.table, rows, options.qc, scale=kind).summary
    return {**summary, "scale": kind, "seconds": time.perf_counter() - start}


def shown(value: float | None, digits: int = 2) -> str:
    """A number, or that there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def row(study: str, cohort: str, stratum: str, summary: dict[str, Any]) -> str:
    """One line of the table."""
    sex, saturation = summary["sex"], summary["saturation"]
    told = "-" if sex["why_not"] else f"{sex['expressed_female']}/{sex['expressed_male']}"
    outliers = sum(summary["outliers"].values())
    return " | ".join(
        [
            f"| {study} {stratum}",
            cohort,
            summary["scale"],
            f"{summary['genes_kept']}/{summary['genes']}",
            f"{summary['samples_kept']}/{summary['samples']}",
            f"{summary['samples_with_remarks']}",
            "-" if summary["cases"] is None else f"{summary['cases']}/{summary['controls']}",
            f"{summary['missing_share']:.1%}",
            shown(summary["median_log2"], 1),
            shown(summary["iqr_log2"], 1),
            shown(summary["correlation"]),
            f"{outliers}{'' if summary['outliers_can_be_left_out'] else ' (stay)'}",
            f"{sex['recorded_female']}/{sex['recorded_male']}",
            told,
            f"{sex['agree']}/{sex['disagree']}/{sex['unknown']}",
            f"{summary['ages']['known']}/{summary['ages']['outside']}",
            f"{saturation['floor_share']:.1%}",
            f"{saturation['ceiling_share_max']:.1%}",
            f"{summary['genes_constant']}/{summary['genes_suspicious']}",
            f"{summary['rounds']}",
            f"{summary['seconds']:.2f} |",
        ]
    )


HEAD = (
    "study and stratum", "cohort", "scale", "genes kept", "samples kept", "remarks",
    "cases/controls", "missing", "median", "IQR", "correlation", "outliers", "recorded f/m",
    "expressed f/m", "sex agrees/not/unknown", "ages known/outside", "at floor",
    "at ceiling, worst", "genes constant/suspicious", "rounds", "s",
)  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--geo-root", type=Path, default=SHARED / "geo")
    parser.add_argument(
        "--study", type=Path, action="append", help="a study file or a folder of them; may repeat"
    )
    parser.add_argument("--json", type=Path, help="where to write the summaries")
    arguments = parser.parse_args()
    asked = arguments.study or [SHARED / "studies"]
    files = [f for one in asked for f in (sorted(one.glob("*.yaml")) if one.is_dir() else [one])]
    everything: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    for file in files:
        study = load_study(file, data_dir=ROOT / "data")
        with tempfile.TemporaryDirectory() as folder:
            for cohort, stratum, summary in cells(study, arguments.geo_root, Path(folder)):
                everything[f"{study.name} {stratum} {cohort}"] = summary
                print(row(study.name, cohort, stratum, summary), flush=True)
                seen.add(cohort)
    here = [] if arguments.study else [p.name for p in arguments.geo_root.glob("series/*/*")]
    for name in sorted(one for one in {*here} - seen if re.fullmatch(r"GSE\d+", one)):
        with tempfile.TemporaryDirectory() as folder:
            everything[name] = series_alone(name, arguments.geo_root, Path(folder))
        print(row("no study", name, "", everything[name]), flush=True)
    for name, summary in everything.items():
        why_not = summary["sex"]["why_not"]
        print(f"\n{name}" + (f" (sex not told: {why_not})" if why_not else ""))
        for one in summary["samples_left_out"]:
            print(f"  left out {one['gsm']}: {one['reasons']}")
        for name_of, count in summary["outliers"].items():
            if count:
                print(f"  remark: {name_of}: {count}")
        for warning in summary["warnings"]:
            print(f"  warning: {warning}")
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1, allow_nan=False))


if __name__ == "__main__":
    main()
