"""What quality control tells of a whole cohort: counts, and sentences on what raises a doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.expression.qc_genes import AT_FLOOR, CONSTANT, SUSPICIOUS
from genellm_dagster.expression.qc_options import QcOptions
from genellm_dagster.expression.sex import FEMALE, MALE, ExpressedSex

AGE, SATURATED, SEX = "age", "saturated", "sex"
"""Columns of the flags that are not outliers of a measure."""

_NAMED = 5


@dataclass(frozen=True)
class Facts:
    """What the summary needs beside the frames of samples and genes.

    Attributes:
        rows: Rows of the sample sheet that were judged.
        flags: One row a sample with values: gsm, one column of booleans a remark.
        sex: What the last judgement told of the sexes.
        outliers_may_leave: Whether votes counted in it.
        bounds: Ages of the stratum; None when they were not judged.
        scale: The table's recorded scale; None when it was not given.
        rounds: How many judgements there were.
        settled: Whether the last one left everything in.
    """

    rows: pd.DataFrame
    flags: pd.DataFrame
    sex: ExpressedSex
    outliers_may_leave: bool
    bounds: tuple[float | None, float | None] | None
    scale: str | None
    rounds: int
    settled: bool


def _named(names: Sequence[object]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(str(name) for name in names[:_NAMED]) + more


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _classes(samples: pd.DataFrame, rows: pd.DataFrame) -> tuple[int | None, int | None]:
    if "case" not in rows:
        return None, None
    kept = samples.loc[samples["kept"], "gsm"]
    case = rows.drop_duplicates("gsm").set_index("gsm")["case"].reindex(kept)
    return int((case == 1).sum()), int((case == 0).sum())


def _sexes(samples: pd.DataFrame, told: ExpressedSex) -> dict[str, Any]:
    recorded, expressed = samples["sex_recorded"], samples["sex_expressed"]
    both = recorded.notna() & expressed.notna()
    return {
        "agree": int((both & (recorded == expressed)).sum()),
        "disagree": int((both & (recorded != expressed)).sum()),
        "unknown": int((~both).sum()),
        "recorded_female": int((recorded == FEMALE).sum()),
        "recorded_male": int((recorded == MALE).sum()),
        "expressed_female": int((expressed == FEMALE).sum()),
        "expressed_male": int((expressed == MALE).sum()),
        **told.as_json(),
    }


def _common_ceiling(table: pd.DataFrame) -> float | None:
    """The highest value, when most samples end at it, several genes each: where a scanner stops.

    Quantile normalisation ends all samples at one value too, but one gene each.
    """
    values = table.to_numpy()
    if np.isnan(values).all():
        return None
    top = np.nanmax(values)
    at_top = (values == top).sum(axis=0)
    ending = int((at_top > 0).sum())
    common = ending > 1 and ending >= values.shape[1] / 2 and at_top.sum() >= 2 * ending
    return float(top) if common else None


def _saturation(samples: pd.DataFrame, facts: Facts, table: pd.DataFrame) -> dict[str, Any]:
    kept = samples[samples["kept"]]

    def of(column: str, how: str) -> float | None:
        values = kept[column].dropna()
        return float(values.agg(how)) if len(values) else None

    return {
        "samples": int(facts.flags[SATURATED].sum()),
        "ceiling_share": of("ceiling_share", "median"),
        "ceiling_share_max": of("ceiling_share", "max"),
        "floor_share": of("floor_share", "median"),
        "floor_share_max": of("floor_share", "max"),
        "common_ceiling": _common_ceiling(table),
    }


def _ages(samples: pd.DataFrame, facts: Facts) -> dict[str, Any]:
    outside = int(facts.flags[AGE].sum())
    known = int(samples["age_years"].notna().sum())
    low, high = facts.bounds or (None, None)
    return {
        "judged": facts.bounds is not None,
        "min_age": None if low is None or not np.isfinite(low) else float(low),
        "max_age": None if high is None or not np.isfinite(high) else float(high),
        "outside": outside,
        "known": known,
        "unknown": len(samples) - known,
    }


def _class_warnings(cases: int, controls: int, options: QcOptions) -> list[str]:
    total = cases + controls
    if total == 0:
        return []
    if min(cases, controls) == 0:
        only = "cases" if cases else "controls"
        return [f"All {total} kept samples with a label are {only}: nothing to compare them with."]
    few, n = ("case", cases) if cases < controls else ("control", controls)
    if n < options.few_of_a_class:
        return [f"Only {_counted(n, few)} beside {total - n} of the other class: too few to trust."]
    if n < options.small_class_share * total:
        return [f"The {few}s are {n / total:.0%} of the kept samples: read average precision so."]
    return []


def _sex_warnings(samples: pd.DataFrame, facts: Facts, sex: dict[str, Any]) -> list[str]:
    if sex["disagree"] > sex["agree"]:
        return [
            f"{sex['disagree']} recorded sexes contradict what the samples express and only "
            f"{sex['agree']} agree: look at the rule for sex in the cohort file."
        ]
    apart = facts.flags.loc[facts.flags[SEX], "gsm"].tolist()
    if not apart:
        return []
    verb = "is" if len(apart) == 1 else "are"
    return [
        f"{_counted(len(apart), 'sample')} {verb} recorded as one sex and of the other by XIST and "
        f"the Y genes ({_named(apart)}): perhaps swapped, and its label with it."
    ]


def _warnings(
    samples: pd.DataFrame,
    genes: pd.DataFrame,
    facts: Facts,
    summary: dict[str, Any],
    options: QcOptions,
) -> list[str]:
    warnings = []
    asked, kept = summary["samples"], summary["samples_kept"]
    if kept < options.few_samples:
        warnings.append(f"Only {_counted(kept, 'sample')} kept: what follows rests on few.")
    if summary["cases"] is not None:
        warnings += _class_warnings(summary["cases"], summary["controls"], options)
    if asked - kept > options.much_left_out * asked:
        warnings.append(f"{asked - kept} of {asked} samples were left out: look at their reasons.")
    gone = summary["genes"] - summary["genes_kept"]
    if gone > options.much_left_out * summary["genes"]:
        warnings.append(
            f"{gone} of {summary['genes']} genes were left out, most for missing values: look at "
            "how the series marks what it did not detect."
        )
    warnings += _sex_warnings(samples, facts, summary["sex"])
    if summary["ages"]["outside"]:
        there = facts.flags.loc[facts.flags[AGE], "gsm"].tolist()
        warnings.append(
            f"{_counted(len(there), 'sample')} of an age outside the stratum ({_named(there)}): "
            "look at the ages of the sample sheet."
        )
    saturation = summary["saturation"]
    if saturation["common_ceiling"] is not None:
        warnings.append(
            "Most samples have several genes at one highest value, "
            f"{saturation['common_ceiling']:g} in log2: the platform saturates there."
        )
    elif saturation["samples"]:
        warnings.append(
            f"{_counted(saturation['samples'], 'sample')} with more than "
            f"{options.max_saturated:.0%} of the values at the highest one: saturated or cut off."
        )
    if summary["genes_suspicious"]:
        names = genes.loc[genes["reason"] == SUSPICIOUS, "gene"].tolist()
        warnings.append(
            f"{_counted(len(names), 'gene')} with one value in all samples that is not their floor "
            f"({_named(names)}): filled in, or saturated."
        )
    if facts.scale == "centred":
        warnings.append(
            "The values are centred gene by gene: no gene has a level, so that sex and floors say "
            "nothing here."
        )
    if not facts.settled:
        warnings.append(
            f"Something still left in the last of {facts.rounds} rounds: look for values that no "
            "threshold fits, or allow more rounds."
        )
    return warnings


def summary_of(
    samples: pd.DataFrame,
    genes: pd.DataFrame,
    table: pd.DataFrame,
    facts: Facts,
    options: QcOptions,
) -> dict[str, Any]:
    """Sum up what quality control found; everything in it is JSON-safe.

    Args:
        samples: Every sample asked for, judged.
        genes: Every gene, judged.
        table: What was kept.
        facts: The rest.
        options: The thresholds.
    """
    kept, left_out = samples[samples["kept"]], samples[~samples["kept"]]
    cases, controls = _classes(samples, facts.rows)

    def middle(column: str) -> float | None:
        values = kept[column].dropna()
        return float(values.median()) if len(values) else None

    outliers = facts.flags.drop(columns=["gsm", SATURATED, SEX, AGE])
    summary: dict[str, Any] = {
        "samples": len(samples),
        "samples_kept": len(kept),
        "samples_left_out": [
            {"gsm": gsm, "reasons": reasons}
            for gsm, reasons in zip(left_out["gsm"], left_out["reasons"], strict=True)
        ],
        "samples_with_remarks": int((kept["reasons"] != "").sum()),
        "cases": cases,
        "controls": controls,
        "genes": len(genes),
        "genes_kept": int(genes["kept"].sum()),
        "genes_constant": int(genes["reason"].isin([CONSTANT, SUSPICIOUS]).sum()),
        "genes_suspicious": int((genes["reason"] == SUSPICIOUS).sum()),
        "genes_at_floor": int((genes["reason"] == AT_FLOOR).sum()),
        "genes_missing": int((genes["missing_share"] > options.max_gene_missing).sum()),
        "missing_share": float(kept["missing_share"].mean()),
        "median_log2": middle("median_log2"),
        "iqr_log2": middle("iqr_log2"),
        "correlation": middle("correlation"),
        "outliers": {str(name): int(flag.sum()) for name, flag in outliers.items()},
        "outliers_can_be_left_out": facts.outliers_may_leave,
        "sex": _sexes(samples, facts.sex),
        "ages": _ages(samples, facts),
        "saturation": _saturation(samples, facts, table),
        "rounds": facts.rounds,
        "thresholds": options.model_dump(),
    }
    summary["warnings"] = _warnings(samples, genes, facts, summary, options)
    return summary
