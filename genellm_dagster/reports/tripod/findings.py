"""What a run says of the people it measured, its numbers and what they mean."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from genellm_dagster.expression.batch_view import BatchView
from genellm_dagster.reports import batch, cautions, marks, wording
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import (
    model_name,
    stratum_name,
)
from genellm_dagster.reports.numbers import (
    count,
    decimal,
    interval,
    number_of,
    percent,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tables.samples import why_not
from genellm_dagster.reports.tripod.parts import (
    by_stratum,
    ended,
    known_facts,
    own_numbers,
    scored,
    sheet_rows,
    some,
)


def flow(content: ReportContent, _: ReportOptions) -> str:
    """Count samples from the list to the measurement."""

    def say(stratum: str) -> str:
        parts = [sheet[sheet["stratum"] == stratum] for sheet in content.sheets.values()]
        total = sum(len(part) for part in parts)
        if not total:
            return ""
        usable = sum(int(part["used"].astype(bool).sum()) for part in parts)
        lost = [
            row
            for (name, _), qc in content.qc.items()
            if name == stratum
            for row in qc.get("samples_left_out") or ()
        ]
        reasons = why_not(pd.concat(parts), {"samples_left_out": lost})
        why = f" (not used: {reasons})" if reasons else ""
        return (
            f"{count(total)} listed, {count(usable)} usable, "
            f"{count(content.reports[stratum]['n'])} measured{why}"
        )

    return by_stratum(content, say)


def people(content: ReportContent, _: ReportOptions) -> str:
    """Give ages and sexes."""

    def say(stratum: str) -> str:
        rows = sheet_rows(content, stratum)
        if rows.empty:
            return ""
        report = content.reports[stratum]
        ages = pd.to_numeric(rows["age_years"], errors="coerce").dropna()
        age = (
            f"median age {decimal(ages.median(), 1)} years ({decimal(ages.min(), 1)} to "
            f"{decimal(ages.max(), 1)}; {count(len(ages))} known)"
            if len(ages)
            else ""
        )
        sexes = rows["sex"].dropna().astype(str).value_counts()
        sex = ", ".join(f"{count(n)} {name}" for name, n in sexes.items())
        return some([f"{count(report['n'])} samples, {count(report['cases'])} cases", age, sex])

    return by_stratum(content, say)


def shifts(content: ReportContent, _: ReportOptions) -> str:
    """Say what cohorts differ in."""
    return by_stratum(
        content,
        lambda stratum: (
            " ".join(batch.said(BatchView.from_json(content.batch[stratum])))
            if content.batch.get(stratum)
            else ""
        ),
    )


def analyses(content: ReportContent, _: ReportOptions) -> str:
    """Count training and test of each fold."""

    def say(stratum: str) -> str:
        frame = scored(content, stratum)
        n, cases = len(frame), int(frame["case"].sum())
        return ", ".join(
            f"fold {fold}: {count(n - len(part))} in training "
            f"({count(cases - part['case'].sum())} cases), {count(len(part))} in test "
            f"({count(part['case'].sum())} cases)"
            for fold, part in frame.groupby("fold", sort=False)
        )

    return by_stratum(content, say)


def specified(content: ReportContent, _: ReportOptions) -> str:
    """Name the registered models and their weights."""
    registered = content.model.get("registered")
    named = (
        some([f"{stratum_name(s)}: {ended(str(said))}" for s, said in registered.items()], " ")
        if isinstance(registered, Mapping)
        else ""
    )
    weights = known_facts(
        content, hash="SHA-256 of the backbone's weights", licence="licence of the backbone"
    )
    return some([named, weights], " ")


def performance(content: ReportContent, options: ReportOptions) -> str:
    """Give AUROC and calibration."""

    def say(stratum: str) -> str:
        own, report = own_numbers(content, stratum), content.reports[stratum]
        if number_of(own.get("auroc")) is None:
            return ""
        mark = marks.sentence(marks.of_headline(content, stratum))
        return some(
            [
                f"AUROC {interval(own['auroc'])}, n = {count(report['n'])}, prevalence "
                f"{percent(report['prevalence'])}. "
                f"{cautions.calibration(content, stratum, options)}",
                mark,
            ],
            " ",
        )

    return by_stratum(content, say)


def heterogeneity(content: ReportContent, _: ReportOptions) -> str:
    """Give the AUROC by cohort, and pooled."""

    def say(stratum: str) -> str:
        own = own_numbers(content, stratum)
        cohorts = ", ".join(
            f"{name} {interval(part['auroc'])}, n = {count(part['n'])}"
            for name, part in (own.get("cohorts") or {}).items()
            if number_of(part.get("auroc")) is not None
        )
        pooled = own.get("pooled_auroc") or {}
        over = (
            f"pooled {interval(pooled)}, I² {interval(pooled.get('i2'), 2)}"
            if number_of(pooled) is not None
            else ""
        )
        return some([f"AUROC in {cohorts}" if cohorts else "", over])

    return by_stratum(content, say)


def meaning(content: ReportContent, options: ReportOptions) -> str:
    """Say what the language model adds, and what differs with age."""
    return f"{wording.compared(content, options)} {wording.between_strata(content, options)}"


def limits(content: ReportContent, _: ReportOptions) -> str:
    """Give the limits."""
    return " ".join(cautions.limits(content))


def refused(content: ReportContent, _: ReportOptions) -> str:
    """Say which models gave no score, and why."""
    return by_stratum(
        content,
        lambda stratum: some(
            [
                f"{model_name(name)} gave no score: {str(why).rstrip('.')}"
                for name, why in content.refusals.get(stratum, {}).items()
            ]
        ),
    )
