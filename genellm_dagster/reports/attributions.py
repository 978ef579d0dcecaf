"""Sentences on attributions, and whose score is drawn: how exact, and what they agree with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from genellm_dagster.reports.content import Attributed
from genellm_dagster.reports.figures.attributions import beeswarm_figure, waterfall_figure
from genellm_dagster.reports.figures.canvas import Figure
from genellm_dagster.reports.names import model_name
from genellm_dagster.reports.numbers import decimal, number_of, percent, plural, small_percent
from genellm_dagster.reports.options import ReportOptions

_LOGISTIC, _OWN = "logistic_regression", "genellm"


def said(found: Attributed) -> list[str]:
    """Say how far the attributions of a stratum can be trusted, by rules.

    Returns:
        Whole sentences; one, the reason, when nothing was explained.
    """
    facts = found.facts
    if facts["note"]:
        return [str(facts["note"])]
    error = facts["completeness_error"]
    lines = [
        f"{plural(facts['n'], 'sample')} ({plural(facts['cases'], 'case')}) were explained against "
        f"{facts['background']} others. Their attributions miss the difference of the scores that "
        f"they should add up to by {small_percent(error['median'])} (median), "
        f"{small_percent(error['worst'])} at worst"
        + (
            f"; {plural(error['beyond_tolerance'], 'sample')} by more than "
            f"{small_percent(error['tolerance'])}."
            if error["beyond_tolerance"]
            else "."
        )
    ]
    members = facts["agreement"]["members"]
    if number_of(members["value"]) is not None:
        lines.append(
            f"Trained with other seeds, the model ranks genes alike by {decimal(members['value'])} "
            f"(rank correlation, mean of {plural(len(members['pairs']), 'pair')}; lowest "
            f"{decimal(members['lowest'])})."
        )
    lines += _against_logistic(facts[_LOGISTIC])
    return lines + _planted(facts.get("planted", {}))


def figures(
    stratum: str,
    found: Attributed,
    signature: pd.DataFrame,
    options: ReportOptions,
    simulated: bool,
) -> list[Figure]:
    """Draw all explained samples, and two of them from base to score.

    The two are the case with the highest score and the control with the lowest: typical ones to
    learn to read the picture by, not proof.
    """
    if found.facts["note"]:
        return []
    drawn = [
        beeswarm_figure(
            stratum, found.values, found.inputs, signature, options, simulated=simulated
        )
    ]
    for case, word in ((1, "case"), (0, "control")):
        rows = found.samples[found.samples["case"] == case].sort_values("logit", kind="stable")
        if rows.empty:
            continue
        row = rows.iloc[-1 if case else 0]
        drawn.append(
            waterfall_figure(
                str(row["gsm"]),
                found.values.loc[row["gsm"]],
                float(row["base"]),
                float(row["logit"]),
                options,
                simulated=simulated,
                about=f"{row['cohort']}, {word}",
            )
        )
    return drawn


def _against_logistic(facts: Mapping[str, Any]) -> list[str]:
    if facts["note"]:
        return [f"{model_name(_LOGISTIC)} was not explained. {facts['note']}"]
    found, top = facts["rank_correlation"], facts["top"]
    if number_of(found["value"]) is None:
        return []
    return [
        f"{model_name(_LOGISTIC)}, whose attributions are exact, ranks genes alike by "
        f"{decimal(found['value'])} ({decimal(found['low'])} to {decimal(found['high'])}, "
        f"{plural(found['n'], 'sample')}); of the top {top['k']} genes {top['overlap']} are the "
        f"same, {decimal(top['expected'], 1)} expected by chance."
    ]


def _planted(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    for model, ways in facts.items():
        sizes, apart = ways["by_size"], ways["by_separation"]
        if number_of(sizes["precision_at_k"]) is None:
            continue
        lines.append(
            f"SIMULATED: {sizes['k']} of {sizes['planted']} planted genes were given to the "
            f"models. Among as many first genes of {model_name(model)} lie {sizes['found']} of "
            f"them ({percent(sizes['precision_at_k'])}, {percent(sizes['low'])} to "
            f"{percent(sizes['high'])}) by the size of attributions, and {apart['found']} "
            f"({percent(apart['precision_at_k'])}, {percent(apart['low'])} to "
            f"{percent(apart['high'])}) by how far they move cases and controls apart; "
            f"{decimal(sizes['expected'] * sizes['k'], 1)} by chance."
        )
    return lines
