"""How Great Expectations writes its pages here: with nothing from outside, and no cell as markup.

Its own pages load scripts, styles and pictures from six addresses and put the values that a frame
holds into the page as they are. Great Expectations finds these classes by name, from the
configuration of a site; nothing else imports this module, because it imports Great Expectations.
"""

from __future__ import annotations

import copy
import re
from importlib.resources import files
from typing import Any

from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
)
from great_expectations.core.id_dict import BatchSpec
from great_expectations.render.components import RenderedDocumentContent
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.renderer.site_builder import SiteBuilder
from great_expectations.render.view.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, FunctionLoader

_MAX_CHARS = 120
# Some of what a renderer is given it escapes, some not, and "$" starts a place holder. So the
# characters that mean something travel as others that mean nothing to anyone, and become entities
# on the finished page.
_ENTITIES = {
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    '"': "&quot;",
    "'": "&#39;",
    "$": "&#36;",
    "{": "&#123;",
    "}": "&#125;",
    "`": "&#96;",
    "\\": "&#92;",
}
_FIRST_PRIVATE = 0xE000
_DISGUISES = {ord(one): chr(_FIRST_PRIVATE + n) for n, one in enumerate(_ENTITIES)}
_UNVEILED = {ord(_DISGUISES[ord(character)]): entity for character, entity in _ENTITIES.items()}
# Control characters, those that turn the direction of writing, surrogates and private ones.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\uf8ff\ufeff]"
)


def disguised(value: Any) -> Any:
    """Return a value of a result in which no text means anything to a browser or a template.

    Texts are cut to a length that a table cell can hold; containers keep their form.
    """
    if isinstance(value, dict):
        return {disguised(key): disguised(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [disguised(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    if len(text) > _MAX_CHARS:
        text = f"{text[:_MAX_CHARS]}… ({len(text)} characters)"
    return _UNFIT.sub("\ufffd", text).translate(_DISGUISES)


def _without_traceback(value: Any) -> Any:
    """Drop where on this machine something was raised; the message stays."""
    if isinstance(value, dict):
        return {
            key: "" if key == "exception_traceback" else _without_traceback(one)
            for key, one in value.items()
        }
    return value


class DisguisedResults(ValidationResultsPageRenderer):
    """Great Expectations' page of results, with the frame's own values disguised."""

    def render(
        self,
        validation_results: ExpectationSuiteValidationResult,
        suite_parameters: Any = None,
    ) -> RenderedDocumentContent:
        """Lay the page out."""
        results = copy.deepcopy(validation_results)
        for one in results.results:
            one.result = disguised(one.result)
            one.exception_info = disguised(_without_traceback(one.exception_info))
        # Kept as an object or as a dict, by where the context stores it.
        run: Any = results.meta["run_id"]
        name = run["run_name"] if isinstance(run, dict) else run.run_name
        results.meta["batch_spec"] = BatchSpec(data_asset_name=name)
        page = super().render(results, suite_parameters)
        page.page_title = f"{name}: {results.suite_name}"
        return page


class OfflinePage(DefaultJinjaPageView):
    """Great Expectations' page with a head of this package's: no script, no address."""

    _template = "data_docs_page.html"

    def __init__(
        self, custom_styles_directory: Any = None, custom_views_directory: Any = None
    ) -> None:
        super().__init__(custom_styles_directory, custom_views_directory)
        folder = files("genellm_dagster.expression") / "templates"

        def own(name: str) -> str | None:
            file = folder / name
            return file.read_text(encoding="utf-8") if file.is_file() else None

        loaders = [FunctionLoader(own)]
        if self.env.loader is not None:
            loaders.append(self.env.loader)  # type: ignore[arg-type]
        self.env.loader = ChoiceLoader(loaders)

    def render(self, document: Any, template: Any = None, **others: Any) -> str:
        """Draw the page."""
        page: str = super().render(document, template, **others)
        return page.translate(_UNVEILED)


class OfflineSite(SiteBuilder):
    """A site of those pages alone, without Great Expectations' fonts and pictures."""

    def build(
        self, resource_identifiers: Any = None, build_index: bool = True
    ) -> tuple[str | None, dict[str, Any]]:
        """Write the pages."""
        for section in self.site_section_builders.values():
            section.build(resource_identifiers=resource_identifiers)
        return self.get_resource_url(only_if_exists=False), {}
