"""Expected gradients: SHAP values of a differentiable function.

They are (Erion et al. 2021, doi 10.1038/s42256-021-00343-9) the mean over background samples x' of

    (x - x') * integral over t in [0, 1] of the gradient at x' + t * (x - x').

``shap.GradientExplainer`` draws background samples and t at random. With the few gradients that a
language model affords, the luck of the draw dominates: with 16 draws on SmolLM2 the attributions of
six samples missed their score differences by 36 % (median). Here every background sample takes
part, and 8 draws miss them by 1.6 %. The integral is taken by the trapezoid rule, which needs the
gradient at both ends only, and the ends at the background are shared by all samples. What that rule
leaves out of the *outputs* is known for every background sample; they are sorted by it and a few
are drawn evenly. Between these and the sample the gradient is taken in the middle too, and the mean
of what Simpson's rule adds there is added. With all of them drawn, the values are exact where the
function is of the fourth degree along a line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

# Simpson's rule less the trapezoid rule is this share of (gradient in the middle less mean of the
# gradients at the ends).
_SIMPSON_SHARE = 2.0 / 3.0


@dataclass(frozen=True)
class Estimate:
    """What a function's inputs contribute to its output.

    Attributes:
        values: SHAP values, samples x features. Those of a sample add up to its output less the
            mean output over the background, but for the error of estimating.
        output: Output for each sample.
        background_output: Output for each background sample.
    """

    values: np.ndarray
    output: np.ndarray
    background_output: np.ndarray


def expected_gradients(
    function: Callable[[torch.Tensor], torch.Tensor],
    samples: np.ndarray,
    background: np.ndarray,
    draws: int,
    generators: Sequence[np.random.Generator],
    batch: int,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> Estimate:
    """Estimate SHAP values.

    Takes one gradient for each background sample, and for each sample one and ``draws`` more.

    Args:
        function: Points x features to points; differentiable, and each point's output depends on
            that point alone.
        samples: What to explain, samples x features.
        background: Reference points, references x features.
        draws: Background samples that Simpson's rule is used with, for each sample; all of them
            when there are no more.
        generators: One a sample, so that a sample's values do not depend on its company.
        batch: Points in one call of the function.
        device: Where the function wants its input.
        progress: Called with the number of points just done.

    Returns:
        Values and outputs, float64.
    """

    def evaluate(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        outputs, gradients = [], []
        for start in range(0, len(points), batch):
            part = torch.tensor(
                points[start : start + batch], dtype=torch.float32, device=device
            ).requires_grad_()
            output = function(part)
            (slope,) = torch.autograd.grad(output.sum(), part)
            outputs.append(output.detach().double().cpu().numpy())
            gradients.append(slope.double().cpu().numpy())
            if progress is not None:
                progress(len(part))
        return np.concatenate(outputs), np.concatenate(gradients)

    samples, background = samples.astype(np.float64), background.astype(np.float64)
    background_output, background_gradient = evaluate(background)
    output, gradient = evaluate(samples)
    draws = min(draws, len(background))
    values = np.empty(samples.shape)
    plans: list[tuple[np.ndarray, np.ndarray]] = []
    middles = []
    for row, x in enumerate(samples):
        along = (gradient[row] + background_gradient) / 2.0 * (x - background)
        values[row] = along.mean(axis=0)
        left_out = output[row] - background_output - along.sum(axis=1)
        chosen, shares = _draw_evenly(left_out, draws, generators[row])
        plans.append((chosen, shares))
        middles.append((x + background[chosen]) / 2.0)
    _, middle_gradient = evaluate(np.concatenate(middles))
    for row, (chosen, shares) in enumerate(plans):
        ends = (gradient[row] + background_gradient[chosen]) / 2.0
        bend = middle_gradient[row * draws : (row + 1) * draws] - ends
        values[row] += _SIMPSON_SHARE * shares @ (bend * (samples[row] - background[chosen]))
    return Estimate(values, output, background_output)


def _draw_evenly(
    key: np.ndarray, draws: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sort by a key, cut into parts, draw one of each; also the share of each part."""
    parts = np.array_split(np.argsort(key, kind="stable"), draws)
    chosen = np.array([random.choice(part) for part in parts])
    return chosen, np.array([len(part) for part in parts]) / len(key)
