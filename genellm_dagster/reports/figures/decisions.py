"""The decision curve: what acting on the scores is worth, by how sure one wants to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genellm_dagster.reports.figures.canvas import (
    INK,
    MUTED,
    Figure,
    Plan,
    sheet,
    style_of,
    to_figure,
)
from genellm_dagster.reports.figures.curves import lead_models
from genellm_dagster.reports.names import LANGUAGE_MODEL, model_name, stratum_name
from genellm_dagster.reports.numbers import interval, percent

_BELOW = 0.25
"""How far below zero the curve is shown, in parts of the prevalence."""


def decision_figure(stratum: str, report: Mapping[str, Any], *, simulated: bool) -> Figure | None:
    """Draw net benefit against the probability from which one acts.

    Args:
        stratum: Its name.
        report: The stratum's evaluation JSON.
        simulated: Whether to mark the figure.

    Returns:
        The figure, or None for a report without net benefit.
    """
    models = report["models"]
    shown = [name for name in lead_models(report) if "net_benefit" in models[name]]
    if not shown:
        return None
    prevalence = float(report["prevalence"])
    with sheet(6.8, 4.2) as (drawn, (panel,)):
        everyone = models[shown[0]]["net_benefit"]["curve"]
        panel.plot(
            everyone["threshold"],
            everyone["treat_all"],
            color=MUTED,
            linestyle=(0, (2, 3)),
            label="Acting on everyone",
        )
        panel.axhline(0, color=INK, linewidth=0.9, label="Acting on no one")
        for index, name in enumerate(shown):
            curve = models[name]["net_benefit"]["curve"]
            style = style_of(index)
            panel.plot(
                curve["threshold"],
                curve["net_benefit"],
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=2.4 if name == LANGUAGE_MODEL else 1.6,
                label=model_name(name),
            )
        panel.set_xlim(0, 1)
        panel.set_ylim(-_BELOW * prevalence, 1.05 * prevalence)
        panel.grid(visible=True)
        panel.set_xlabel("Probability from which one acts")
        panel.set_ylabel("Net benefit")
        panel.set_title(f"{stratum_name(stratum)}: n = {report['n']}, cases = {report['cases']}")
        drawn.legend(loc="outside right upper")
        spoken = "; ".join(
            f"{model_name(name)} "
            + ", ".join(
                f"{interval(row['net_benefit'])} at {percent(row['threshold'])}"
                for row in models[name]["net_benefit"]["thresholds"]
            )
            for name in shown
        )
        plan = Plan(
            title=f"Decision curves, {stratum_name(stratum)}",
            description=f"Net benefit against the probability from which one acts, on "
            f"{report['n']} samples of prevalence {percent(prevalence)}. {spoken}.",
            caption="Cases found a person, less needless actions at the price that the horizontal "
            "axis sets. A model is worth using where it lies above both acting on everyone and on "
            "no one. At the prevalence of these samples, which is that of no clinic.",
        )
        return to_figure(drawn, f"decisions-{stratum}", plan, simulated=simulated)
