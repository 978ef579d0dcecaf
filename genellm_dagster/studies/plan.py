"""Which cohorts enter which stratum, and why the others do not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pandas as pd

from genellm_dagster.errors import StudyError
from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.study import Study

STRATUM_COLUMNS = ("gsm", "cohort", "subject", "case", "stratum", "age_years")


@dataclass(frozen=True)
class LeftOut:
    """Samples of one cohort that do not enter one stratum.

    Attributes:
        cohort: The cohort.
        stratum: The stratum.
        n: Samples left out.
        cases: Cases among them.
        reason: Why, in words for the report.
    """

    cohort: str
    stratum: str
    n: int
    cases: int
    reason: str


@dataclass(frozen=True)
class StrataPlan:
    """The cells, cohort by stratum, that a study works on.

    Attributes:
        cells: Stratum to the cohorts that enter it, in the study's order; empty strata are absent.
        left_out: What does not enter although its samples are used in the sample sheet.
        empty: Stratum without data of both classes to the reason.
    """

    cells: dict[str, list[str]]
    left_out: list[LeftOut]
    empty: dict[str, str]
    _frames: dict[str, pd.DataFrame] = field(repr=False, compare=False)

    def samples(self, stratum: str) -> pd.DataFrame:
        """Return the samples of a stratum.

        Args:
            stratum: One of ``cells``.

        Returns:
            Columns ``gsm, cohort, subject, case`` (int 0/1)``, stratum, age_years`` (years, NaN
            unknown), one row a sample, each GSM once. ``subject`` is unique in the study: a
            person's id is written ``GSE123:id``, since two series may both number from 1.

        Raises:
            StudyError: When the stratum is unknown or empty.
        """
        if stratum not in self._frames:
            known = ", ".join(self.cells)
            because = f" ({self.empty[stratum]})" if stratum in self.empty else ""
            raise StudyError(
                f"The stratum {stratum!r} has no samples to work on{because}; "
                f"the strata with data are {known}."
            )
        return self._frames[stratum].copy()


def after_quality_control(
    plan: StrataPlan, study: Study, stratum: str, kept: Mapping[str, Collection[str]]
) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Return the samples of a stratum that quality control kept.

    Args:
        plan: The cells of the study.
        study: The study.
        stratum: One of the plan's.
        kept: Cohort to the samples that quality control kept.

    Returns:
        The samples as :meth:`StrataPlan.samples` gives them, and the cohorts that lost one class.

    Raises:
        StudyError: When quality control has not run for a cohort, or left one class only.
    """
    samples = plan.samples(stratum)
    missing = [cohort for cohort in plan.cells[stratum] if cohort not in kept]
    if missing:
        raise StudyError(
            f"Quality control of {', '.join(missing)} in the stratum {stratum!r} has not run; "
            "materialize qc_expression for it."
        )
    parts, left_out = [], []
    for cohort, rows in samples.groupby("cohort", sort=False):
        rows = rows[rows["gsm"].isin(list(kept[str(cohort)]))]
        if rows["case"].nunique() < 2 and not study.allow_single_class:
            cases = int(rows["case"].sum())
            reason = "quality control left only one class of it in this stratum"
            left_out.append(LeftOut(str(cohort), stratum, len(rows), cases, reason))
        else:
            parts.append(rows)
    together = pd.concat(parts, ignore_index=True) if parts else samples.iloc[:0]
    if together["case"].nunique() < 2:
        raise StudyError(
            f"Quality control left no cases or no controls in the stratum {stratum!r}; look at the "
            "QC summaries of its cohorts, or loosen the QC settings."
        )
    return together, left_out


