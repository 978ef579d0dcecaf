"""Areas under the curve with their intervals, as points on a line: by model, and by cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from genellm_dagster.reports.numbers import bounds_of, interval, number_of

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


def cohort_figure(reports: Mapping[str, Mapping[str, Any]], *, simulated: bool) -> Figure | None:
    """Draw GeneLLM's AUROC in each cohort beside that of the first classical classifier.

    Args:
        reports: Stratum to evaluation JSON.
        simulated: Whether to mark the figure.

    Returns:
        The figure, or None when no cohort was measured on its own.
    """
    rows: list[tuple[str, str, Any, Any, Any]] = []
    for stratum, report in reports.items():
        models = report["models"]
        other = "logistic_regression" if "logistic_regression" in models else None
        cohorts = models.get(LANGUAGE_MODEL, {}).get("cohorts", {})
        for cohort, part in cohorts.items():
            beside = models[other].get("cohorts", {}).get(cohort, {}) if other else {}
            rows.append((stratum, cohort, part, beside.get("auroc"), part.get("auroc")))
    rows = [row for row in rows if number_of(row[4]) is not None]
    if not rows:
        return None
    height = 1.15 + 1.45 * _ROW_INCHES * len(rows)
    with sheet(6.8, height) as (drawn, panels):
        for row, (_stratum, _cohort, _part, beside, own) in enumerate(rows):
            if number_of(beside) is not None:
                _point(panels[0], row + 0.16, beside, *_LOOK["classical"])
                _point(panels[0], row - 0.16, own, *_LOOK["language model"])
            else:
                _point(panels[0], row, own, *_LOOK["language model"])
        _finish(
            panels,
            [
                f"{stratum_name(stratum)} · {cohort} ({part['cases']}/{part['n']})"
                for stratum, cohort, part, _, _ in rows
            ],
        )
        spoken = "; ".join(
            f"{stratum_name(stratum)} {cohort}: {interval(own)}"
            for stratum, cohort, _, _, own in rows
        )
        plan = Plan(
            title="AUROC in each cohort",
            description=f"GeneLLM's AUROC with 95 % intervals in each cohort. {spoken}.",
            caption="Each cohort on its own (cases/samples in brackets). Diamond: GeneLLM; square: "
            "logistic regression. A model that only works in some cohorts has not learned the "
            "disease.",
        )
        return to_figure(drawn, "cohorts", plan, simulated=simulated)


def _point(panel: Axes, row: float, value: Any, colour: str, marker: str) -> None:
    number, bounds = number_of(value), bounds_of(value)
    if number is None:
        return
    if bounds is not None:
        panel.hlines(row, *bounds, color=colour, linewidth=1.8)
    panel.plot([number], [row], marker=marker, color=colour, markersize=6.5, linestyle="none")


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
