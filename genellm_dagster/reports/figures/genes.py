"""The genes a model leans on: the strongest of each stratum, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from genellm_dagster.reports.figures.canvas import (
    CASE_COLOUR,
    CONTROL_COLOUR,
    PAPER,
    Figure,
    Plan,
    sheet,
    to_figure,
)
from genellm_dagster.reports.names import stratum_name
from genellm_dagster.reports.numbers import listed
from genellm_dagster.reports.options import ReportOptions

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def top_of(signature: pd.DataFrame, n: int) -> pd.DataFrame:
    """Give the ``n`` strongest genes of a signature, strongest first."""
    by = ["rank"] if "rank" in signature else ["mean_abs"]
    return signature.sort_values(by, ascending="rank" in signature, kind="stable").head(n)


def genes_figure(
    signatures: Mapping[str, pd.DataFrame], options: ReportOptions, *, simulated: bool
) -> Figure:
    """Draw the top genes of each stratum; genes that several strata share are marked.

    Args:
        signatures: Stratum to ``gene, mean_abs, mean_signed, stability, rank``.
        options: How many genes.
        simulated: Whether to mark the figure.
    """
    tops = {stratum: top_of(frame, options.top_genes) for stratum, frame in signatures.items()}
    names = [set(frame["gene"]) for frame in tops.values()]
    shared = set.intersection(*names) if len(names) > 1 else set()
    rows = max((len(frame) for frame in tops.values()), default=1)
    width, height = 4.3 * len(tops) + 0.5, 1.2 + 0.235 * rows
    with sheet(width, height, columns=len(tops)) as (drawn, panels):
        for panel, (stratum, frame) in zip(panels, tops.items(), strict=True):
            colours = [CASE_COLOUR if up else CONTROL_COLOUR for up in frame["mean_signed"] >= 0]
            bars = panel.barh(
                range(len(frame)), frame["mean_abs"], color=colours, height=0.72, linewidth=0
            )
            for bar, up in zip(bars, frame["mean_signed"] >= 0, strict=True):
                bar.set_hatch("///" if up else "")
                bar.set_edgecolor(PAPER)
            panel.set_yticks(
                range(len(frame)),
                [f"{'● ' if gene in shared else ''}{gene}" for gene in frame["gene"]],
            )
            panel.set_ylim(rows - 0.4, -0.6)
            panel.tick_params(axis="y", length=0)
            panel.grid(visible=True, axis="x")
            panel.margins(x=0.02)
            panel.set_xlabel("Mean size of the attribution")
            panel.set_title(stratum_name(stratum))
        _legend(panels[-1])
        spoken = "; ".join(
            f"{stratum_name(stratum)}: {', '.join(frame['gene'])}"
            for stratum, frame in tops.items()
        )
        if len(tops) > 1:
            names_shared = listed(sorted(shared)) or "none"
            common = (
                f"With a dot: in the top {options.top_genes} of every stratum ({names_shared})."
            )
        else:
            common = "Only one stratum was measured, so there is nothing to compare with."
        plan = Plan(
            title="Top genes",
            description=f"The strongest genes by mean attribution. {spoken}. {common}",
            caption="How much a gene moves the score on average. Hatched: a gene that pushes the "
            f"score towards case; plain: towards control. {common} An attribution says what the "
            "model uses, not what causes the disease.",
        )
        return to_figure(drawn, "genes", plan, simulated=simulated)


def _legend(panel: Axes) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=CASE_COLOUR, edgecolor=PAPER, hatch="///", label="pushes towards case"),
        Patch(facecolor=CONTROL_COLOUR, edgecolor=PAPER, label="pushes towards control"),
    ]
    panel.legend(handles=handles, loc="lower right")
