"""Areas under the curve with their intervals, on a line: by model, by cohort, and pooled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genellm_dagster.reports.figures.canvas import (
    MUTED,
    PALETTE,
    Figure,
    Plan,
    sheet,
    to_figure,
)
from genellm_dagster.reports.names import (
    LANGUAGE_MODEL,
    Role,
    in_order,
    model_name,
    role_of,
    stratum_name,
)
from genellm_dagster.reports.numbers import bounds_of, interval, number_of, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOK: Mapping[Role, tuple[str, str]] = {
    "language model": (PALETTE[0], "D"),
    "classical": (PALETTE[2], "s"),
    "single gene": (PALETTE[1], "^"),
    "published score": (PALETTE[3], "o"),
    "control": (MUTED, "X"),
}
_ROW_INCHES = 0.27
_RIVAL = "logistic_regression"
_FEWEST_POOLED = 3
"""Cohorts from which on a pooled number is drawn: with two its interval is most of the scale."""


def forest_figure(reports: Mapping[str, Mapping[str, Any]], *, simulated: bool) -> Figure:
    """Draw every model's AUROC with its interval, one panel a stratum.

    Args:
        reports: Stratum to evaluation JSON.
        simulated: Whether to mark the figure.
    """
    strata = list(reports)
    values: dict[str, float | None] = {}
    for report in reports.values():
        for name, part in report["models"].items():
            value = number_of(part.get("auroc"))
            if value is not None and value > (values.get(name) or 0.0):
                values[name] = value
            values.setdefault(name, None)
    models = in_order(values, values)
    height = 1.15 + _ROW_INCHES * len(models)
    width = 3.4 * len(strata) + 2.2
    with sheet(width, height, columns=len(strata), sharex=True, sharey=True) as (drawn, panels):
        for panel, stratum in zip(panels, strata, strict=True):
            report = reports[stratum]
            for row, name in enumerate(models):
                if name in report["models"]:
                    colour, marker = _LOOK[role_of(name)]
                    _point(panel, row, report["models"][name].get("auroc"), colour, marker)
                else:
                    panel.text(0.5, row, "refused", color=MUTED, fontsize=8, va="center")
            panel.set_title(
                f"{stratum_name(stratum)}: n = {report['n']}, cases = {report['cases']}"
            )
        _finish(panels, [model_name(name) for name in models])
        spoken = "; ".join(
            f"{stratum_name(stratum)}: "
            + ", ".join(
                f"{model_name(name)} {interval(reports[stratum]['models'][name].get('auroc'))}"
                for name in models
                if name in reports[stratum]["models"]
            )
            for stratum in strata
        )
        plan = Plan(
            title="AUROC of every model",
            description=f"AUROC with 95 % intervals. {spoken}.",
            caption="All models on the same folds. Diamond: GeneLLM; squares: classical "
            "classifiers; triangle: one gene; circles: published scores; crosses: controls. The "
            "dotted line at 0.5 is a coin. Overlapping intervals do not settle which model is "
            "better; the paired test in the tables below does.",
        )
        return to_figure(drawn, "forest", plan, simulated=simulated)


@dataclass(frozen=True)
class _Row:
    """One line of the cohort figure: its name, GeneLLM's number there, and the rival's."""

    name: str
    own: Any
    rival: Any
    pooled: bool = False


def cohort_figure(reports: Mapping[str, Mapping[str, Any]], *, simulated: bool) -> Figure | None:
    """Draw GeneLLM's AUROC in each cohort beside logistic regression's, and both pooled.

    Args:
        reports: Stratum to evaluation JSON.
        simulated: Whether to mark the figure.

    Returns:
        The figure, or None when no cohort was measured on its own.
    """
    rows = [row for stratum, report in reports.items() for row in _rows(stratum, report)]
    if not rows:
        return None
    height = 1.15 + 1.45 * _ROW_INCHES * len(rows)
    with sheet(6.8, height) as (drawn, panels):
        for place, row in enumerate(rows):
            draw = _diamond if row.pooled else _point
            apart = 0.16 if number_of(row.rival) is not None else 0.0
            draw(panels[0], place - apart, row.own, *_LOOK["language model"])
            if apart:
                draw(panels[0], place + apart, row.rival, *_LOOK["classical"])
        _finish(panels, [row.name for row in rows])
        for place, row in enumerate(rows):
            if row.pooled:
                apart = 0.16 if number_of(row.rival) is not None else 0.0
                _prediction(panels[0], place - apart, row.own, _LOOK["language model"][0])
                _prediction(panels[0], place + apart, row.rival, _LOOK["classical"][0])
        spoken = "; ".join(f"{row.name}: {interval(row.own)}" for row in rows)
        pooled = (
            " Wide diamonds: pooled over cohorts by random effects, with the thin line where the "
            "AUROC of one more cohort may lie (prediction interval, an arrow where it leaves the "
            "picture); I² is the share of the spread "
            "that is more than chance."
        )
        plan = Plan(
            title="AUROC in each cohort",
            description=f"GeneLLM's AUROC with 95 % intervals in each cohort. {spoken}.",
            caption="Each cohort on its own (cases/samples in brackets). Diamond: GeneLLM; square: "
            "logistic regression. A model that only works in some cohorts has not learned the "
            f"disease.{pooled if any(row.pooled for row in rows) else ''}",
        )
        return to_figure(drawn, "cohorts", plan, simulated=simulated)


def _rows(stratum: str, report: Mapping[str, Any]) -> Iterator[_Row]:
    own = report["models"].get(LANGUAGE_MODEL, {})
    rival = report["models"].get(_RIVAL, {})
    for cohort, part in own.get("cohorts", {}).items():
        if number_of(part.get("auroc")) is not None:
            beside = rival.get("cohorts", {}).get(cohort, {}).get("auroc")
            name = f"{stratum_name(stratum)} · {cohort} ({part['cases']}/{part['n']})"
            yield _Row(name, part["auroc"], beside)
    pooled = own.get("pooled_auroc")
    if number_of(pooled) is not None and pooled["cohorts"] >= _FEWEST_POOLED:
        share = percent(number_of(pooled["i2"]))
        name = f"{stratum_name(stratum)} · pooled (I² {share})"
        yield _Row(name, pooled, rival.get("pooled_auroc"), pooled=True)


def _point(panel: Axes, row: float, value: Any, colour: str, marker: str) -> None:
    number, bounds = number_of(value), bounds_of(value)
    if number is None:
        return
    if bounds is not None:
        panel.hlines(row, *bounds, color=colour, linewidth=1.8)
    panel.plot([number], [row], marker=marker, color=colour, markersize=6.5, linestyle="none")


def _diamond(panel: Axes, row: float, value: Any, colour: str, _marker: str) -> None:
    """Draw a pooled number, as wide as its interval."""
    number, bounds = number_of(value), bounds_of(value)
    if number is not None and bounds is not None:
        corners = [bounds[0], number, bounds[1], number]
        panel.fill(corners, [row, row - 0.14, row, row + 0.14], color=colour)


def _prediction(panel: Axes, row: float, value: Any, colour: str) -> None:
    """Draw a prediction interval inside the picture, which it does not widen."""
    wide = value.get("prediction") if isinstance(value, Mapping) else None
    if wide is None:
        return
    edge = panel.get_xlim()[0]
    panel.hlines(row, max(wide["low"], edge), wide["high"], color=colour, linewidth=1.0)
    if wide["low"] < edge:
        panel.plot([edge], [row], marker="<", color=colour, markersize=5, clip_on=False)


def _finish(panels: Sequence[Axes], names: Sequence[str]) -> None:
    low = min([0.45, *(panel.dataLim.x0 - 0.02 for panel in panels if panel.has_data())])
    for panel in panels:
        panel.axvline(0.5, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        panel.grid(visible=True, axis="x")
        panel.set_xlabel("AUROC (95 % interval)")
        panel.set_xlim(max(0.0, low), 1.01)
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
