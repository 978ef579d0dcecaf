"""One headless Chromium for all tests that look at a page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from genellm_dagster_tests.reports.browser import CHROMIUM, Browser, chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, at whatever page the test before left it."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with chromium(tmp_path_factory.mktemp("chromium")) as one:
        yield one
