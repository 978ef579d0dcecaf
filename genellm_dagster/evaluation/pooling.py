"""Random-effects pooling of the AUROC over cohorts: what a further cohort may be like.

Cohorts are pooled on the logit scale (Snell, Ensor, Debray, Moons and Riley, Statistical Methods in
Medical Research 27 (2018) 3505). Variance between cohorts: Paule and Mandel (Journal of Research of
the National Bureau of Standards 87 (1982) 377), its interval by the Q profile (Viechtbauer,
Statistics in Medicine 26 (2007) 37). Interval of the mean: Hartung and Knapp (Statistics in
Medicine 20 (2001) 3875), never narrower than without it (Roever, Knapp and Friede, BMC Medical
Research Methodology 15 (2015) 99). Prediction interval: Higgins, Thompson and Spiegelhalter (JRSS A
172 (2009) 137). I2: between-cohort variance as a share of it and the typical variance within
cohorts (Higgins and Thompson, Statistics in Medicine 21 (2002) 1539).

statsmodels' ``combine_effects`` has the same Paule-Mandel estimate (a test compares them) but no
interval of it and no prediction interval, and both come out of the one function here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genellm_dagster.evaluation.intervals import Interval, normal_quantile
from genellm_dagster.evaluation.metrics import FloatArray

METHOD = (
    "random effects on the logit scale: Paule-Mandel, Hartung-Knapp (never narrower than without), "
    "prediction interval with two degrees of freedom fewer than cohorts"
)
_EDGE = 1e-6
"""AUROC are kept this far from 0 and 1 before a logit is taken."""


@dataclass(frozen=True)
class Pooled:
    """A pooled effect, on the scale of what was pooled.

    ``prediction``: where the true effect of a further cohort may lie; none with fewer than three.
    ``between``: variance between cohorts (tau squared). ``i2``: its share, 0..1. ``weights``: of
    each cohort in the mean, summing to one.
    """

    mean: Interval
    prediction: tuple[float, float] | None
    between: Interval
    i2: Interval
    q: float
    p: float
    weights: FloatArray


def pool(effects: FloatArray, variances: FloatArray, confidence: float) -> Pooled:
    """Pool independent estimates under a normal random-effects model.

    Args:
        effects: One estimate a cohort, two or more.
        variances: Their variances, above zero.
        confidence: Coverage meant, .95 for 95 %.
    """
    from scipy.stats import chi2, t

    number = len(effects)
    free = number - 1
    tail = (1 - confidence) / 2
    between = _between(effects, variances, free)
    weights = 1 / (variances + between)
    mean = float(weights @ effects / weights.sum())
    spread = float(weights @ (effects - mean) ** 2) / free
    error = float(np.sqrt(max(1.0, spread) / weights.sum()))
    half = float(t.ppf(1 - tail, free)) * error
    wide = None
    if number > 2:
        reach = float(t.ppf(1 - tail, number - 2)) * float(np.sqrt(between + error**2))
        wide = (mean - reach, mean + reach)
    q = _q(effects, variances, 0.0)
    low = _between(effects, variances, float(chi2.ppf(1 - tail, free)))
    high = _between(effects, variances, float(chi2.ppf(tail, free)))
    fixed = 1 / variances
    typical = free * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())

    def share(part: float) -> float:
        return float(part / (part + typical))

    return Pooled(
        mean=Interval(mean, mean - half, mean + half),
        prediction=wide,
        between=Interval(between, min(low, between), max(high, between)),
        i2=Interval(share(between), share(min(low, between)), share(max(high, between))),
        q=q,
        p=float(chi2.sf(q, free)),
        weights=weights / weights.sum(),
    )


def _q(effects: FloatArray, variances: FloatArray, between: float) -> float:
    """Cochran's Q with this much variance between cohorts; falls as that grows."""
    weights = 1 / (variances + between)
    mean = weights @ effects / weights.sum()
    return float(weights @ (effects - mean) ** 2)


def _between(effects: FloatArray, variances: FloatArray, wanted: float) -> float:
    """The variance between cohorts at which Q takes this value; zero where Q is below at once."""
    from scipy.optimize import brentq

    if _q(effects, variances, 0.0) <= wanted:
        return 0.0
    outside = float(np.ptp(effects) ** 2 + variances.max())
    while _q(effects, variances, outside) > wanted:
        outside *= 2
    return float(brentq(lambda between: _q(effects, variances, between) - wanted, 0.0, outside))


def pool_auroc(cohorts: Mapping[str, Mapping[str, Any]], confidence: float) -> dict[str, Any]:
    """Pool the AUROC of a model over the cohorts where it has one.

    The standard error of a cohort is that of its interval's end nearer to one half, on the logit
    scale: never below DeLong's, and there where all pairs are in order, too. An AUROC of 0 or 1 is
    moved inside by half a pair.

    Args:
        cohorts: Name to ``auroc`` (an ``Interval``), ``case_persons``, ``control_persons``.
        confidence: Coverage of the cohorts' intervals, and of these.

    Returns:
        JSON-safe: value, low, high (none with a reason below two cohorts), prediction, i2, tau2
        (logit scale), q, p, cohorts, weights.
    """
    used = {name: part for name, part in cohorts.items() if part["auroc"].value is not None}
    if len(used) < 2:
        reason = "pooling needs two cohorts that hold both classes"
        return {
            **Interval(None, None, None, reason).as_json(),
            "prediction": None,
            "i2": None,
            "tau2": None,
            "q": None,
            "p": None,
            "cohorts": len(used),
            "weights": {},
        }
    z = normal_quantile(confidence)
    points, errors = [], []
    for part in used.values():
        found, pairs = part["auroc"], part["case_persons"] * part["control_persons"]
        value = found.value if 0 < found.value < 1 else (found.value * pairs + 0.5) / (pairs + 1)
        inner = found.low if value >= 0.5 else found.high
        points.append(_logit(value))
        errors.append(abs(_logit(value) - _logit(inner)) / z)
    pooled = pool(np.array(points), np.array(errors) ** 2, confidence)
    wide = pooled.prediction
    return {
        **_expit_interval(pooled.mean).as_json(),
        "prediction": None if wide is None else {"low": _expit(wide[0]), "high": _expit(wide[1])},
        "i2": pooled.i2.as_json(),
        "tau2": pooled.between.as_json(),
        "q": pooled.q,
        "p": pooled.p,
        "cohorts": len(used),
        "weights": dict(zip(used, (float(one) for one in pooled.weights), strict=True)),
    }


def _logit(value: float) -> float:
    inside = min(max(value, _EDGE), 1 - _EDGE)
    return float(np.log(inside / (1 - inside)))


def _expit(value: float) -> float:
    return float(0.5 * (1 + np.tanh(0.5 * value)))


def _expit_interval(interval: Interval) -> Interval:
    value, low, high = (
        float(part or 0.0) for part in (interval.value, interval.low, interval.high)
    )
    return Interval(_expit(value), _expit(low), _expit(high))
