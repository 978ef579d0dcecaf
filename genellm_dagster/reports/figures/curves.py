"""How well scores rank and how far they can be read as probabilities: ROC and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genellm_dagster.reports.figures.canvas import (
    CASE_COLOUR,
    CONTROL_COLOUR,
    GRID,
    MUTED,
    PAPER,
    Figure,
    Plan,
    sheet,
    style_of,
    to_figure,
)
from genellm_dagster.reports.names import LANGUAGE_MODEL, model_name, role_of, stratum_name
from genellm_dagster.reports.numbers import decimal, interval, number_of, plural
from genellm_dagster.reports.options import ReportOptions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More lines than these cannot be told apart; the others are drawn thin and grey.
_NAMED_LINES = 5
_Z95 = 1.959964


def curve_of(case: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the ROC curve's corners: false positive and true positive shares, from (0,0) to (1,1).

    Args:
        case: 0 or 1, shape (n,), both present.
        score: Higher means case, shape (n,); ties become one slanted piece.
    """
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits = np.cumsum(case[order])[last_of_tie]
    false = last_of_tie + 1 - hits
    return np.append(0, false / (case == 0).sum()), np.append(0, hits / case.sum())


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Give Wilson's 95 % interval of a share (JASA 1927; 22:209)."""
    share, z2 = hits / n, _Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low, high = float(max(0.0, middle - half)), float(min(1.0, middle + half))
    # Exact at the ends, where rounding would leave a hair.
    return (0.0 if hits == 0 else low), (1.0 if hits == n else high)


def lead_models(report: Mapping[str, Any]) -> list[str]:
    """Choose the models worth a colour: GeneLLM, and the best of each other part played."""
    values = {name: number_of(part.get("auroc")) for name, part in report["models"].items()}
    known = sorted((name for name in values if values[name] is not None), key=_best(values))
    chosen = [name for name in known if name == LANGUAGE_MODEL]
    chosen += [name for name in known if name == "logistic_regression"]
    for role in ("classical", "single gene", "published score"):
        chosen += [name for name in known if role_of(name) == role and name not in chosen][:1]
    return chosen[:_NAMED_LINES]


def _best(values: Mapping[str, float | None]) -> Any:
    return lambda name: (-(values[name] or 0.0), name)


def roc_figure(
    stratum: str,
    predictions: pd.DataFrame,
    report: Mapping[str, Any],
    *,
    simulated: bool,
) -> Figure:
    """Draw the ROC curves of one stratum, all models, from out-of-fold scores.

    Args:
        stratum: Its name.
        predictions: Scores of all models, table ``predictions``.
        report: The stratum's evaluation JSON, for the areas and intervals.
        simulated: Whether to mark the figure.
    """
    leads = lead_models(report)
    groups = dict(iter(predictions.groupby("model", sort=True)))
    with sheet(5.0, 6.1) as (drawn, (panel,)):
        panel.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        others = [name for name in groups if name not in leads]
        for index, name in enumerate(others):
            false, true = curve_of(*_case_and_score(groups[name]))
            words = f"{len(others)} others (see the table)" if index == 0 else None
            panel.plot(false, true, color=GRID, linewidth=1.1, label=words, zorder=1.5)
        for index, name in enumerate(leads):
            if name not in groups:
                continue
            false, true = curve_of(*_case_and_score(groups[name]))
            style = style_of(index)
            panel.plot(
                false,
                true,
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=2.4 if name == LANGUAGE_MODEL else 1.6,
                label=f"{model_name(name)}: {interval(report['models'][name].get('auroc'))}",
                zorder=3 if name == LANGUAGE_MODEL else 2,
            )
        _square(panel)
        panel.set_xlabel("Controls wrongly called cases (1 − specificity)")
        panel.set_ylabel("Cases found (sensitivity)")
        panel.set_title(f"{stratum_name(stratum)}: n = {report['n']}, cases = {report['cases']}")
        # Below the curves: a legend inside would hide the poor ones.
        drawn.legend(loc="outside lower left", title="AUROC (95 % interval)", alignment="left")
        spoken = "; ".join(
            f"{model_name(name)} {interval(report['models'][name].get('auroc'))}" for name in leads
        )
        plan = Plan(
            title=f"ROC curves, {stratum_name(stratum)}",
            description=f"Receiver operating characteristic curves of {len(groups)} models on "
            f"{report['n']} samples. Areas with 95 % intervals: {spoken}.",
            caption="Every score comes from a model that had not seen that sample's fold. A curve "
            "along the upper left edge is perfect; the dotted diagonal is a coin.",
        )
        return to_figure(drawn, f"roc-{stratum}", plan, simulated=simulated)


