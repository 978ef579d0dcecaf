"""Tables of the age question: each measure by stratum with its difference, and transfer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genellm_dagster.reports import age
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import model_name, stratum_name
from genellm_dagster.reports.numbers import count, decimal, number_of, p_value, percent
from genellm_dagster.reports.tables.cells import (
    Cell,
    Column,
    Table,
    measure,
    path_words,
    whole,
    words,
)

# Section and key of a measure: what it is, and how to read it.
_WORDS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("discrimination", "auroc"): ("AUROC", "all samples"),
    ("equal_size", "auroc"): ("AUROC at equal size", "as many cases and controls in each stratum"),
    ("equal_size", "average_precision"): ("Average precision at equal size", "equal prevalence"),
    ("uncertainty", "entropy"): ("Entropy of the scores", "bits; more is less sure"),
    ("uncertainty", "entropy_balanced"): (
        "Entropy of the scores, balanced",
        "both classes weigh the same",
    ),
    ("uncertainty", "uncertainty_balanced"): (
        "Uncertainty the model states, balanced",
        "both classes weigh the same",
    ),
    ("uncertainty", "distance_from_half"): ("Distance from one half", "more is surer"),
    ("uncertainty", "uncertainty"): ("Uncertainty the model states", "more is less sure"),
    ("uncertainty", "spread"): ("Spread of the scores", "standard deviation"),
    ("separability", "silhouette_label"): ("Silhouette by label", "1: cases and controls apart"),
    ("separability", "silhouette_label_balanced"): (
        "Silhouette by label, balanced",
        "both classes weigh the same",
    ),
    ("separability", "silhouette_cohort"): ("Silhouette by cohort", "above 0: batches show"),
    ("separability", "fisher_ratio"): ("Fisher ratio", "between classes over within"),
    ("separability", "two_sample_label"): (
        "Two-sample test by label",
        "AUROC on held-out people; 0.5: cases and controls lie alike",
    ),
    ("separability", "two_sample_cohort"): (
        "Two-sample test by cohort",
        "AUROC on held-out people; above 0.5: batches show",
    ),
}


def by_stratum(content: ReportContent) -> Table | None:
    """Lay out each measure in each stratum, with the differences between strata."""
    comparison = content.age_comparison
    found = list(age.measures(comparison))
    if not found:
        return None
    strata = [name for name in content.strata if any(name in one.strata for one in found)]
    pairs = list(dict.fromkeys((d.first, d.second) for one in found for d in one.differences))
    columns = [Column("Measure"), *(Column(stratum_name(s), numeric=True) for s in strata)]
    columns += [
        Column(f"{stratum_name(first)} minus {second.replace('_', ' ')}", numeric=True)
        for first, second in pairs
    ]
    rows = []
    for one in found:
        name, meaning = _WORDS.get((one.section, one.key), (path_words([one.key]), ""))
        between = {(d.first, d.second): d.value for d in one.differences}
        rows.append(
            [
                Cell(name, small=meaning),
                *(measure(one.strata.get(s)) for s in strata),
                *(measure(between.get(pair)) for pair in pairs),
            ]
        )
    return Table(
        "strata",
        f"{model_name(age.reference(comparison))} in each stratum; below each number its 95 % "
        "interval",
        columns,
        rows,
        _size_note(comparison),
    )


def _size_note(comparison: Mapping[str, Any]) -> str:
    part = (comparison.get("discrimination") or {}).get(age.reference(comparison)) or {}
    equal = part.get("equal_size") or {}
    if number_of(equal.get("cases")) is None:
        return ""
    return (
        f"At equal size: {count(equal['cases'])} cases and {count(equal.get('controls'))} controls "
        f"(prevalence {percent(equal.get('prevalence'))}) drawn {count(equal.get('resamples'))} "
        "times from each stratum, so that size is not mistaken for biology. Separability is "
        "measured in the model's own space, not on the map."
    )


def overlap(content: ReportContent) -> Table | None:
    """Lay out how many top genes each pair of strata shares, beside chance."""
    pairs = (content.age_comparison.get("signatures") or {}).get("pairs") or []
    rows = []
    for pair in pairs:
        if number_of(pair.get("overlap")) is None:
            continue
        low, high = (decimal(pair.get(key), 0) for key in ("null_low", "null_high"))
        agreement = pair.get("direction_agreement") or {}
        same, of = agreement.get("same"), agreement.get("of")
        rows.append(
            [
                words(f"{stratum_name(str(pair['first']))} and {pair['second']}"),
                whole(pair.get("k")),
                whole(pair.get("genes")),
                whole(pair.get("overlap")),
                Cell(decimal(pair.get("expected"), 2), number_of(pair.get("expected"))),
                words(f"{low} to {high}"),
                Cell(p_value(pair.get("p_at_least")), number_of(pair.get("p_at_least"))),
                Cell(p_value(pair.get("p_at_most")), number_of(pair.get("p_at_most"))),
                words(None if same is None else f"{same} of {of}"),
                Cell(
                    decimal(pair.get("rank_correlation"), 2),
                    number_of(pair.get("rank_correlation")),
                ),
            ]
        )
    if not rows:
        return None
    return Table(
        "overlap",
        "Top genes that strata share, against permuted gene names",
        [
            Column("Strata"),
            Column("Length of the lists", numeric=True),
            Column("Genes to choose from", numeric=True),
            Column("Shared", numeric=True),
            Column("Expected by chance", numeric=True),
            Column("95 % of chance"),
            Column("P of as many", numeric=True),
            Column("P of as few", numeric=True),
            Column("Same direction"),
            Column("Rank correlation", numeric=True),
        ],
        rows,
    )


def transfer(content: ReportContent) -> Table | None:
    """Lay out how a model trained on one stratum does on another."""
    cells = content.age_comparison.get("transfer") or []
    rows = [
        [
            words(stratum_name(str(cell["trained_on"]))),
            words(stratum_name(str(cell["tested_on"]))),
            words(model_name(str(cell["model"]))),
            whole(cell.get("n")),
            whole(cell.get("cases")),
            measure(cell.get("auroc")),
            measure(cell.get("at_home_minus_transferred")),
        ]
        for cell in cells
        if number_of(cell.get("auroc")) is not None
    ]
    if not rows:
        return None
    return Table(
        "transfer",
        "Trained on one stratum, measured on another",
        [
            Column("Trained on"),
            Column("Measured on"),
            Column("Model"),
            Column("Samples", numeric=True),
            Column("Cases", numeric=True),
            Column("AUROC", numeric=True),
            Column("Own stratum's model is better by", numeric=True),
        ],
        rows,
        str((content.age_comparison.get("transfer_about") or {}).get("note") or ""),
    )
