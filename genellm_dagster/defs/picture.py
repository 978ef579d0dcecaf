"""The asset graph as a picture, drawn from the definitions.

``python -m genellm_dagster.defs.picture docs/asset_graph.svg`` writes the one in the documentation.
"""

import io
import sys
from pathlib import Path

import dagster as dg

from genellm_dagster.files import write_text

_GROUPS = ("geo", "cohort", "qc", "tokens", "model", "evaluation")
_COLOURS = ("#dbe9f6", "#e2f0d9", "#fff2cc", "#fce4d6", "#e4dfec", "#ddebf7")
_COLUMN, _ROW, _WIDTH, _HEIGHT = 2.9, 1.0, 2.2, 0.62


def draw_assets(definitions: dg.Definitions) -> str:
    """Draw the assets of a code location, one column a group, and what each reads.

    Args:
        definitions: A code location whose groups are this project's.

    Returns:
        SVG, the same for the same definitions.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    graph = definitions.resolve_asset_graph()
    partitions = {None: "", "DynamicPartitionsDefinition": "cohort",
                  "StaticPartitionsDefinition": "stratum",
                  "MultiPartitionsDefinition": "cohort × stratum"}  # fmt: skip
    columns: dict[str, list[dg.AssetKey]] = {group: [] for group in _GROUPS}
    for key in graph.toposorted_asset_keys:
        columns[graph.get(key).group_name or ""].append(key)
    places = {
        key: (column * _COLUMN, -row * _ROW - (column % 2) * 0.35)
        for column, group in enumerate(_GROUPS)
        for row, key in enumerate(columns[group])
    }
    rows = max(len(keys) for keys in columns.values())
    with mpl.rc_context({"svg.hashsalt": "assets", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(len(_GROUPS) * _COLUMN * 0.75, rows * _ROW * 0.85 + 0.8))
        axes = figure.add_axes((0, 0, 1, 1))
        for key, (x, y) in places.items():
            # Keys come as a set, whose order is another one in each process.
            for parent in sorted(graph.get(key).parent_keys):
                px, py = places[parent]
                same = px == x
                start = (px + _WIDTH / 2, py - _HEIGHT / 2) if same else (px + _WIDTH, py)
                end = (x + _WIDTH / 2, y + _HEIGHT / 2) if same else (x, y)
                far = same and abs(py - y) > _ROW * 1.5
                style = f"arc3,rad={-0.35 if far else 0.0 if same else 0.06}"
                axes.add_patch(
                    FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, lw=0.7,
                                    color="#7f7f7f", connectionstyle=style, zorder=1)
                )  # fmt: skip
        for (group, keys), colour in zip(columns.items(), _COLOURS, strict=True):
            x = places[keys[0]][0]
            axes.text(x + _WIDTH / 2, 0.75, group, ha="center", weight="bold")
            for key in keys:
                _, y = places[key]
                axes.add_patch(
                    FancyBboxPatch((x, y - _HEIGHT / 2), _WIDTH, _HEIGHT, facecolor=colour,
                                   edgecolor="#595959", lw=0.8, boxstyle="round,pad=0.02", zorder=2)
                )  # fmt: skip
                kind = graph.get(key).partitions_def
                words = partitions[type(kind).__name__ if kind else None]
                axes.text(x + _WIDTH / 2, y + (0.1 if words else 0), key.path[-1], ha="center",
                          va="center", zorder=3)  # fmt: skip
                axes.text(x + _WIDTH / 2, y - 0.16, words, ha="center", va="center", zorder=3,
                          fontsize=7, color="#595959")  # fmt: skip
        axes.set_xlim(-0.3, (len(_GROUPS) - 1) * _COLUMN + _WIDTH + 0.3)
        axes.set_ylim(-rows * _ROW + 0.1, 1.1)
        axes.axis("off")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


if __name__ == "__main__":
    from genellm_dagster.defs.build import build_definitions

    write_text(Path(sys.argv[1]), draw_assets(build_definitions()))