def calibration_figure(
    stratum: str,
    predictions: pd.DataFrame,
    report: Mapping[str, Any],
    options: ReportOptions,
    *,
    simulated: bool,
) -> Figure:
    """Draw how often a score came true, with the spread of scores below.

    Args:
        stratum: Its name.
        predictions: Scores of all models, table ``predictions``.
        report: The stratum's evaluation JSON, for slope and expected calibration error.
        options: Number and least size of the groups.
        simulated: Whether to mark the figure.
    """
    groups = dict(iter(predictions.groupby("model", sort=True)))
    shown = [name for name in lead_models(report) if name in groups][:2]
    with sheet(5.0, 6.2, rows=2, sharex=True, gridspec_kw={"height_ratios": [4.2, 1]}) as (
        drawn,
        (panel, below),
    ):
        panel.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        for index, name in enumerate(shown):
            case, score = _case_and_score(groups[name])
            bins = _equal_groups(score, options)
            x = np.array([score[part].mean() for part in bins])
            y = np.array([case[part].mean() for part in bins])
            ends = np.array([wilson(int(case[part].sum()), len(part)) for part in bins])
            style = style_of(index)
            # Side by side by a hair, so that two intervals at one score do not hide each other.
            x = np.clip(x + (0.006 if index else -0.006), 0, 1)
            panel.vlines(x, ends[:, 0], ends[:, 1], color=style["color"], linewidth=1.1, alpha=0.8)
            error = decimal(report["models"][name].get("ece"), 2)
            panel.plot(x, y, **style, markersize=5.5, label=f"{model_name(name)}: ECE {error}")
        _square(panel)
        panel.set_ylabel("Share that were cases")
        panel.set_title(f"{stratum_name(stratum)}: n = {report['n']}, cases = {report['cases']}")
        panel.legend(loc="upper left")
        if shown:
            case, score = _case_and_score(groups[shown[0]])
            edges = [float(edge) for edge in np.linspace(0, 1, 41)]
            below.hist(score[case == 1], edges, color=CASE_COLOUR, label="cases")
            controls, _ = np.histogram(score[case == 0], edges)
            below.bar(
                edges[:-1],
                -controls,
                width=np.diff(edges),
                align="edge",
                color=CONTROL_COLOUR,
                label="controls",
            )
            below.axhline(0, color=MUTED, linewidth=0.8)
            below.set_yticks([])
            below.spines["left"].set_visible(False)
            # Beside the bars, not over them: scores pile up at both ends.
            below.legend(loc="center", ncols=2, bbox_to_anchor=(0.5, 0.8))
        below.set_xlabel(f"Score ({model_name(shown[0]) if shown else 'no model'} below)")
        spoken = "; ".join(
            f"{model_name(name)} slope "
            f"{decimal(report['models'][name].get('calibration_slope'), 2)}, expected calibration "
            f"error {decimal(report['models'][name].get('ece'), 2)}"
            for name in shown
        )
        plan = Plan(
            title=f"Calibration, {stratum_name(stratum)}",
            description=f"Share of cases among samples with similar scores, on {report['n']} "
            f"samples. {spoken}.",
            caption="On the dotted diagonal a score of 0.7 means that 7 in 10 such people were "
            "cases. Bars are 95 % intervals (Wilson). Below: scores of cases (up) and of controls "
            "(down). ECE, the expected calibration error, is the mean distance from the diagonal.",
        )
        return to_figure(drawn, f"calibration-{stratum}", plan, simulated=simulated)


def scores_figure(
    predictions: Mapping[str, pd.DataFrame], reports: Mapping[str, Any], *, simulated: bool
) -> Figure:
    """Draw GeneLLM's scores of cases and controls, one panel a stratum.

    Args:
        predictions: Stratum to table ``predictions``; each must hold GeneLLM.
        reports: Stratum to evaluation JSON; gives the order of panels.
        simulated: Whether to mark the figure.
    """
    strata = list(predictions)
    edges = [float(edge) for edge in np.linspace(0, 1, 26)]
    spoken: list[str] = []
    with sheet(4.4 * len(strata) + 0.6, 3.1, columns=len(strata), sharey=True) as (drawn, panels):
        for panel, stratum in zip(panels, strata, strict=True):
            frame = predictions[stratum]
            case, score = _case_and_score(frame[frame["model"] == LANGUAGE_MODEL])
            for value, colour, words in (
                (1, CASE_COLOUR, "cases"),
                (0, CONTROL_COLOUR, "controls"),
            ):
                part = score[case == value]
                panel.hist(
                    part,
                    edges,
                    weights=np.full(len(part), 1 / max(1, len(part))),
                    color=colour,
                    alpha=0.65,
                    hatch="///" if value else None,
                    edgecolor=PAPER,
                    linewidth=0.4,
                    label=f"{words} (n = {len(part)})",
                )
                if len(part):
                    spoken.append(f"{stratum_name(stratum)} {words} median {np.median(part):.2f}")
            panel.set_title(f"{stratum_name(stratum)}: n = {reports[stratum]['n']}")
            panel.set_xlabel("Score of GeneLLM")
            panel.set_xlim(0, 1)
            panel.legend(loc="upper center")
        panels[0].set_ylabel("Share of the group")
        plan = Plan(
            title="Scores of GeneLLM by stratum",
            description="Histograms of out-of-fold scores. " + "; ".join(spoken) + ".",
            caption=f"Out-of-fold scores in {plural(len(strata), 'stratum', 'strata')}. The more "
            "the two colours overlap, and the closer scores lie to 0.5, the less sure the model "
            "is. Cases are hatched.",
        )
        return to_figure(drawn, "scores", plan, simulated=simulated)


def _case_and_score(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return frame["case"].to_numpy(int), frame["score"].to_numpy(float)


def _equal_groups(score: np.ndarray, options: ReportOptions) -> Sequence[np.ndarray]:
    """Split samples by score into groups of equal size, never smaller than the options say."""
    wanted = min(options.calibration_bins, len(score) // options.calibration_bin_samples)
    return np.array_split(np.argsort(score, kind="stable"), max(1, wanted))


def _square(panel: Axes) -> None:
    panel.set_xlim(-0.015, 1.015)
    panel.set_ylim(-0.015, 1.015)
    panel.grid(visible=True)
