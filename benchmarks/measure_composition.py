"""What the marker genes of blood cells say on the real studies, and whether they hold together.

Reads the studies beside the repository as the assets do and prints, for each cohort and stratum:
how many markers are measured, how cases differ from controls in each kind of cell (AUROC of the
score; above one half is more in cases), and how far the markers of a class follow each other, and
the class that they follow most besides. Labels are only compared with, nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from measure_normalisation import ROOT, SHARED, read_study

from genellm_dagster.expression.cell_markers import COVERAGE, load_markers
from genellm_dagster.expression.composition import blood_composition, marker_coherence
from genellm_dagster.expression.gene_lists import read_gene_list
from genellm_dagster.expression.options import CompositionOptions
from genellm_dagster.studies.loading import load_study

# Antiviral interferon signature and type I interferon response.
_INTERFERON = ("M75", "M127")


def auroc(scores: np.ndarray, case: np.ndarray) -> float:
    """Share of pairs of a case and a control in which the case is higher; ties count half."""
    ill, well = scores[case == 1], scores[case == 0]
    ill, well = ill[np.isfinite(ill)], well[np.isfinite(well)]
    if not len(ill) or not len(well):
        return float("nan")
    above = ill[:, None] - well[None, :]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def by_class(table: pd.DataFrame, case: pd.Series, rivals: dict[str, list[str]]) -> pd.DataFrame:
    """One row a class: markers, scored samples, AUROC, and the coherence of its markers."""
    markers = load_markers()
    scores = blood_composition(table, markers)
    coherence = marker_coherence(table, markers, rivals).groupby("cell_class")
    own, other = coherence["own"].mean(), coherence["other"].mean()
    rows = []
    for name in markers.classes:
        known = markers.genes(name)
        rows.append(
            {
                "cell class": name,
                "markers": f"{round(scores[COVERAGE + name].max() * len(known))}/{len(known)}",
                "scored": int(scores[name].notna().sum()),
                "AUROC case": auroc(scores[name].to_numpy(), case[scores["gsm"]].to_numpy()),
                "own": own.get(name, np.nan),
                "strongest other": other.get(name, np.nan),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--geo-root", type=Path, default=SHARED / "geo")
    parser.add_argument("--study", type=Path, action="append", help="a study file; may be repeated")
    arguments = parser.parse_args()
    files = arguments.study or [SHARED / "studies" / f"{n}_real.yaml" for n in ("tb", "sepsis")]
    rivals = {"interferon": list(read_gene_list("btm", _INTERFERON).genes)}
    for file in files:
        study = load_study(file, data_dir=ROOT / "data")
        with tempfile.TemporaryDirectory() as folder:
            strata = read_study(study, arguments.geo_root, Path(folder))
        for stratum in strata:
            case = stratum.data.samples.set_index("gsm")["case"]
            for cohort, table in stratum.data.tables.items():
                print(f"\n## {stratum.name} {cohort}: {table.shape[1]} samples, {len(table)} genes")
                if len(table) < CompositionOptions().min_genes:
                    print(blood_composition(table)["why_not"].value_counts().to_string())
                    continue
                print(by_class(table, case, rivals).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
