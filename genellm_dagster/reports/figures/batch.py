"""Samples before and after the steps that bring cohorts together, on two principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genellm_dagster.expression.batch_view import BatchView
from genellm_dagster.reports import marks
from genellm_dagster.reports.batch import share_of, share_words
from genellm_dagster.reports.figures.canvas import (
    INK,
    MUTED,
    PALETTE,
    Figure,
    Plan,
    sheet,
    to_figure,
    words_of,
)
from genellm_dagster.reports.names import state_words, stratum_name
from genellm_dagster.reports.options import ReportOptions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Sheet

_COLUMNS = 3
_SIDES = {1: ("case", "^"), 0: ("control", "o")}
# A colour is used again as an outline; further cohorts than that share the grey.
_TOLD_APART = 2 * len(PALETTE)


def batch_figure(
    stratum: str, view: BatchView, options: ReportOptions, *, simulated: bool
) -> Figure | None:
    """Draw one panel a state; colour is the cohort, the mark is case or control.

    Args:
        stratum: Its name.
        view: The samples in each state.
        options: Up to how many points are named under the pointer.
        simulated: Whether to mark the figure.

    Returns:
        The figure, or None when there is nothing to compare.
    """
    if view.reason or view.points.empty:
        return None
    cohorts = sorted(view.points["cohort"].unique())
    looks = {cohort: _look(index) for index, cohort in enumerate(cohorts)}
    named = len(view.points) <= options.hover_points
    columns = min(len(view.states), _COLUMNS)
    rows = -(-len(view.states) // columns)
    legend_rows = -(-(min(len(cohorts), _TOLD_APART + 1) + 2) // 4)
    hovers: dict[str, list[str]] = {}
    with sheet(
        3.25 * columns if columns > 1 else 4.6, 3.1 * rows + 0.25 * legend_rows, columns, rows
    ) as (drawn, panels):
        for panel in panels[len(view.states) :]:
            panel.set_visible(False)
        for number, state in enumerate(view.states):
            hovers |= _panel(panels[number], view, number, state, looks, named=named)
        _legend(drawn, view, looks)
        further = len(cohorts) - _TOLD_APART
        plan = Plan(
            title=f"Samples before and after, {stratum_name(stratum)}",
            description=f"{len(view.points) // len(view.states)} samples of {len(cohorts)} cohorts "
            f"on the first two principal components. {_spoken(view)}",
            caption="Each point is a sample; near means alike in the genes that all cohorts "
            "measure. Colour: cohort; triangles: cases, circles: controls. In brackets how much of "
            "the variance an axis holds. Cohorts that lie apart differ by laboratory as well as by "
            "people; cases and controls that lie apart within a cohort differ by disease. What a "
            "step learns was learned here on all samples, for this picture only."
            + (f" {further} further cohorts share the grey." if further > 0 else "")
            + (" Point at a sample to see which it is." if named else "")
            + _marked(view),
            hovers=dict(hovers),
        )
        return to_figure(drawn, f"batch-{stratum}", plan, simulated=simulated, dpi=options.map_dpi)


def _panel(
    panel: Axes,
    view: BatchView,
    number: int,
    state: str,
    looks: dict[str, dict[str, Any]],
    *,
    named: bool,
) -> dict[str, list[str]]:
    """Draw one state; give the words of its points, by group."""
    hovers: dict[str, list[str]] = {}
    points = view.points[view.points["state"] == state]
    for place, (cohort, look) in enumerate(looks.items()):
        for side, (word, marker) in _SIDES.items():
            rows = points[(points["cohort"] == cohort) & (points["case"] == side)]
            if rows.empty:
                continue
            group = f"state{number}cohort{place}{word}"
            panel.scatter(
                rows["x"],
                rows["y"],
                s=15,
                marker=marker,
                gid=group if named else None,
                rasterized=not named,
                **look,
            )
            if named:
                hovers[group] = [
                    words_of({"": gsm, "cohort": cohort, "label": word}) for gsm in rows["gsm"]
                ]
    axes = view.axes.set_index("state").loc[state]
    panel.set_xlabel(f"PC 1 ({share_words(axes['x'])})")
    panel.set_ylabel(f"PC 2 ({share_words(axes['y'])})")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.margins(0.07)
    words = state_words(state)
    mark = marks.short(view.marks.get(state, []))
    panel.set_title(f"{words[:1].upper()}{words[1:]}" + (f"\n({mark})" if mark else ""))
    return hovers


def _look(index: int) -> dict[str, Any]:
    """Give fill, edge and line width of the ``index``-th cohort's marks."""
    from matplotlib.colors import to_rgba

    # One fill and one edge each, if transparent: else matplotlib writes every point in full.
    colour = to_rgba(PALETTE[index % len(PALETTE)] if index < _TOLD_APART else MUTED, 0.8)
    if index < len(PALETTE):
        return {"facecolors": [colour], "edgecolors": [colour], "linewidths": 0}
    return {"facecolors": [(0, 0, 0, 0)], "edgecolors": [colour], "linewidths": 0.9}


def _legend(drawn: Sheet, view: BatchView, looks: dict[str, dict[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    first = view.points[view.points["state"] == view.states[0]]
    counts = first["cohort"].value_counts()

    def mark(marker: str, look: dict[str, Any], label: str) -> Line2D:
        return Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            markersize=5.5,
            markerfacecolor=look["facecolors"][0],
            markeredgecolor=look["edgecolors"][0],
            markeredgewidth=look["linewidths"],
            label=label,
        )

    handles = [
        mark("s", look, f"{cohort} (n = {counts[cohort]})")
        for cohort, look in list(looks.items())[:_TOLD_APART]
    ]
    rest = list(looks)[_TOLD_APART:]
    if rest:
        total = sum(int(counts[cohort]) for cohort in rest)
        handles.append(mark("s", looks[rest[0]], f"{len(rest)} further cohorts (n = {total})"))
    ink = {"facecolors": ["none"], "edgecolors": [INK], "linewidths": 0.9}
    for side, (word, marker) in _SIDES.items():
        handles.append(mark(marker, ink, f"{word} (n = {int((first['case'] == side).sum())})"))
    drawn.legend(
        handles=handles,
        loc="outside lower left",
        ncols=min(4, len(handles)) if len(view.states) > 1 else 2,
        handletextpad=0.2,
        columnspacing=1.2,
    )


def _spoken(view: BatchView) -> str:
    parts = []
    for state in view.states:
        cohort, label = (share_words(share_of(view, state, name)) for name in ("cohort", "case"))
        parts.append(f"{state_words(state)}: cohort explains {cohort}, label {label}")
    return f"{'; '.join(parts)}."


def _marked(view: BatchView) -> str:
    said = [
        f"{state_words(state)}: {'; '.join(steps)}"
        for state, steps in view.marks.items()
        if state in view.states and steps
    ]
    return f" Marked: {'. '.join(said)}." if said else ""
