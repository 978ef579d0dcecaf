"""NCBI's E-utilities: one question, one answer, and what its refusals mean.

They refuse with status 200 as readily as with 400, in several shapes
(https://www.ncbi.nlm.nih.gov/books/NBK25499/); some of it passes, some of it does not.
"""

from __future__ import annotations

import json
import re
from typing import Any

from genellm_dagster.errors import GeoError
from genellm_dagster.geo.client import GeoClient
from genellm_dagster.geo.http import BrokenTransferError, public_address

_BAD_REQUEST = 400
_MAX_REASON = 200
_TOO_LARGE = re.compile(r"transformed to JSON|too many UIDs", re.IGNORECASE)
_LOST = re.compile(r"unable to obtain query|webenv|query_?key|history", re.IGNORECASE)
_PASSING = re.compile(
    r"backend|temporar|time[ds]?[ -]?out|unavailable|rate limit|overload|internal|unable to connect"
    r"|exception|try again",
    re.IGNORECASE,
)


class TooLargeAnswerError(GeoError):
    """NCBI cannot give so much in one answer."""


class LostHistoryError(GeoError):
    """NCBI has forgotten the search whose results are asked for."""


def ask_entrez(client: GeoClient, program: str, question: dict[str, str]) -> dict[str, Any]:
    """Ask one of the E-utilities about GEO's series.

    Args:
        client: Its options say where they are and who is asking.
        program: ``esearch.fcgi`` or ``esummary.fcgi``.
        question: What to ask; database, form of the answer, tool, email and key are added.

    Returns:
        The answer, a JSON object without an error.

    Raises:
        TooLargeAnswerError: When less should be asked for at once.
        LostHistoryError: When the search has to be made again.
        GeoError: When the question is refused, or no answer comes.
    """
    options = client.options
    form = {"db": "gds", "retmode": "json", "tool": options.tool, **question}
    if options.email:
        form["email"] = options.email
    if options.api_key is not None:
        # In the body of a POST, never in an address: addresses end up in logs and errors.
        form["api_key"] = options.api_key.get_secret_value()
    address = f"{options.eutils.rstrip('/')}/{program}"
    shown = public_address(address)
    key = form.get("api_key", "")

    def read(text: str) -> dict[str, Any]:
        try:
            answer = json.loads(text, strict=False)
        except (ValueError, RecursionError) as error:
            raise BrokenTransferError(f"the answer is no JSON: {error}") from error
        if not isinstance(answer, dict):
            raise GeoError(
                f"{shown} refuses the question (it answers with a {type(answer).__name__}); try "
                "again later."
            )
        reason = _error(answer)
        if reason is None:
            return answer
        # A refusal of the key may repeat it.
        said = " ".join((reason.replace(key, "***") if key else reason).split())[:_MAX_REASON]
        sentence = f"{shown} refuses the question ({said}); "
        if _TOO_LARGE.search(said):
            raise TooLargeAnswerError(sentence + "lower page_size.")
        if _LOST.search(said):
            raise LostHistoryError(sentence + "try again later.")
        if _PASSING.search(said):
            raise BrokenTransferError(said)
        raise GeoError(sentence + "correct the search, the key or the address of the E-utilities.")

    return client.http.answer(address, read, form=form, accept=(_BAD_REQUEST,))


def _error(answer: dict[str, Any]) -> str | None:
    """Return the reason of a refusal, wherever it stands."""
    for place in (answer, answer.get("eutilsresult"), answer.get("esearchresult")):
        if not isinstance(place, dict):
            continue
        for name in ("error", "ERROR"):
            if place.get(name):
                return str(place[name])
    return None
