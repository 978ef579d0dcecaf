"""What a run says of its question, its samples and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genellm_dagster.reports import wording
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import (
    age_words,
    label_words,
)
from genellm_dagster.reports.numbers import (
    count,
    listed,
    number_of,
    plural,
    small_percent,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tripod.parts import (
    by_stratum,
    sheet_rows,
    some,
)


def title(content: ReportContent, _: ReportOptions) -> str:
    """Give the title of this report."""
    return content.study.title


def summary(content: ReportContent, options: ReportOptions) -> str:
    """Say what the summary answers."""
    heads = [sentence.question for sentence in wording.summary(content, options)]
    return f"This report begins with {plural(len(heads), 'sentence')}: {'; '.join(heads)}."


def question(content: ReportContent, _: ReportOptions) -> str:
    """Say the question, and how it was evaluated."""
    folds = {str(content.reports[s].get("folds", {}).get("kind", "")) for s in content.strata}
    kinds = listed(sorted(label_words(kind) for kind in folds if kind))
    how = f" Developed, and evaluated by {kinds}." if kinds else ""
    return f"{wording.asked(content)}{how}"


def sources(content: ReportContent, _: ReportOptions) -> str:
    """Name the series."""
    known = content.study.cohort_files
    parts = [
        f"{name} ({known[name].platform})" if name in known else name
        for name in content.study.cohorts
    ]
    kind = "simulated cohorts" if content.simulated else "series of NCBI GEO"
    found = f"; search for series: {content.study.search}" if content.study.search else ""
    return f"{len(parts)} {kind}: {', '.join(parts)}{found}."


def places(content: ReportContent, _: ReportOptions) -> str:
    """Give the titles of the series, which name their places."""
    known = content.study.cohort_files
    return some([f"{n}: {known[n].title}" for n in content.study.cohorts if _has_title(known, n)])


def _has_title(known: Mapping[str, Any], name: str) -> bool:
    return name in known and bool(known[name].title)


def eligible(content: ReportContent, _: ReportOptions) -> str:
    """Say whose samples could enter."""
    study = content.study
    strata = [f"{label_words(name)}, {age_words(one)}" for name, one in study.strata.items()]
    left = f"; {plural(len(study.rejected), 'series', 'series')} left out" if study.rejected else ""
    cells = (
        f"; {plural(len(content.left_out), 'cell')} of cohort and stratum left out"
        if content.left_out
        else ""
    )
    labels = listed([label_words(label) for label in [*study.case, *study.control]])
    return f"Samples labelled {labels}, aged as the strata say ({'; '.join(strata)}){left}{cells}."


def quality(content: ReportContent, _: ReportOptions) -> str:
    """Count what quality control let pass."""

    def say(stratum: str) -> str:
        cells = [qc for (name, _), qc in content.qc.items() if name == stratum]
        samples = sum(number_of(qc.get("samples")) or 0 for qc in cells)
        kept = sum(number_of(qc.get("samples_kept")) or 0 for qc in cells)
        doubts = sum(len(qc.get("warnings") or ()) for qc in cells)
        return (
            f"{count(kept)} of {count(samples)} samples passed quality control, with "
            f"{plural(doubts, 'doubt')}"
            if samples
            else ""
        )

    return by_stratum(content, say)


def outcome(content: ReportContent, _: ReportOptions) -> str:
    """Say what is case and what control, and where that was read."""
    study = content.study
    fields = sorted(
        {
            rule.field
            for name in study.cohorts
            if name in study.cohort_files
            for rule in study.cohort_files[name].sample.label
        }
    )
    cases = listed([label_words(label) for label in study.case])
    controls = listed([label_words(label) for label in study.control])
    read = (
        f", read from {listed([f'“{name}”' for name in fields])} of each record" if fields else ""
    )
    return f"Case: {cases}; control: {controls}{read}."


def preselected(content: ReportContent, _: ReportOptions) -> str:
    """Say how many genes there are, and what choosing them saw."""
    sizes = by_stratum(
        content,
        lambda stratum: (
            f"{count(len(content.signatures[stratum]))} genes"
            if len(content.signatures.get(stratum, ()))
            else ""
        ),
    )
    return some([sizes, *map(str, content.model.get("transductive") or ())], " ")


def measured(content: ReportContent, _: ReportOptions) -> str:
    """Name the platforms."""
    known = content.study.cohort_files
    platforms = sorted({known[name].platform for name in content.study.cohorts if name in known})
    return f"Gene expression, measured on {listed(platforms)}." if platforms else ""


def size(content: ReportContent, _: ReportOptions) -> str:
    """Say how many of the listed samples were measured."""

    def say(stratum: str) -> str:
        report = content.reports[stratum]
        listed_samples = sum(
            int((sheet["stratum"] == stratum).sum()) for sheet in content.sheets.values()
        )
        if not listed_samples:
            return ""
        return (
            f"{count(report['n'])} of the {count(listed_samples)} samples that the series list "
            f"({count(report['cases'])} cases)"
        )

    return by_stratum(content, say)


def missing(content: ReportContent, _: ReportOptions) -> str:
    """Say which values, ages and scores are missing."""

    def say(stratum: str) -> str:
        shares = [
            share
            for (name, _), qc in content.qc.items()
            if name == stratum and (share := number_of(qc.get("missing_share"))) is not None
        ]
        ages = sheet_rows(content, stratum)
        unknown = int(ages["age_years"].isna().sum()) if len(ages) else 0
        age = f"age not recorded in {plural(unknown, 'sample')}" if unknown else ""
        gone = f"up to {small_percent(max(shares))} of a cohort's values missing" if shares else ""
        refused = len(content.refusals.get(stratum, {}))
        without = f"no score of {plural(refused, 'model')}, for reasons stated" if refused else ""
        return some([gone, age, without])

    return by_stratum(content, say)


def data(content: ReportContent, _: ReportOptions) -> str:
    """Say where the data are."""
    if content.simulated:
        return "Simulated: made by a program, no data of any person."
    return f"NCBI GEO, under {listed(list(content.study.cohorts))}."


def code(content: ReportContent, _: ReportOptions) -> str:
    """Name the software with its versions."""
    return some([f"{name} {value}" for name, value in content.software.items()], ", ")
