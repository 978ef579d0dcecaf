"""The sheet every figure is drawn on: size, colours, the SIMULATED mark, and the way to SVG.

A figure must come out byte for byte equal for equal input (no dates, no random ids), must stand
beside other figures on one page (ids made unique), and must read in light, dark and print (ink,
grid and paper are CSS variables with fixed fall-backs).
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Sheet

# Okabe and Ito's palette, told apart with every common colour blindness (jfly.uni-koeln.de/color),
# without yellow and black, which vanish on light and on dark paper.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", ">", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
CASE_COLOUR, CONTROL_COLOUR = "#D55E00", "#0072B2"
# Names of the ink: replaced in the SVG by CSS variables, so each must be used for nothing else.
INK, MUTED, GRID, PAPER = "#1f2a37", "#5b6776", "#d5dbe3", "#fdfefe"
STAMP = "#b3261e"
_VARIABLES = {STAMP: "--stamp", INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"}

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,  # a `$` in a title is a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    # Text stays text: lighter than paths, found by search and by a screen reader.
    "svg.fonttype": "none",
    "svg.hashsalt": "genellm",
}


@dataclass(frozen=True)
class Figure:
    """One drawn figure.

    Attributes:
        key: Unique on the page; letters, digits and hyphens.
        title: Short name, also the SVG's ``<title>``.
        description: What a reader who cannot see it needs to know, the SVG's ``<desc>``.
        caption: What it shows and how to read it, below the figure.
        svg: The inline SVG, safe to put into HTML: every text in it is escaped.
    """

    key: str
    title: str
    description: str
    caption: str
    svg: str


@dataclass
class Plan:
    """What a drawing function fills in: words, and names of points to show under the pointer.

    Attributes:
        hovers: For each group id given with ``set_gid``, the words of its points in order.
    """

    title: str
    description: str
    caption: str
    hovers: dict[str, Sequence[str]] = field(default_factory=dict)


@contextmanager
def sheet(
    width: float, height: float, columns: int = 1, rows: int = 1, **keywords: Any
) -> Iterator[tuple[Sheet, list[Axes]]]:
    """Open an empty sheet in the report's style.

    Args:
        width: Inches.
        height: Inches.
        columns: Panels side by side.
        rows: Panels below each other.
        **keywords: Passed to ``Figure.subplots`` (``gridspec_kw``, ``sharex`` and the like).

    Yields:
        The sheet and its panels, row by row. The style holds inside the block only.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MplFigure

    with mpl.rc_context(cast("Any", _STYLE)):
        # No pyplot: it keeps global state, and a Dagster process draws from several threads.
        drawn = MplFigure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        panels = drawn.subplots(rows, columns, squeeze=False, **keywords)
        yield drawn, list(panels.ravel())


def mark_simulated(drawn: Sheet) -> None:
    """Write SIMULATED across the sheet, behind nothing and before everything."""
    drawn.text(
        0.5,
        0.5,
        "SIMULATED",
        fontsize=min(54.0, 8.5 * float(drawn.get_size_inches()[0])),
        fontweight="bold",
        color=STAMP,
        alpha=0.22,
        rotation=18,
        ha="center",
        va="center",
        zorder=100,
        gid="simulated",
        in_layout=False,
    )


def to_figure(drawn: Sheet, key: str, plan: Plan, *, simulated: bool, dpi: int = 160) -> Figure:
    """Turn a drawn sheet into inline SVG.

    Must be called inside the ``sheet`` block, whose style (text as text, fixed ids) it needs.

    Args:
        drawn: The sheet.
        key: Unique on the page, for ids.
        plan: Title, description, caption and the words of single points.
        simulated: Whether the study is simulated; then the sheet is marked.
        dpi: Resolution of what is drawn as a picture inside the SVG, dots per inch.
    """
    key = re.sub(r"[^A-Za-z0-9-]+", "-", key)
    if simulated:
        mark_simulated(drawn)
    buffer = io.StringIO()
    no_dates = {"Date": None, "Creator": None, "Format": None, "Type": None}
    drawn.savefig(buffer, format="svg", metadata=no_dates, dpi=dpi)
    svg = _inline(buffer.getvalue(), key, plan, simulated)
    return Figure(key, plan.title, plan.description, plan.caption, svg)


def to_png(drawn: Sheet, *, dpi: int = 120) -> bytes:
    """Give a drawn sheet as PNG on white paper, for places that take no SVG (Dagster, MLflow)."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


_TAG = re.compile(r"<[a-zA-Z/][^<>]*>")


def _inline(svg: str, key: str, plan: Plan, simulated: bool) -> str:
    """Make matplotlib's SVG file fit to stand inside a page, beside others."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    for group, words in plan.hovers.items():
        svg = _name_points(svg, group, words)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", svg))

    def in_tags(change: Callable[[str], str]) -> str:
        # Only inside tags: a text that happens to look like an attribute stays as it was.
        return _TAG.sub(lambda match: change(match.group()), svg)

    def ids(tag: str) -> str:
        tag = re.sub(
            r' id="([^"]*)"',
            lambda match: f' id="{key}-{match.group(1)}"' if match.group(1) in used else "",
            tag,
        )
        return re.sub(r'(url\(#|href="#)', rf"\g<1>{key}-", tag).replace("xlink:href", "href")

    def colours(tag: str) -> str:
        for colour, variable in _VARIABLES.items():
            tag = tag.replace(colour, f"var({variable}, {colour})")
        return tag.replace("'DejaVu Sans', sans-serif", "var(--sans, sans-serif)").replace(
            "'DejaVu Sans'", "var(--sans, sans-serif)"
        )

    svg = in_tags(ids)
    svg = in_tags(colours)
    svg = re.sub(r"\n\s*", "\n", svg)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if size is None:  # pragma: no cover - matplotlib always writes one
        raise ValueError("the SVG has no viewBox")
    width = round(float(size.group(1)) * 4 / 3)
    # The mark is drawn as text; a reader who hears the figure must hear it as well.
    spoken = f"{'SIMULATED data. ' if simulated else ''}{plan.description}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size.group()[9:-1]}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc" style="width:{width}px" class="plot">'
        f'<title id="{key}-title">{html.escape(plan.title)}</title>'
        f'<desc id="{key}-desc">{html.escape(spoken)}</desc>'
    )
    return head + svg[svg.index(">") + 1 :]


def _name_points(svg: str, group: str, words: Sequence[str]) -> str:
    """Give each point of one group its words as ``<title>``, shown under the pointer."""
    start = svg.find(f'<g id="{group}">')
    if start < 0:
        raise ValueError(f"the figure has no group {group}")
    end = svg.find("</g>\n   </g>", start)
    names = iter(words)

    def named(match: re.Match[str]) -> str:
        return f"{match.group(1)}><title>{html.escape(next(names))}</title></use>"

    block, count = re.subn(r"(<use\b[^>]*?)\s*/>", named, svg[start:end])
    if count != len(words):
        raise ValueError(f"group {group} has {count} points, not {len(words)}")
    return svg[:start] + block + svg[end:]


def style_of(index: int) -> dict[str, Any]:
    """Give colour, line and marker of the ``index``-th series, told apart without colour too."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "linestyle": LINES[index % len(LINES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def words_of(values: Mapping[str, Any]) -> str:
    """Join facts on one point: ``GSM1 · GSE1 · score 0.93``."""
    return " · ".join(
        f"{name} {value}".strip() for name, value in values.items() if value not in (None, "")
    )
