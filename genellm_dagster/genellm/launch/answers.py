"""What a fit elsewhere answers, and what is made of the answer here."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable

from genellm_dagster import errors
from genellm_dagster.errors import GeneLLMError, ModelError
from genellm_dagster.genellm.fold_task import FoldResult, FoldTask, SharedStates, fit_fold
from genellm_dagster.genellm.launch.frames import DEFECT, REFUSED, RESULT, Frame
from genellm_dagster.genellm.launch.travel import packed, unpacked
from genellm_dagster.genellm.session import Weights


class Fitter:
    """Fits folds that come as bytes, one after the other; weights and states stay loaded."""

    def __init__(self) -> None:
        self._shared = SharedStates()
        self._weights: Weights | None = None

    def answer(self, content: bytes, progress: Callable[[int, int], None]) -> Frame:
        """Fit a fold.

        Args:
            content: The packed task.
            progress: Called with training steps done and in all.

        Returns:
            The packed result, or the error.
        """
        try:
            task = unpacked(content, FoldTask, self._weights)
            self._weights = task.session.weights
            return Frame(RESULT, packed(fit_fold(task, progress, self._shared)))
        except GeneLLMError as error:
            return Frame(REFUSED, json.dumps([type(error).__name__, str(error)]).encode())
        except Exception:
            return Frame(DEFECT, traceback.format_exc().encode())


def result_of(fold: str, answer: Frame) -> FoldResult:
    """Return the result in an answer.

    Raises:
        GeneLLMError: The error of the fit, of its own class.
        RuntimeError: When the fit met a defect; its traceback is the text.
    """
    if answer.kind == RESULT:
        return unpacked(answer.content, FoldResult)
    if answer.kind == REFUSED:
        name, text = json.loads(answer.content)
        kind = getattr(errors, name, ModelError)
        raise kind(text)
    raise RuntimeError(f"the fit of fold {fold} failed elsewhere:\n{answer.content.decode()}")
