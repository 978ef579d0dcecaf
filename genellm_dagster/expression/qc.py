"""Quality control of one cohort's samples and genes, each with its reasons, without labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.qc_genes import judged_genes
from genellm_dagster.expression.qc_options import QcOptions
from genellm_dagster.expression.qc_samples import measured_samples, outlier_flags
from genellm_dagster.expression.qc_summary import AGE, SATURATED, SEX, Facts, summary_of
from genellm_dagster.expression.sex import FEMALE, MALE, ExpressedSex, expressed_sex
from genellm_dagster.expression.tables import GENE, checked

Bounds = tuple[float | None, float | None]
"""Youngest age, included, and oldest age, not included, in years; None where there is none."""


@dataclass(frozen=True)
class QcResult:
    """What quality control kept, and why not the rest.

    Attributes:
        table: genes x kept samples, float32.
        samples: One row a sample asked for: gsm, missing_share, median_log2, iqr_log2, floor_share
            and ceiling_share (share of its values that are its lowest, its highest), correlation
            (median Spearman with the others), pca_distance (robust deviations) and pca_residual
            (what the components leave, log2), age_years, sex_recorded, sex_expressed (None:
            unknown), xist, y_level, xist_minus_y, kept, reasons ("; " between them; a kept sample
            can have remarks).
        genes: One row a gene: gene, missing_share, mean, sd, floor_share (over the kept samples,
            log2), kept, reason (a kept gene can have a remark).
        summary: JSON-safe counts, thresholds, and warnings: plain sentences on what raises a doubt
            about the whole cohort.
    """

    table: pd.DataFrame
    samples: pd.DataFrame
    genes: pd.DataFrame
    summary: dict[str, Any]


@dataclass(frozen=True)
class _Sheet:
    """What the sample sheet says of each sample, index gsm."""

    age: pd.Series
    sex: pd.Series
    outside: pd.Series


def _sheet(rows: pd.DataFrame, bounds: Bounds | None) -> _Sheet:
    rows = rows.assign(gsm=rows["gsm"].astype(str)).drop_duplicates("gsm").set_index("gsm")
    none = pd.Series(None, index=rows.index, dtype=object)
    age = pd.to_numeric(rows.get("age_years", none), errors="coerce").astype(np.float64)
    sex = rows.get("sex", none).astype(object)
    low, high = bounds or (None, None)
    outside = (age < (-np.inf if low is None else low)) | (
        age >= (np.inf if high is None else high)
    )
    return _Sheet(age, sex.where(sex.isin([FEMALE, MALE]), None), outside)


@dataclass(frozen=True)
class _Round:
    """One judgement of the samples and genes that are left."""

    samples: pd.DataFrame
    flags: pd.DataFrame
    genes: pd.DataFrame
    sex: ExpressedSex
    outliers_may_leave: bool


def _judge(
    table: pd.DataFrame, sheet: _Sheet, options: QcOptions, scale: str | None
) -> tuple[_Round, pd.DataFrame]:
    """Judge each sample, then each gene over the samples kept; return also what is kept of both."""
    samples = measured_samples(table, options)
    n_genes = int(table.notna().any(axis=1).sum())
    flags, votes, may_leave = outlier_flags(samples, n_genes, options)
    missing = samples["missing_share"]
    gaps = missing > options.max_sample_missing
    told = expressed_sex(table.loc[:, (~gaps).to_numpy()], options, scale)
    expressed = told.samples["sex_expressed"].reindex(table.columns)
    recorded = sheet.sex.reindex(table.columns)
    mismatch = recorded.notna() & expressed.notna() & (recorded != expressed)
    age, outside = sheet.age.reindex(table.columns), sheet.outside.reindex(table.columns)
    saturated = samples["ceiling_share"] > options.max_saturated
    extreme = samples[["floor_share", "ceiling_share"]].max(axis=1)
    flat = extreme > options.max_floor_share
    leaves = (
        gaps
        | flat
        | (votes >= options.outlier_votes) & may_leave
        | saturated & (options.saturation == "leave_out")
        | mismatch & (options.sex_mismatch == "leave_out")
        | outside & (options.age_outside == "leave_out")
    )
    remarks: list[tuple[pd.Series, Iterable[str]]] = [
        (gaps, (f"{one:.0%} of its genes missing" for one in missing)),
        (flat, (f"{one:.0%} of its values are one value" for one in extreme)),
        *((flags[name], repeat(str(name))) for name in flags),
        (
            saturated & ~flat,
            (f"{one:.1%} of its values are its highest" for one in samples["ceiling_share"]),
        ),
        (
            mismatch,
            (f"recorded as {a}, expresses {b}" for a, b in zip(recorded, expressed, strict=True)),
        ),
        (outside, (f"its age {one:g} years lies outside the stratum" for one in age)),
    ]
    each = zip(
        *(
            [text if holds else "" for holds, text in zip(mask, texts, strict=False)]
            for mask, texts in remarks
        ),
        strict=True,
    )
    reasons = ["; ".join(filter(None, told_of)) for told_of in each]
    samples["age_years"] = age
    samples["sex_recorded"] = recorded
    samples["sex_expressed"] = expressed.where(expressed.notna(), None)
    for name in ("xist", "y_level", "xist_minus_y"):
        samples[name] = told.samples[name].reindex(table.columns)
    samples["kept"] = ~leaves
    samples["reasons"] = reasons
    flags = flags.assign(**{SATURATED: saturated, SEX: mismatch, AGE: outside})
    kept = table.loc[:, samples["kept"].to_numpy()]
    genes = judged_genes(kept, options)
    clean = kept.loc[genes["kept"].to_numpy()]
    return _Round(samples.reset_index(), flags.reset_index(), genes, told, may_leave), clean


def _together(parts: list[pd.DataFrame], key: str, order: list[str]) -> pd.DataFrame:
    """Rows of all rounds, each at its last judgement, in the first order."""
    last = pd.concat(parts).drop_duplicates(key, keep="last").set_index(key)
    return last.loc[order].reset_index()


def _with_absent(samples: pd.DataFrame, absent: list[str], sheet: _Sheet) -> pd.DataFrame:
    """Add the samples of the sheet that have no values."""
    rows = pd.DataFrame({"gsm": absent, "missing_share": 1.0})
    rows["age_years"] = sheet.age[absent].to_numpy()
    rows["sex_recorded"] = sheet.sex[absent].to_numpy()
    rows["sex_expressed"] = None
    rows["kept"] = False
    rows["reasons"] = "no expression values"
    both = {
        name: [*samples[name], *rows.get(name, [np.nan] * len(rows))] for name in samples.columns
    }
    return pd.DataFrame(both).astype(samples.dtypes.to_dict())


def quality_control(
    table: pd.DataFrame,
    sheet_rows: pd.DataFrame,
    options: QcOptions | None = None,
    *,
    bounds: Bounds | None = None,
    scale: str | None = None,
) -> QcResult:
    """Judge the samples of one cohort in one stratum.

    A sample leaves when too many of its genes are missing or of one value, when its age lies
    outside the stratum, or when several measures (intensity, correlation, robust PCA) call it an
    outlier; on panels and in very small cohorts outliers are remarked only. A sex that is not the
    recorded one and saturation are remarks unless the settings say otherwise. What is kept is
    judged again until nothing more leaves, so that a second application changes nothing; the
    measures of a sample or gene are those of its last judgement. Labels take no part, they are
    only counted. A sample of the sheet that the table does not hold is listed.

    Args:
        table: genes x samples of the cohort, log2.
        sheet_rows: Rows of the sample sheet to judge, by ``gsm``; when there is a column ``used``,
            those used. ``age_years``, ``sex`` and ``case`` are read when they are there.
        options: The thresholds.
        bounds: Ages of the stratum, [youngest, oldest); None: ages are not judged.
        scale: The table's scale as its report records it; None: recognised where it matters.

    Raises:
        ExpressionError: When no sample or no gene is left.
    """
    options = options or QcOptions()
    checked(table)
    rows = sheet_rows
    if "used" in rows:
        rows = rows[rows["used"].astype(bool)]
    sheet = _sheet(rows, bounds)
    wanted = sheet.age.index.tolist()
    present = [gsm for gsm in wanted if gsm in table.columns]
    if not present:
        raise ExpressionError(
            f"None of the {len(wanted)} samples of the sheet has expression values; compare the "
            "sample accessions of the series with its values."
        )
    with np.errstate(over="ignore"):
        # What single precision cannot hold becomes infinite, and is refused as such.
        left = checked(table[present].astype(np.float32)).rename_axis(index=GENE)
    genes_asked = left.index.astype(str).tolist()
    rounds: list[_Round] = []
    settled = False
    while not settled and len(rounds) < options.max_rounds:
        found, clean = _judge(left, sheet, options, scale)
        rounds.append(found)
        if clean.shape[1] == 0:
            raise ExpressionError(
                f"Quality control leaves none of {len(wanted)} samples "
                f"({found.samples['reasons'].iloc[0]}, for instance); look at the values of the "
                "series or loosen the QC settings."
            )
        if clean.shape[0] == 0:
            raise ExpressionError(
                f"Quality control leaves none of {len(genes_asked)} genes; look at the values of "
                "the series or loosen the QC settings."
            )
        settled = clean.shape == left.shape
        left = clean
    samples = _together([one.samples for one in rounds], "gsm", present)
    flags = _together([one.flags for one in rounds], "gsm", present)
    genes = _together([one.genes for one in rounds], "gene", genes_asked)
    absent = [gsm for gsm in wanted if gsm not in table.columns]
    if absent:
        samples = _with_absent(samples, absent, sheet)
    facts = Facts(
        rows=rows,
        flags=flags,
        sex=rounds[-1].sex,
        outliers_may_leave=rounds[-1].outliers_may_leave,
        bounds=bounds,
        scale=scale,
        rounds=len(rounds),
        settled=settled,
    )
    return QcResult(left, samples, genes, summary_of(samples, genes, left, facts, options))
