"""SHAP values of GeneLLM, by sample and gene.

The value of a gene's token moves its embedding continuously, so the score can be differentiated
with respect to it, through the frozen prefix and the adapted head layers. A gene that is absent
from a sample has no token and no attribution.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.adapter import Member, adapted, put_weights
from genellm_dagster.genellm.options import AdapterOptions
from genellm_dagster.genellm.prefix import PrefixEncoder
from genellm_dagster.genellm.readout import ReadOut
from genellm_dagster.interpretation.expected_gradients import expected_gradients
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.interpretation.sampling import generator
from genellm_dagster.tokenizers.protocol import TokenProfile

if TYPE_CHECKING:
    from shap import Explanation

# A sample whose score is hardly off the mean makes any error look large: no difference counts as
# smaller than this share of the median one.
_SMALLEST_DIFFERENCE = 0.1


@dataclass(frozen=True)
class Attributions:
    """What each gene contributes to the logit of each sample.

    Attributes:
        values: SHAP values in units of the logit, samples (index ``gsm``) x genes of the
            vocabulary; NaN where the gene is absent. Positive pushes the score towards case.
        inputs: Token values that were explained, in the same shape.
        base: Mean logit of the background, with the genes of that sample.
        logit: Logit of each sample, mean over the members.
        completeness_error: Relative to the difference of logit and base, how far the values of a
            sample are from adding up to it.
    """

    values: pd.DataFrame
    inputs: pd.DataFrame
    base: pd.Series
    logit: pd.Series
    completeness_error: pd.Series

    @property
    def median_completeness_error(self) -> float:
        """Completeness error of the median sample."""
        return float(self.completeness_error.median())

    def explanation(self) -> Explanation:
        """Return the values as the shap package's own type, for its plots."""
        import shap

        return shap.Explanation(
            values=self.values.to_numpy(),
            base_values=self.base.to_numpy(),
            data=self.inputs.to_numpy(),
            feature_names=list(self.values.columns),
        )


