"""Further tables of the age question: between cohorts, along age, beyond blood cells, gene sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import label_words, model_name, stratum_name
from genellm_dagster.reports.numbers import bounds_of, count, decimal, number_of, p_value, percent
from genellm_dagster.reports.tables.cells import Cell, Column, Table, measure, whole, words

_SETS_SHOWN = 5


def between_cohorts(content: ReportContent) -> Table | None:
    """Lay out what logistic regression trained on one cohort is worth on each other."""
    cells = content.age_comparison.get("transfer_between_cohorts") or []
    names = list(dict.fromkeys([str(c["trained_on"]) for c in cells]))
    tested = list(dict.fromkeys([*names, *(str(c["tested_on"]) for c in cells)]))
    found = {(str(c["trained_on"]), str(c["tested_on"])): c for c in cells}
    if not cells:
        return None
    rows = []
    for trained in names:
        row = [words(_cohort(trained))]
        for one in tested:
            cell = found.get((trained, one), {})
            shown = measure(cell.get("auroc"))
            row.append(Cell(shown.text, shown.order, trained == one, shown.small))
        rows.append(row)
    sizes = {
        str(c["tested_on"]): f"n {count(c['n'])}, prevalence {percent(c.get('prevalence'))}"
        for c in cells
        if number_of(c.get("n"))
    }
    return Table(
        "cohort-transfer",
        "Logistic regression trained on one cohort (row), measured on another (column): AUROC",
        [
            Column("Trained on"),
            *(Column(_cohort(one), sizes.get(one, ""), numeric=True) for one in tested),
        ],
        rows,
        "On its own cohort (in bold) each person is scored by models that did not see that person.",
    )


def _cohort(name: str) -> str:
    stratum, _, cohort = name.partition("/")
    return f"{cohort} ({label_words(stratum)})" if cohort else name


def along_age(content: ReportContent) -> Table | None:
    """Lay out AUROC in overlapping windows of age."""
    rows = []
    for model, strata in (content.age_comparison.get("along_age") or {}).items():
        for stratum, part in strata.items():
            for window in part.get("windows") or []:
                ages = f"{decimal(window['from'], 0)} to {decimal(window['to'], 0)}"
                rows.append(
                    [
                        words(model_name(str(model))),
                        words(stratum_name(str(stratum))),
                        Cell(ages, number_of(window.get("median"))),
                        whole(window.get("n")),
                        whole(window.get("cases")),
                        _or_reason(window.get("auroc")),
                    ]
                )
    if not rows:
        return None
    return Table(
        "along-age",
        "Performance along age, in overlapping windows",
        [
            Column("Model"),
            Column("Stratum"),
            Column("Age, years", numeric=True),
            Column("Samples", numeric=True),
            Column("Cases", numeric=True),
            Column("AUROC", numeric=True),
        ],
        rows,
        "Scores of all cohorts of a stratum together; windows that hold other cohorts may differ "
        "for that.",
    )


def _or_reason(value: Any) -> Cell:
    if number_of(value) is None and isinstance(value, Mapping):
        return words(value.get("reason"))
    return measure(value)


def beyond_cells(content: ReportContent) -> Table | None:
    """Lay out which genes go with the disease before and after blood cells are held fixed."""
    rows = []
    for stratum, part in (
        (content.age_comparison.get("composition") or {}).get("strata") or {}
    ).items():
        if part.get("reason"):
            continue
        rows.append(
            [
                words(stratum_name(str(stratum))),
                whole(part.get("n")),
                whole(part.get("cases")),
                whole(part.get("genes")),
                whole((part.get("unadjusted") or {}).get("associated")),
                whole((part.get("adjusted") or {}).get("associated")),
                _or_reason(part.get("kept")),
                _or_reason(part.get("effect_correlation")),
            ]
        )
    if not rows:
        return None
    return Table(
        "beyond-cells",
        "Genes that go with the disease, with and without blood cells held fixed",
        [
            Column("Stratum"),
            Column("People", numeric=True),
            Column("Cases", numeric=True),
            Column("Genes tested", numeric=True),
            Column("Associated", numeric=True),
            Column("Associated, cells fixed", numeric=True),
            Column("Share that stays", numeric=True),
            Column("Correlation of effects", numeric=True),
        ],
        rows,
        "Linear models with cohort, at a false discovery rate of 5 %. Genes by which the cells are "
        "scored are left out.",
    )


def gene_sets(content: ReportContent) -> Table | None:
    """Lay out the sets of genes that top genes come from."""
    rows = []
    found = (content.age_comparison.get("signatures") or {}).get("enrichment") or {}
    for collection, strata in found.items():
        for stratum, part in strata.items():
            for one in (part.get("sets") or [])[:_SETS_SHOWN]:
                if not one.get("in_top"):
                    continue
                rows.append(
                    [
                        Cell(str(one["set"]), small=str(collection)),
                        words(stratum_name(str(stratum))),
                        Cell(
                            f"{count(one['in_top'])} of {count(part['top'])}",
                            number_of(one["in_top"]),
                            small=", ".join(str(gene) for gene in one["genes"]),
                        ),
                        words(f"{count(one['in_background'])} of {count(part['background'])}"),
                        _odds(one.get("odds_ratio")),
                        Cell(p_value(one.get("p")), number_of(one.get("p"))),
                        Cell(p_value(one.get("q")), number_of(one.get("q"))),
                    ]
                )
    if not rows:
        return None
    return Table(
        "gene-sets",
        "Sets of genes that the top genes come from",
        [
            Column("Set"),
            Column("Stratum"),
            Column("Top genes in it", numeric=True),
            Column("Genes of the vocabulary in it"),
            Column("Odds ratio", numeric=True),
            Column("P", numeric=True),
            Column("Q", "false discovery rate", numeric=True),
        ],
        rows,
        "Hypergeometric, against the genes of the stratum's own vocabulary; the first "
        f"{_SETS_SHOWN} of each stratum, shown whether or not they are beyond chance.",
    )


def _odds(value: Any) -> Cell:
    if bounds_of(value) is None and isinstance(value, Mapping):
        low = number_of(value.get("low"))
        return words(None if low is None else f"above {decimal(low, 1)}")
    return measure(value, 1)
