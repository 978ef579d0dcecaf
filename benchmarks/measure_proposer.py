"""How well cohort files are proposed: labels, ages, sexes and people against curated cohort files.

    python benchmarks/measure_proposer.py --geo ../shared/geo --studies ../shared/studies/*.yaml

The truth is what the rules of the studies' own cohorts read from the same samples. A label counts
as abstained where the proposal leaves a sample open.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from genellm_dagster.geo.header import parse_header
from genellm_dagster.studies.curation import build_sample_sheet
from genellm_dagster.studies.loading import load_study
from genellm_dagster.studies.proposal import Proposal, SeriesFacts, propose_cohort
from genellm_dagster.studies.study import Study

CONFIDENT = 0.9
MAX_HEADER_LINES = 100_000
FIRST_IDS = 500
AGE_TOLERANCE_YEARS = 0.1


@dataclass(frozen=True)
class Score:
    """How one series came out.

    ``open`` counts the samples that the truth leaves without a label and the proposal does not make
    a case or control; ``made_up`` those that it does, which are wrong too.
    """

    series: str
    samples: int
    right: int
    wrong: int
    abstained: int
    made_up: int
    open: int
    wrong_confident: int
    confidence: float
    ages: tuple[int, int]
    sexes: tuple[int, int]
    people: str
    stratum: str

    @property
    def row(self) -> dict[str, object]:
        """One line of the table."""
        return {
            "series": self.series,
            "samples": self.samples,
            "right": self.right,
            "wrong": self.wrong + self.made_up,
            "abstained": self.abstained,
            "open": self.open,
            f"wrong > {CONFIDENT:g}": self.wrong_confident,
            "confidence": f"{self.confidence:.2f}",
            "ages": _of(self.ages),
            "sexes": _of(self.sexes),
            "people": self.people,
            "stratum": self.stratum,
        }


def _of(pair: tuple[int, int]) -> str:
    return f"{pair[0]}/{pair[1]}" if pair[1] else "-"


def score_labels(proposal: Proposal, truth: Sequence[str | None], study: Study) -> dict[str, int]:
    """Compare labels; a true label of None means that the sample must be no case and no control."""
    counts = dict.fromkeys(("right", "wrong", "abstained", "made_up", "open", "wrong_confident"), 0)
    for label, sure, expected in zip(
        proposal.labels, proposal.label_confidence, truth, strict=True
    ):
        if expected is None:
            kind = "made_up" if label and study.class_of(label) is not None else "open"
        elif label is None:
            kind = "abstained"
        else:
            kind = "right" if label == expected else "wrong"
        counts[kind] += 1
        counts["wrong_confident"] += kind in ("wrong", "made_up") and sure > CONFIDENT
    return counts


def score_series(
    name: str, samples: pd.DataFrame, facts: SeriesFacts, study: Study, truth: pd.DataFrame
) -> Score:
    """Propose a cohort and hold it against the sample sheet that is taken as the truth."""
    proposal = propose_cohort(samples, facts, study)
    sheet = build_sample_sheet(samples, proposal.cohort, study)
    expected = [None if pd.isna(label) else str(label) for label in truth["label"]]
    counts = score_labels(proposal, expected, study)
    known = truth["age_years"].notna().to_numpy()
    near = (sheet["age_years"] - truth["age_years"]).abs().le(AGE_TOLERANCE_YEARS).to_numpy()
    sexed = truth["sex"].notna().to_numpy()
    same_sex = (sheet["sex"] == truth["sex"]).to_numpy()
    strata = sheet["stratum"].eq(truth["stratum"]) & truth["stratum"].notna()
    return Score(
        name, len(samples), **counts, confidence=proposal.confidence,
        ages=(int((near & known).sum()), int(known.sum())),
        sexes=(int((same_sex & sexed).sum()), int(sexed.sum())),
        people=f"{sheet['subject'].nunique()}",
        stratum=f"{int(strata.sum())}/{int(truth['stratum'].notna().sum())}",
    )  # fmt: skip


def read_start(path: Path) -> tuple[dict[str, list[str]], pd.DataFrame, tuple[str, ...]]:
    """Read the header and the first ids of a series matrix."""
    with gzip.open(path, "rb") as file:
        header: list[bytes] = []
        for line in islice(file, MAX_HEADER_LINES):
            if line.startswith(b"!series_matrix_table_begin"):
                break
            header.append(line)
        rows = [line.split(b"\t")[0].decode("latin-1").strip().strip('"')
                for line in islice(file, FIRST_IDS)]  # fmt: skip
    series, samples = parse_header(b"".join(header), str(path))
    ids = tuple(text for text in rows[1:] if text and not text.startswith("!"))
    return series, samples, ids


def facts_of(accession: str, series: dict[str, list[str]], ids: tuple[str, ...]) -> SeriesFacts:
    """Facts of a series as its header tells them."""
    counts = bool(not ids)
    return SeriesFacts(
        accession=accession,
        title=" ".join(series.get("title", [])),
        summary=" ".join(series.get("summary", [])),
        overall_design=" ".join(series.get("overall_design", [])),
        series_type=" ".join(series.get("type", [])),
        relations=tuple(series.get("relation", [])),
        ids=ids,
        has_values=bool(ids),
        has_ncbi_counts=counts or None,
    )


def measure(geo: Path, studies: Iterable[Path], data_dir: Path) -> list[Score]:
    """Score every cohort of the studies whose matrix is in the mirror."""
    scores = []
    for file in studies:
        study = load_study(file, data_dir=data_dir)
        for name in study.cohorts:
            cohort = study.cohort(name)
            for path in sorted((geo / "series").glob(f"*/{cohort.accession}/matrix/*.gz")):
                series, samples, ids = read_start(path)
                truth = build_sample_sheet(samples, cohort, study)
                facts = facts_of(cohort.accession, series, ids)
                scores.append(score_series(name, samples, facts, study, truth))
    return scores


def table(scores: Sequence[Score]) -> str:
    """Write scores with their totals."""
    frame = pd.DataFrame([score.row for score in scores])
    right, wrong = sum(s.right for s in scores), sum(s.wrong + s.made_up for s in scores)
    abstained = sum(s.abstained for s in scores)
    labelled = right + abstained + sum(s.wrong for s in scores)
    return (
        f"{frame.to_string(index=False)}\n"
        f"labels: {right} of {labelled} right ({right / max(labelled, 1):.1%}), {wrong} wrong, "
        f"{abstained} abstained, {sum(s.wrong_confident for s in scores)} wrong above {CONFIDENT:g}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--geo", type=Path, required=True, help="folder in GEO's layout")
    parser.add_argument("--studies", type=Path, nargs="+", required=True, help="study files")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    print(table(measure(arguments.geo, arguments.studies, arguments.data_dir)))


if __name__ == "__main__":
    main()
