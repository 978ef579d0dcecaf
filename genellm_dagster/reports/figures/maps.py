"""Maps of the samples (UMAP), coloured by what they are and by where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from genellm_dagster.reports.figures.canvas import (
    CASE_COLOUR,
    CONTROL_COLOUR,
    MUTED,
    Figure,
    Plan,
    sheet,
    style_of,
    to_figure,
    words_of,
)
from genellm_dagster.reports.names import label_words, stratum_name
from genellm_dagster.reports.options import ReportOptions

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Cohorts begin where the colours of cases and controls end, so that panels cannot be mixed up.
_COHORT_COLOURS = 2
_SIDES: Mapping[int, tuple[str, str, tuple[str, ...]]] = {
    1: ("case", "^", (CASE_COLOUR, "#E69F00", "#8C3A00")),
    0: ("control", "o", (CONTROL_COLOUR, "#56B4E9")),
    -1: ("unlabelled", "x", (MUTED,)),
}


def map_figure(
    stratum: str,
    embedding: pd.DataFrame,
    options: ReportOptions,
    *,
    simulated: bool,
    scores: Mapping[str, float] = MappingProxyType({}),
) -> Figure:
    """Draw one stratum's map twice: coloured by label, and by cohort.

    Args:
        stratum: Its name.
        embedding: ``gsm, x, y, cohort, case, label``, one row a sample.
        options: Up to how many points are named under the pointer.
        simulated: Whether to mark the figure.
        scores: Sample to GeneLLM's out-of-fold score, for the words under the pointer.
    """
    named = len(embedding) <= options.hover_points
    hovers: dict[str, list[str]] = {}
    labels = embedding["label"].fillna("no label").astype(str)
    sides = embedding["case"].astype("Int8").fillna(-1).astype(int)
    # Cases in warm colours, controls in cold ones: the side stays visible with many labels.
    kinds = sorted(set(zip(sides.tolist(), labels.tolist(), strict=True)), reverse=True)
    with sheet(9.6, 4.9, columns=2) as (drawn, (left, right)):
        used = {1: 0, 0: 0, -1: 0}
        for index, (side, label) in enumerate(kinds):
            mask = (labels == label) & (sides == side)
            word, marker, colours = _SIDES[side]
            style = {"color": colours[used[side] % len(colours)], "marker": marker}
            used[side] += 1
            name = f"{label_words(label)} ({word}, n = {int(mask.sum())})"
            _scatter(left, embedding[mask], style, name, f"label{index}" if named else None)
            if named:
                hovers[f"label{index}"] = _words(embedding[mask], scores)
        cohorts = sorted(embedding["cohort"].astype(str).unique())
        for index, cohort in enumerate(cohorts):
            mask = embedding["cohort"].astype(str) == cohort
            look = style_of(index + _COHORT_COLOURS)
            style = {"color": look["color"], "marker": look["marker"]}
            name = f"{cohort} (n = {int(mask.sum())})"
            _scatter(right, embedding[mask], style, name, f"cohort{index}" if named else None)
            if named:
                hovers[f"cohort{index}"] = _words(embedding[mask], scores)
        for panel, words in ((left, "by label"), (right, "by cohort")):
            panel.set_title(f"{stratum_name(stratum)}, {words}")
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[["left", "bottom"]].set_color("#d5dbe3")
            panel.set_xlabel("UMAP 1")
            panel.set_ylabel("UMAP 2")
            panel.legend(
                loc="upper left",
                bbox_to_anchor=(0, -0.07),
                ncols=2,
                markerscale=1.4,
                handletextpad=0.2,
                columnspacing=1.0,
            )
        plan = Plan(
            title=f"Map of the samples, {stratum_name(stratum)}",
            description=f"UMAP of {len(embedding)} samples of {len(cohorts)} cohorts, once "
            "coloured by label, once by cohort.",
            caption="Each point is a sample; near means similar to the model. UMAP keeps "
            "neighbours, not distances: read clusters, not gaps. If the right picture shows the "
            "same groups as the left one, the model may be seeing the laboratory instead of the "
            "disease." + (" Point at a sample to see which it is." if named else ""),
            hovers=dict(hovers),
        )
        return to_figure(drawn, f"map-{stratum}", plan, simulated=simulated, dpi=options.map_dpi)


def _scatter(
    panel: Axes, rows: pd.DataFrame, style: dict[str, Any], name: str, group: str | None
) -> None:
    panel.scatter(
        rows["x"],
        rows["y"],
        s=17,
        linewidths=0.8 if style["marker"] == "x" else 0,
        alpha=0.8,
        label=name,
        gid=group,
        rasterized=group is None,
        **style,
    )


def _words(rows: pd.DataFrame, scores: Mapping[str, float]) -> list[str]:
    return [
        words_of(
            {
                "": row["gsm"],
                "cohort": row["cohort"],
                "label": label_words(str(row["label"])),
                "score": f"{scores[row['gsm']]:.2f}" if row["gsm"] in scores else None,
            }
        )
        for row in rows.to_dict("records")
    ]