class AdaptedLogit(nn.Module):
    """The logit of samples with the same genes as a differentiable function of their token values.

    Args:
        encoder: Runs the frozen prefix.
        heads: Adapted head layers of each member, from :func:`adapted_heads`.
        members: The members, in the same order.
        profile: A sample that has these genes.
        readout_position: Position of the read-out query.
    """

    def __init__(
        self,
        encoder: PrefixEncoder,
        heads: Sequence[ReadOut],
        members: Sequence[Member],
        profile: TokenProfile,
        readout_position: int,
    ) -> None:
        super().__init__()
        device = encoder.embedding.table.device
        self.encoder = encoder
        self.heads = nn.ModuleList(heads)
        self.weights = [(one.weight / one.scale).to(device) for one in members]
        self.biases = [one.bias.to(device) for one in members]
        self.genes = torch.as_tensor(profile.genes, device=device).long()[None]
        self.positions = torch.as_tensor(profile.positions, device=device).long()[None]
        self.readout_position = readout_position
        self.directions = [one.direction.to(device) for one in members]
        self.centres = [one.centre.to(device) for one in members]
        with torch.no_grad():
            nothing_moved = torch.zeros(self.genes.shape, device=device)
            self.reference_states = self._states(nothing_moved)
            self.references = self._read(self.reference_states)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean logit over the members.

        Args:
            values: Token values, samples x tokens.

        Returns:
            One number a sample.
        """
        states = self._states(values)
        moved = states - self.reference_states
        parts = []
        for number, own in enumerate(self._read(states)):
            weight, direction = self.weights[number], self.directions[number]
            hidden = own.shape[1]
            logit = (own - self.references[number]) @ weight[:hidden] + self.biases[number]
            if len(direction):
                told = moved @ direction - self.centres[number][self.genes]
                logit = logit + told @ weight[hidden:][self.genes[0]]
            parts.append(logit)
        return torch.stack(parts).mean(dim=0)

    def _states(self, values: torch.Tensor) -> torch.Tensor:
        shape = values.shape
        positions = self.positions.expand(shape)
        return self.encoder.states(self.genes.expand(shape), positions, values)

    def _read(self, states: torch.Tensor) -> list[torch.Tensor]:
        shape = states.shape[:2]
        positions = self.positions.expand(shape)
        present = torch.ones(shape, dtype=torch.bool, device=states.device)
        return [head(states, positions, present, self.readout_position) for head in self.heads]


def adapted_heads(
    encoder: PrefixEncoder, members: Sequence[Member], options: AdapterOptions
) -> list[ReadOut]:
    """Copy the head layers once for each member, with its adapter and nothing trainable.

    Args:
        encoder: Holds the backbone, which stays as it is.
        members: The trained ensemble, or one of it.
        options: Of the adapter.
    """
    head_layers = encoder.model.config.num_hidden_layers - encoder.depth
    heads = []
    for member in members:
        with adapted(encoder.model, head_layers, options) as wrapped:
            put_weights(wrapped, member)
            head = copy.deepcopy(ReadOut.of(wrapped, head_layers))
        heads.append(head.requires_grad_(False).eval())
    return heads


def attribute(
    encoder: PrefixEncoder,
    members: Sequence[Member],
    adapter: AdapterOptions,
    genes: Sequence[str],
    explained: Sequence[TokenProfile],
    background: Sequence[TokenProfile],
    options: InterpretationOptions,
    progress: Callable[[int, int], None] | None = None,
) -> Attributions:
    """Explain the logit of samples by expected gradients.

    Samples are taken together when they have the same genes; each such group costs one gradient for
    each background sample, and each of its samples ``1 + gradient_samples`` more. Every sample is
    explained against the same background, reduced to its genes; a gene that a background sample
    lacks takes its mean over those that have it.

    Args:
        encoder: The frozen prefix; its embedding holds ``genes``.
        members: The trained ensemble; with one member, that member's logit is explained.
        adapter: Options the members were trained with.
        genes: The vocabulary, in order.
        explained: The samples to explain.
        background: Training samples that stand for "nothing known of this sample".
        options: Number of gradients, size of a batch, seed.
        progress: Called with gradients done and gradients in all.

    Returns:
        Values, in the order of ``explained``. A sample's do not depend on the others explained.

    Raises:
        ModelError: When samples or members are missing, a sample is there twice, the tokenizer
            moves genes about, or the background lacks a gene.
    """
    _require_input(members, explained, background)
    _require_fixed_positions([*explained, *background], len(genes))
    references = _table(background, genes)
    runs = _Runs(progress, 0)
    groups: dict[bytes, list[int]] = {}
    for row, profile in enumerate(explained):
        groups.setdefault(profile.genes.tobytes(), []).append(row)
    draws = min(options.gradient_samples, len(background))
    runs.total = len(groups) * len(background) + len(explained) * (1 + draws)
    heads = adapted_heads(encoder, members, adapter)
    values = np.full((len(explained), len(genes)), np.nan)
    logit, base = np.empty(len(explained)), np.empty(len(explained))
    for rows in groups.values():
        first = explained[rows[0]]
        function = AdaptedLogit(encoder, heads, members, first, readout_position=len(genes))
        size = max(1, options.batch_tokens // len(first))
        samples = np.stack([explained[row].values for row in rows])
        filled = _filled(references[:, first.genes], first, genes)
        random = [generator(options.seed, "gradients", explained[row].gsm) for row in rows]
        estimate = expected_gradients(
            function, samples, filled, draws, random, size, encoder.embedding.table.device, runs.add
        )
        values[np.array(rows)[:, None], first.genes] = estimate.values
        logit[rows] = estimate.output
        base[rows] = estimate.background_output.mean()
    inputs = _table(explained, genes)
    present = ~np.isnan(inputs)
    if not (np.isfinite(values[present]).all() and np.isfinite(logit).all()):
        raise ModelError(
            "The attributions are not finite numbers; set the backbone's dtype to float32."
        )
    difference = logit - base
    size_of = np.maximum(
        np.abs(difference), _SMALLEST_DIFFERENCE * float(np.median(np.abs(difference)))
    )
    missed = np.abs(np.nansum(values, axis=1) - difference)
    index = pd.Index([profile.gsm for profile in explained], name="gsm")
    columns = pd.Index(list(genes), name="gene")
    return Attributions(
        values=pd.DataFrame(values, index=index, columns=columns),
        inputs=pd.DataFrame(inputs, index=index, columns=columns),
        base=pd.Series(base, index=index, name="base"),
        logit=pd.Series(logit, index=index, name="logit"),
        completeness_error=pd.Series(
            # Nothing to explain and nothing explained is no error.
            np.divide(missed, size_of, out=np.zeros_like(missed), where=missed > 0),
            index=index,
            name="completeness_error",
        ),
    )


@dataclass
class _Runs:
    """Counts gradients for the caller."""

    tell: Callable[[int, int], None] | None
    total: int
    done: int = 0

    def add(self, number: int) -> None:
        self.done += number
        if self.tell is not None:
            self.tell(self.done, self.total)


def _require_input(
    members: Sequence[Member],
    explained: Sequence[TokenProfile],
    background: Sequence[TokenProfile],
) -> None:
    for what, content in (
        ("a trained member", members),
        ("samples to explain", explained),
        ("background samples", background),
    ):
        if not content:
            raise ModelError(f"Attributions need {what}, and there is none; check the stratum.")
    names = [profile.gsm for profile in explained]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelError(f"The sample {twice} is to be explained twice; name it once.")


def _require_fixed_positions(profiles: Sequence[TokenProfile], size: int) -> None:
    place = np.full(size, -1)
    for profile in profiles:
        known = place[profile.genes]
        if ((known >= 0) & (known != profile.positions)).any():
            raise ModelError(
                f"The sample {profile.gsm} has genes at other positions than another sample; "
                "attributions need the tokenizer kind 'value', which leaves genes in their place."
            )
        place[profile.genes] = profile.positions


def _table(profiles: Sequence[TokenProfile], genes: Sequence[str]) -> np.ndarray:
    table = np.full((len(profiles), len(genes)), np.nan)
    for row, profile in enumerate(profiles):
        table[row, profile.genes] = profile.values
    return table


def _filled(references: np.ndarray, profile: TokenProfile, genes: Sequence[str]) -> np.ndarray:
    known = ~np.isnan(references)
    unknown = np.flatnonzero(~known.any(axis=0))
    if len(unknown):
        raise ModelError(
            f"The gene {genes[profile.genes[unknown[0]]]} of sample {profile.gsm} was measured in "
            "none of the background samples; draw the background from every training cohort."
        )
    mean = np.where(known, references, 0.0).sum(axis=0) / known.sum(axis=0)
    return np.where(known, references, mean)
