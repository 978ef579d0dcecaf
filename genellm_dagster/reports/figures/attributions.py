"""Attributions sample by sample: all of a stratum at once, and one patient from base to score.

Drawn here and not by the shap package, whose pictures have no mark for simulated data, no names
under the pointer, and colours that the report's dark and printed pages do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genellm_dagster.reports.figures.canvas import (
    CASE_COLOUR,
    CONTROL_COLOUR,
    INK,
    MUTED,
    PAPER,
    Figure,
    Plan,
    sheet,
    to_figure,
    words_of,
)
from genellm_dagster.reports.figures.genes import top_of
from genellm_dagster.reports.names import stratum_name
from genellm_dagster.reports.options import ReportOptions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure as Sheet

# A row of the swarm: how many columns of points it has, and how high it may grow, of 1.
_COLUMNS, _HEIGHT = 90, 0.8
_RESEARCH = "An attribution says what the model uses, not what causes the disease."


def beeswarm_figure(
    stratum: str,
    values: pd.DataFrame,
    inputs: pd.DataFrame,
    signature: pd.DataFrame,
    options: ReportOptions,
    *,
    simulated: bool,
) -> Figure:
    """Draw the attributions of all explained samples, one row a gene, strongest first.

    Args:
        stratum: Its name.
        values: Attributions (logit), gsm x genes; NaN absent.
        inputs: Values of the genes in the same samples, in any unit that grows with expression.
        signature: Genes with their rank, for the order.
        options: How many genes, and up to how many points are named under the pointer.
        simulated: Whether to mark the figure.
    """
    genes = [gene for gene in top_of(signature, options.top_genes)["gene"] if gene in values]
    named = len(values) * len(genes) <= options.hover_points
    hovers: dict[str, list[str]] = {}
    with sheet(8.2, 1.5 + 0.27 * len(genes)) as (drawn, (panel,)):
        panel.axvline(0, color=MUTED, linewidth=0.9)
        for row, gene in enumerate(genes):
            own = values[gene].dropna()
            told = inputs.loc[own.index, gene]
            group = f"swarm{row}" if named else None
            panel.scatter(
                own,
                row + _swarm(own.to_numpy(dtype=np.float64), values[genes]),
                c=_colours(told),
                s=15,
                linewidths=0,
                gid=group,
                rasterized=group is None,
            )
            if group is not None:
                hovers[group] = [
                    words_of({"": gsm, gene: _level(share), "attribution": f"{own[gsm]:+.2f}"})
                    for gsm, share in _shares(told).items()
                ]
        panel.set_yticks(range(len(genes)), genes)
        panel.set_ylim(len(genes) - 0.4, -0.6)
        panel.tick_params(axis="y", length=0)
        panel.grid(visible=True, axis="both")
        panel.set_xlabel("Attribution (logit): left towards control, right towards case")
        panel.set_title(f"{stratum_name(stratum)}, {len(values)} samples")
        _scale(drawn, panel)
        ways = "; ".join(_way(gene, values[gene], inputs[gene]) for gene in genes)
        plan = Plan(
            title=f"Attributions, {stratum_name(stratum)}",
            description=f"Attributions of {len(genes)} genes in {len(values)} samples. {ways}.",
            caption="Each point is a sample; its place says how far the gene moved the sample's "
            "score, its colour how much of the gene it has among the samples shown (blue little, "
            f"orange much). {_RESEARCH}"
            + (" Point at a sample to see which it is." if named else ""),
            hovers=dict(hovers),
        )
        return to_figure(
            drawn, f"attributions-{stratum}", plan, simulated=simulated, dpi=options.map_dpi
        )


def waterfall_figure(
    gsm: str,
    values: pd.Series,
    base: float,
    logit: float,
    options: ReportOptions,
    *,
    simulated: bool,
    about: str = "",
) -> Figure:
    """Draw how the genes of one sample lead from the background's score to its own.

    Args:
        gsm: The sample.
        values: Its attributions (logit), by gene; NaN absent.
        base: Mean logit of the background.
        logit: Logit of the sample. What the attributions miss of it is drawn as a row of its own.
        options: How many genes stand alone; the others are one row.
        simulated: Whether to mark the figure.
        about: What is known of the sample, such as its cohort and label.
    """
    steps = _steps(values.dropna(), base, logit, options.top_genes)
    starts = base + np.concatenate([[0.0], np.cumsum([size for _, size in steps])])
    rows = range(len(steps))
    with sheet(8.2, 1.5 + 0.27 * len(steps)) as (drawn, (panel,)):
        bars = panel.barh(
            rows,
            [size for _, size in steps],
            left=starts[:-1],
            color=[CASE_COLOUR if size >= 0 else CONTROL_COLOUR for _, size in steps],
            height=0.72,
            linewidth=0,
        )
        for bar, (_, size) in zip(bars, steps, strict=True):
            bar.set_hatch("///" if size >= 0 else "")
            bar.set_edgecolor(PAPER)
        for row, (_, size) in enumerate(steps):
            right = max(starts[row], starts[row + 1])
            panel.annotate(
                _signed(size), (right, row), (4, 0), textcoords="offset points",
                va="center", fontsize=8, color=INK,
            )  # fmt: skip
        panel.axvline(base, color=MUTED, linewidth=0.9, linestyle=":")
        panel.axvline(logit, color=INK, linewidth=0.9)
        panel.set_yticks(rows, [name for name, _ in steps])
        panel.set_ylim(len(steps) - 0.4, -0.6)
        panel.tick_params(axis="y", length=0)
        panel.grid(visible=True, axis="x")
        panel.use_sticky_edges = False  # the bars' ends would cover the lines of base and score
        panel.margins(x=0.09)
        panel.set_xlabel("Logit: dotted the background's mean, solid this sample's")
        panel.set_title(f"{gsm}, {about}" if about else gsm)
        spoken = ", ".join(f"{name} {_signed(size)}" for name, size in steps)
        plan = Plan(
            title=f"From the background to the score of {gsm}",
            description=f"The background's mean logit is {base:.2f}, that of {gsm} {logit:.2f}. "
            f"Steps: {spoken}.",
            caption="Each bar is what one gene adds to the score of this sample (on the scale of "
            "the logit; 0 is a score of one half). Hatched: towards case; plain: towards control. "
            f"{_RESEARCH} Research use only.",
        )
        return to_figure(drawn, f"waterfall-{gsm}", plan, simulated=simulated)


def _steps(own: pd.Series, base: float, logit: float, most: int) -> list[tuple[str, float]]:
    order = own.abs().sort_values(ascending=False, kind="stable").index
    steps = [(str(gene), float(own[gene])) for gene in order[:most]]
    rest = order[most:]
    if len(rest):
        steps.append((f"{len(rest)} other genes", float(own[rest].sum())))
    return [*steps, ("not attributed", float(logit - base - own.sum()))]


def _signed(size: float) -> str:
    return f"{round(size, 2) + 0.0:+.2f}"


def _swarm(own: np.ndarray, all_values: pd.DataFrame) -> np.ndarray:
    """Move points of a row up and down so that those at one place lie beside each other."""
    low, high = np.nanmin(all_values.to_numpy()), np.nanmax(all_values.to_numpy())
    width = (high - low) / _COLUMNS or 1.0
    column = np.round((own - low) / width).astype(int)
    moved = np.zeros(len(own))
    fullest = int(np.bincount(column).max())
    step = min(0.16, _HEIGHT / fullest)
    for place in np.unique(column):
        here = np.flatnonzero(column == place)
        # 0, 1, -1, 2, -2, ... so that a row stays around its middle.
        turn = np.arange(1, len(here) + 1) // 2 * np.where(np.arange(len(here)) % 2, 1, -1)
        moved[here] = turn * step
    return moved


def _shares(told: pd.Series) -> pd.Series:
    """How much of the gene a sample has among these: 0 least, 1 most; all alike in the middle."""
    if told.nunique() < 2:
        return pd.Series(0.5, index=told.index)
    return (told.rank() - 1) / (len(told) - 1)


def _colours(told: pd.Series) -> list[tuple[float, ...]]:
    colours = _colour_map()
    return [tuple(colours(share)) for share in _shares(told)]


def _colour_map() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("values", [CONTROL_COLOUR, "#9aa5b1", CASE_COLOUR])


def _level(share: float) -> str:
    for most, word in ((0.25, "little"), (0.75, "middling"), (1.0, "much")):
        if share <= most:
            return word
    return "much"


def _way(gene: str, pushed: pd.Series, told: pd.Series) -> str:
    known = pushed.notna() & told.notna()
    if pushed[known].nunique() < 2 or told[known].nunique() < 2:
        return f"{gene} moves all samples alike"
    up = np.corrcoef(pushed[known], told[known])[0, 1] >= 0
    return f"more of {gene} pushes towards {'case' if up else 'control'}"


def _scale(drawn: Sheet, panel: Axes) -> None:
    from matplotlib.cm import ScalarMappable

    bar = drawn.colorbar(ScalarMappable(cmap=_colour_map()), ax=panel, aspect=40, pad=0.01)
    bar.set_ticks([0, 1], labels=["little", "much"])
    bar.outline.set_visible(False)
    bar.set_label("of the gene")
