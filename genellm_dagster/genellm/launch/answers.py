"""What a fit elsewhere answers, and what is made of the answer here."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable

from genellm_dagster import errors
from genellm_dagster.errors import GeneLLMError, ModelError
from genellm_dagster.genellm.fold_task import FoldResult, FoldTask, SharedStates, fit_fold
from genellm_dagster.genellm.launch.frames import DEFECT, DONE, REFUSED, RESULT, Frame
from genellm_dagster.genellm.launch.travel import packed, unpacked
from genellm_dagster.genellm.session import Weights
from genellm_dagster.genellm.team import team


class Fitter:
    """Fits folds that come as bytes, one after the other; weights and states stay loaded.

    Args:
        log: Called with a line for each fold that is done.
    """

    def __init__(self, log: Callable[[str], None] | None = None) -> None:
        self._log = log
        self._shared = SharedStates()
        self._weights: Weights | None = None

    def answer(self, content: bytes, progress: Callable[[int, int], None]) -> Frame:
        """Fit a fold.

        Args:
            content: The packed task.
            progress: Called with training steps done and in all.

        Returns:
            The packed result, or the error; only the first of a team has a result to give.
        """
        try:
            task = unpacked(content, FoldTask, self._weights)
            self._weights = task.session.weights
            began = time.monotonic()
            result = fit_fold(task, progress, self._shared)
            if self._log is not None:
                seconds = time.monotonic() - began
                self._log(f"fold {task.fold}: fitted and predicted in {seconds:.1f} s")
            return Frame(RESULT, packed(result)) if team().leads else Frame(DONE, b"")
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