def samples_by_stratum(sheets: Mapping[str, pd.DataFrame], study: Study) -> StrataPlan:
    """Choose the cells, cohort by stratum, that a study works on.

    A cohort enters a stratum when it has both classes there (with ``allow_single_class`` when it
    has any sample); a stratum needs both classes altogether. A GSM that an earlier cohort of the
    study already brings (SuperSeries and SubSeries share them) is left out of the later one.

    Args:
        sheets: The sample sheet of every cohort, by the cohort's name.
        study: The study; its order of cohorts is kept, sheets of other cohorts are passed over.

    Raises:
        StudyError: When no stratum has samples of both classes.
    """
    cells: dict[str, list[str]] = {}
    left_out: list[LeftOut] = []
    empty: dict[str, str] = {}
    frames: dict[str, pd.DataFrame] = {}
    for stratum in study.strata:
        parts: dict[str, pd.DataFrame] = {}
        taken: dict[str, str] = {}
        singles: list[LeftOut] = []
        for name in study.cohorts:
            if name not in sheets:
                continue
            rows = _used_in(sheets[name], name, stratum, study.cohort(name))
            rows, again = _without_taken(rows, taken, name, stratum)
            left_out += again
            if rows.empty:
                continue
            if rows["case"].nunique() < 2 and not study.allow_single_class:
                singles.append(_single_class(rows, name, stratum))
                continue
            parts[name] = rows
            taken |= dict.fromkeys(rows["gsm"], name)
        left_out += singles
        together = pd.concat(parts.values(), ignore_index=True) if parts else None
        if together is not None and together["case"].nunique() == 2:
            cells[stratum] = list(parts)
            frames[stratum] = together
        else:
            left_out += [_single_class(rows, name, stratum) for name, rows in parts.items()]
            empty[stratum] = _why_empty(stratum, singles, parts)
    if not cells:
        reasons = "; ".join(empty.values())
        raise StudyError(
            f"The study {study.name!r} has no stratum with both cases and controls ({reasons}); "
            f"add a "
            "cohort that has both, or mend the label rules and the strata."
        )
    return StrataPlan(cells=cells, left_out=left_out, empty=empty, _frames=frames)


def _used_in(sheet: pd.DataFrame, name: str, stratum: str, cohort: Cohort) -> pd.DataFrame:
    rows = sheet[sheet["used"] & (sheet["stratum"] == stratum)]
    # The accession, not the cohort's name: two platforms of one series share their people.
    subjects = [
        subject if subject == gsm else f"{cohort.accession}:{subject}"
        for subject, gsm in zip(rows["subject"], rows["gsm"], strict=True)
    ]
    return pd.DataFrame(
        {
            "gsm": rows["gsm"].astype(object),
            "cohort": name,
            "subject": pd.Series(subjects, index=rows.index, dtype=object),
            "case": rows["case"].astype("int64"),
            "stratum": stratum,
            "age_years": rows["age_years"].astype("float64"),
        },
        columns=list(STRATUM_COLUMNS),
    ).reset_index(drop=True)


def _without_taken(
    rows: pd.DataFrame, taken: Mapping[str, str], name: str, stratum: str
) -> tuple[pd.DataFrame, list[LeftOut]]:
    again = rows["gsm"].isin(list(taken))
    repeated = rows[again]
    if repeated.empty:
        return rows, []
    others = ", ".join(sorted({taken[gsm] for gsm in repeated["gsm"]}))
    reason = f"the same samples (GSM) come with {others} already"
    note = LeftOut(name, stratum, len(repeated), int(repeated["case"].sum()), reason)
    return rows[~again].reset_index(drop=True), [note]


def _single_class(rows: pd.DataFrame, name: str, stratum: str) -> LeftOut:
    n, cases = len(rows), int(rows["case"].sum())
    what = "cases" if cases else "controls"
    reason = f"it has only {what} in this stratum, so that label and batch are one"
    return LeftOut(name, stratum, n, cases, reason)


def _why_empty(stratum: str, singles: list[LeftOut], parts: Mapping[str, pd.DataFrame]) -> str:
    there = [(entry.cohort, entry.n, entry.cases) for entry in singles]
    there += [(name, len(rows), int(rows["case"].sum())) for name, rows in parts.items()]
    if not there:
        return f"{stratum}: no cohort has a usable sample"
    listed = ", ".join(
        f"{name} has {cases} cases and {n - cases} controls" for name, n, cases in there
    )
    return f"{stratum}: no cohort has both classes ({listed})"
