"""What a person sees of an asset: small tables, counts, one plot."""

import base64
import io
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from genellm_dagster.expression.data_docs import DataDocs
    from genellm_dagster.reports.figures.canvas import Figure
    from genellm_dagster.workflows.discovery import Discovery

_ROWS = 12
_COLUMNS = 30
_PLOTTED_SAMPLES = 60


def markdown(frame: pd.DataFrame, rows: int = _ROWS) -> dg.MarkdownMetadataValue:
    """Return the head of a table as Markdown; cells are escaped."""
    head = frame.head(rows)

    def cell(value: Any) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        if value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            text = "–"
        return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

    lines = ["| " + " | ".join(cell(name) for name in head.columns) + " |"]
    lines.append("|" + " --- |" * head.shape[1])
    lines += [
        "| " + " | ".join(cell(value) for value in row) + " |"
        for row in head.itertuples(index=False, name=None)
    ]
    if len(frame) > rows:
        lines.append(f"\n… {len(frame) - rows} more rows")
    return dg.MetadataValue.md("\n".join(lines))


def sentences(said: list[str]) -> dg.MarkdownMetadataValue:
    """Return sentences as a list in Markdown, escaped."""
    lines = [one.replace("<", "&lt;").replace("\n", " ") for one in said]
    return dg.MetadataValue.md("\n".join(f"- {one}" for one in lines) or "none")


def data_docs(docs: "DataDocs") -> dict[str, Any]:
    """Return where the Data Docs of a partition are."""
    return {
        "data_docs": dg.MetadataValue.path(str(docs.index)),
        "open_data_docs": dg.MetadataValue.url(docs.index.resolve().as_uri()),
    }


def table(frame: pd.DataFrame) -> dict[str, Any]:
    """Return row count, schema and head of a narrow table."""
    columns = [
        dg.TableColumn(str(name), str(kind)) for name, kind in list(frame.dtypes.items())[:_COLUMNS]
    ]
    return {
        "dagster/row_count": len(frame),
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "head": markdown(frame),
    }


def sample_sheet(sheet: pd.DataFrame) -> dict[str, Any]:
    """Return what a curator wants to see of a sample sheet first."""
    labels = sheet["label"].fillna("(no rule matches)").value_counts()
    used = sheet[sheet["used"]]
    cells = used.groupby(["stratum", "case"], observed=True).size().unstack(fill_value=0)
    cells.columns = ["cases" if int(case) else "controls" for case in cells.columns]
    reasons = sheet.loc[~sheet["used"], "why_not"].value_counts()
    return {
        **table(sheet),
        "used": int(sheet["used"].sum()),
        "labels": markdown(labels.rename_axis("label").reset_index(name="samples")),
        "used_by_stratum": markdown(cells.reset_index()),
        "why_not_used": markdown(reasons.rename_axis("reason").reset_index(name="samples")),
    }


def discovery(found: "Discovery") -> dict[str, Any]:
    """Return what a search brought, then the catalogue."""
    catalog = found.catalog
    counts = catalog["status"].value_counts().rename_axis("status").reset_index(name="series")
    fresh = catalog[catalog["accession"].isin([*found.new, *found.revised])]
    columns = ["accession", "title", "samples", "published", "status", "confidence", "note"]
    return {
        **table(catalog),
        "by_status": markdown(counts),
        "new": len(found.new),
        "revised": ", ".join(found.revised) or "none",
        "proposed": ", ".join(found.proposed) or "none",
        "approved_without_review": ", ".join(found.approved) or "none",
        "files_changed_at_geo": ", ".join(found.changed) or "none",
        "notes": "; ".join(found.notes) or "none",
        "asked_for": "everything" if found.since is None else f"published since {found.since}",
        "new_and_revised": markdown(fresh[columns].iloc[::-1], rows=40),
    }


def tokens(frame: pd.DataFrame, genes: list[str]) -> dg.MarkdownMetadataValue:
    """Return the first tokens of some profiles as a person reads them."""
    head = frame.head(3)
    rows = [
        {
            "gsm": gsm,
            "tokens": " ".join(
                f"{genes[gene]}({value:+.2f})"
                for gene, value in zip(read[:_ROWS], moved[:_ROWS], strict=True)
            ),
        }
        for gsm, read, moved in zip(head["gsm"], head["genes"], head["values"], strict=True)
    ]
    return markdown(pd.DataFrame(rows))


def distribution(expression: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Return box plots of the samples of an expression table (up to sixty, evenly taken)."""
    from matplotlib.figure import Figure

    step = max(1, expression.shape[1] // _PLOTTED_SAMPLES)
    part = expression.iloc[:, ::step]
    values = [column[~np.isnan(column)] for column in part.to_numpy(dtype=np.float64).T]
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.boxplot(values, showfliers=False, widths=0.6, medianprops={"color": "#b2182b"})
    axes.set_xticks([])
    axes.set_xlabel(f"{part.shape[1]} of {expression.shape[1]} samples")
    axes.set_ylabel("log2 expression")
    return plot(figure)


def curves(losses: dict[str, list[float]], label: str) -> dg.MarkdownMetadataValue:
    """Return loss curves, one line a fold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.subplots()
    for name, values in losses.items():
        axes.plot(range(1, len(values) + 1), values, label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.legend(fontsize="small")
    return plot(figure)


def bars(series: pd.Series, label: str) -> dg.MarkdownMetadataValue:
    """Return horizontal bars, first entry on top."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.6 + 0.24 * len(series)), layout="constrained")
    axes = figure.subplots()
    axes.barh([str(name) for name in series.index][::-1], series.to_numpy()[::-1], color="#2166ac")
    axes.set_xlabel(label)
    return plot(figure)


def plot(figure: Any) -> dg.MarkdownMetadataValue:
    """Return a matplotlib figure as an inline picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{encoded})")


def drawing(figure: "Figure | None") -> dg.MarkdownMetadataValue:
    """Return a figure of the report as an inline picture."""
    if figure is None:
        return dg.MetadataValue.md("nothing to draw")
    encoded = base64.b64encode(figure.svg.encode()).decode()
    return dg.MetadataValue.md(f"![{figure.key}](data:image/svg+xml;base64,{encoded})")
