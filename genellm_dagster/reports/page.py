"""One HTML file that needs nothing else: template, style and script of this package in one text.

Everything that comes from a file (titles, labels, genes, reasons) is escaped by Jinja2; the only
text let through is this package's own style and script, and the SVG of ``figures/``, which escapes
what it draws. A content security policy in the page stops any script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_TEMPLATES = "genellm_dagster.reports"


def render_page(template: str, view: Mapping[str, Any]) -> str:
    """Render a template with the style and the script of the report.

    Args:
        template: File of ``templates/``.
        view: All that it shows.

    Returns:
        A whole HTML document; the same view gives the same bytes.
    """
    import jinja2
    from markupsafe import Markup

    folder = files(_TEMPLATES) / "templates"

    def own(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    script = own("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(own),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Figures escape their own text; style and script are this package's files.
    environment.filters["drawn"] = Markup
    return environment.get_template(template).render(
        **view,
        style=Markup(own("report.css")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=f"sha256-{digest}",
    )
