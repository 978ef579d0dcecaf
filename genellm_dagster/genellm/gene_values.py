"""What the frozen prefix says of each gene: its own token's state along one direction.

The pooled read-out is one position for all genes, and in it what a single gene tells is lost among
what they all tell. So the head reads beside it one number a gene: how far the state of the gene's
token lies from its state in the reference, along the direction in which the frozen layers carry
what a token says. That direction is learned on training samples without labels, one for all genes;
a gene that a sample lacks has no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from genellm_dagster.genellm.states import StateSet

# Ridges of the direction, in units of the mean square of each dimension of the states: the first
# whose readings stand clear of the rounding of kept states is taken. On three real strata 1e-5 told
# the values of held-out samples best (R2 0.93 to 0.98).
_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# Rounding over spread that the median gene's readings may have (on all real strata one of the first
# two ridges stays below it; more moved scores by 1e-3), and that one gene's may have before it is
# not read at all.
_NOISE = 0.85e-3
_NOISE_OF_ONE = 2.8e-3
# Bits that float16 keeps of a number.
_BITS = 11
# Tokens that the direction is learned from: enough for its width, and no more time than that takes.
_TOKENS = 16_384
_TOKENS_A_DIMENSION = 4
_CHUNK = 64


@dataclass(frozen=True)
class Reading:
    """How genes are read.

    Attributes:
        direction: Along which their states are read, hidden.
        readable: Which genes stand clear of rounding, genes.
    """

    direction: torch.Tensor
    readable: torch.Tensor


def learn_reading(states: StateSet, rows: np.ndarray) -> Reading:
    """Learn along which direction tokens' states tell what the tokens say.

    What a token says is its value, or, where the tokenizer moves no token, how early it stands.
    Gene by gene both are taken relative to their mean, so that a gene's symbol tells nothing.

    Args:
        states: Prefix states.
        rows: The training samples.

    Returns:
        The direction and the genes that it reads; no gene when no token says anything.
    """
    # In the order of their names, so that the order of the rows does not matter.
    ordered = np.array(sorted(rows, key=lambda row: states.gsm[row]))
    hidden = states.delta.shape[2]
    wanted = max(_TOKENS, _TOKENS_A_DIMENSION * hidden) // states.delta.shape[1]
    if len(ordered) > wanted:
        ordered = ordered[np.linspace(0, len(ordered) - 1, max(wanted, 2)).round().astype(int)]
    at = torch.as_tensor(ordered)
    own, present = _own_states(states, at)
    if bool(states.values[at].any()):
        said = states.values[at].double()
    else:
        said = -states.positions[states.reference_of[at]].double()
    genes = states.genes[at][present]
    rounding = _rounding(states.delta[at])[present]
    own, said = own[present].double(), said[present]
    unit = own.square().mean(dim=0).sqrt()
    still = unit == 0
    own = _by_gene(own / unit.masked_fill(still, 1.0), genes, states.vocabulary)
    said = _by_gene(said.unsqueeze(1), genes, states.vocabulary).squeeze(1)
    gram, with_said = own.T @ own / len(own), own.T @ said / len(own)
    for ridge in _RIDGES:
        direction = torch.linalg.solve(gram + ridge * torch.eye(hidden).double(), with_said)
        spread = _mean_square((own @ direction), genes, states.vocabulary)
        direction = (direction / unit).masked_fill(still, 0.0).float()
        noise = _mean_square((rounding @ direction.square()).sqrt(), genes, states.vocabulary)
        read = spread > 0
        ratio = (noise / spread.where(read, 1.0)).sqrt()
        if bool(read.any()) and float(ratio[read].median()) <= _NOISE:
            return Reading(direction, read & (ratio <= _NOISE_OF_ONE))
    return Reading(torch.zeros(hidden), torch.zeros(states.vocabulary, dtype=torch.bool))


def gene_values(states: StateSet, rows: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Return how far each gene's state lies from its reference along a direction.

    Args:
        states: Prefix states.
        rows: Which samples.
        direction: From :func:`learn_reading`.

    Returns:
        Rows x genes of the vocabulary, float32; NaN without a token.
    """
    told = torch.full((len(rows), states.vocabulary), float("nan"))
    for start in range(0, len(rows), _CHUNK):
        own, present = _own_states(states, rows[start : start + _CHUNK])
        at, slot = present.nonzero(as_tuple=True)
        genes = states.genes[rows[start : start + _CHUNK]][at, slot]
        told[at + start, genes] = (own @ direction)[at, slot]
    return told


def gene_order(genes: torch.Tensor) -> torch.Tensor:
    """Return at which place of the reference each token's gene stands: the vocabulary's order."""
    return genes.argsort(dim=-1, stable=True).argsort(dim=-1)


def _own_states(states: StateSet, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each token's state less that of its gene in the reference; which tokens are there."""
    which = states.reference_of[rows]
    present = states.present[which]
    own = states.delta[rows].float()
    # Padding goes last, where the reference has it too.
    genes = states.genes[rows].masked_fill(~present, states.vocabulary)
    place = gene_order(genes)
    slots = torch.arange(place.shape[1])
    moved = ((place != slots) & present).any(dim=1)
    if bool(moved.any()):
        reference = states.reference[which[moved]]
        index = place[moved].unsqueeze(-1).expand(reference.shape)
        own[moved] += reference - reference.gather(1, index)
    return own, present


def _rounding(delta: torch.Tensor) -> torch.Tensor:
    """Variance that rounding to float16 gives each number."""
    step = torch.exp2((torch.frexp(delta.float()).exponent - _BITS).float())
    return step.masked_fill(delta == 0, 0.0).square() / 12.0


def _by_gene(told: torch.Tensor, genes: torch.Tensor, number: int) -> torch.Tensor:
    """Numbers of tokens less the mean of their gene."""
    total = torch.zeros(number, told.shape[1], dtype=told.dtype).index_add_(0, genes, told)
    count = torch.bincount(genes, minlength=number).clamp(min=1).unsqueeze(1)
    return told - (total / count)[genes]


def _mean_square(told: torch.Tensor, genes: torch.Tensor, number: int) -> torch.Tensor:
    total = torch.zeros(number, dtype=told.dtype).index_add_(0, genes, told.square())
    return total / torch.bincount(genes, minlength=number).clamp(min=1)
