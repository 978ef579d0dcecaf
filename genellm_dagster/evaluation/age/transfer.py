"""What a model trained in one stratum, or one cohort, is worth in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.evaluation import intervals
from genellm_dagster.evaluation.age.parts import IntArray, persons_of, scores_of
from genellm_dagster.evaluation.delong import delong_test
from genellm_dagster.evaluation.intervals import Interval
from genellm_dagster.evaluation.options import EvaluationOptions

STRATUM, COHORT = "stratum", "cohort"
LEVEL, TRAINED, TESTED = "level", "trained_on", "tested_on"


def transfer_cells(
    table: pd.DataFrame,
    level: str,
    missing: Sequence[Mapping[str, str]],
    options: EvaluationOptions,
    at_home: Mapping[str, pd.DataFrame] | None = None,
) -> list[dict[str, Any]]:
    """Judge each model in each pair of parts.

    Args:
        table: Predictions with the columns level, trained_on, tested_on.
        level: ``stratum`` or ``cohort``.
        missing: Pairs without predictions: level, trained_on, tested_on, model, reason.
        options: Settings.
        at_home: Part to its out-of-fold predictions. With them every model that was tried elsewhere
            also stands on its own part, and each cell says what being from elsewhere cost: the
            paired difference on the same people (DeLong).

    Returns:
        One entry a model and pair: trained_on, tested_on, model, n, cases, prevalence, auroc, and
        ``at_home_minus_transferred`` with its p where there is something to compare with.
    """
    home = at_home or {}
    cells: list[dict[str, Any]] = []
    own = table.loc[table[LEVEL] == level]
    models = [str(model) for model in pd.unique(own["model"])]
    for part, rows in home.items():
        cells += [
            {TRAINED: part, TESTED: part, "model": model, **_judged(rows, model, options)}
            for model in models
            if (rows["model"] == model).any()
        ]
    for (trained, tested), rows in own.groupby([TRAINED, TESTED], sort=False):
        for model in pd.unique(rows["model"]):
            cell: dict[str, Any] = {TRAINED: str(trained), TESTED: str(tested), "model": str(model)}
            cell.update(_judged(rows, str(model), options))
            if trained != tested and str(tested) in home:
                cell["at_home_minus_transferred"] = _cost(
                    home[str(tested)], rows, str(model), options
                )
            cells.append(cell)
    for entry in missing:
        if entry[LEVEL] == level:
            nothing = Interval(None, None, None, entry["reason"]).as_json()
            cells.append(
                {TRAINED: entry[TRAINED], TESTED: entry[TESTED], "model": entry["model"],
                 "n": 0, "cases": 0, "prevalence": None, "auroc": nothing}
            )  # fmt: skip
    return cells


def _judged(rows: pd.DataFrame, model: str, options: EvaluationOptions) -> dict[str, Any]:
    one = scores_of(rows, model)
    cases = int(one.case.sum())
    if 0 < cases < len(one.case):
        auroc = intervals.auroc_interval(one.case, one.score, one.persons, options.confidence)
    else:
        auroc = Interval(None, None, None, "only cases" if cases else "only controls")
    return {
        "n": len(one.case),
        "cases": cases,
        "prevalence": cases / len(one.case),
        "auroc": auroc.as_json(),
    }


def _cost(
    home: pd.DataFrame, elsewhere: pd.DataFrame, model: str, options: EvaluationOptions
) -> dict[str, Any]:
    """AUROC of the model trained here minus that of the one trained there, on the same samples."""
    here = home.loc[home["model"] == model].set_index("gsm")
    there = elsewhere.loc[elsewhere["model"] == model].set_index("gsm")
    both = here.index.intersection(there.index).sort_values()
    case: IntArray = here.loc[both, "case"].to_numpy(dtype=np.int_)
    if len(np.unique(case)) < 2:
        why = "no people of both classes who were scored by both"
        return {**Interval(None, None, None, why).as_json(), "p": None, "n": len(both)}
    persons = persons_of(here.loc[both])
    first, second = (one.loc[both, "score"].to_numpy(dtype=np.float64) for one in (here, there))
    test = delong_test(case, first, second, persons)
    # DeLong's error vanishes where both are perfect; the interval is then that of two AUROC.
    if test.standard_error > 0:
        half = intervals.normal_quantile(options.confidence) * test.standard_error
        found = Interval(
            test.difference, max(-1.0, test.difference - half), min(1.0, test.difference + half)
        )
    else:
        found = intervals.square_and_add(
            *(
                intervals.auroc_interval(case, score, persons, options.confidence)
                for score in (first, second)
            )
        )
    return {**found.as_json(), "p": test.p, "n": len(both)}
