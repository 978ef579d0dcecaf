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
from genellm_dagster.tokenizers.protocol import TokenProfile

if TYPE_CHECKING:
    from shap import Explanation


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
        gradients: Gradients taken for each sample.
        by_member: The same values for each member alone, members x samples x genes, NaN where the
            gene is absent. By the trapezoid rule only: for comparing members, not for reading.
        by_half: The same values against one half of the background and against the other, by the
            same rule, 2 x samples x genes.
    """

    values: pd.DataFrame
    inputs: pd.DataFrame
    base: pd.Series
    logit: pd.Series
    completeness_error: pd.Series
    gradients: pd.Series
    by_member: np.ndarray
    by_half: np.ndarray

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
        self.genes = torch.tensor(profile.genes, device=device).long()[None]
        self.positions = torch.tensor(profile.positions, device=device).long()[None]
        self.readout_position = readout_position
        self.directions = [one.direction.to(device) for one in members]
        self.centres = [one.centre.to(device) for one in members]
        with torch.no_grad():
            nothing_moved = torch.zeros(self.genes.shape, device=device)
            self.reference_states = self._states(nothing_moved)
            self.references = self._read(self.reference_states)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the logit of each member.

        Args:
            values: Token values, samples x tokens.

        Returns:
            Samples x members; their mean over the members is what a sample is scored by.
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
        return torch.stack(parts, dim=1)

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
    each background sample, and each of its samples ``1 + gradient_samples`` more, and as many again
    as it takes until its values add up within the tolerance. Every sample is explained against the
    same background, reduced to its genes; a gene that a background sample lacks takes its mean over
    those that have it.

    Args:
        encoder: The frozen prefix; its embedding holds ``genes``.
        members: The trained ensemble; with one member, that member's logit is explained.
        adapter: Options the members were trained with.
        genes: The vocabulary, in order.
        explained: The samples to explain.
        background: Training samples that stand for "nothing known of this sample".
        options: Number of gradients, tolerance, size of a batch.
        progress: Called with gradients done and gradients planned by now.

    Returns:
        Values, in the order of ``explained``. A sample's do not depend on the others explained.

    Raises:
        ModelError: When samples or members are missing, a sample is there twice, the tokenizer
            moves genes about, or the background lacks a gene.
    """
    _require_input(members, explained, background)
    _require_fixed_positions([*explained, *background], len(genes))
    references = _table(background, genes)
    runs = _Runs(progress)
    groups: dict[bytes, list[int]] = {}
    for row, profile in enumerate(explained):
        groups.setdefault(profile.genes.tobytes(), []).append(row)
    heads = adapted_heads(encoder, members, adapter)
    number = len(explained)
    values = np.full((number, len(genes)), np.nan)
    by_member = np.full((len(members), number, len(genes)), np.nan)
    by_half = np.full((2, number, len(genes)), np.nan)
    logit, base, error, gradients = (np.empty(number) for _ in range(4))
    for rows in groups.values():
        first = explained[rows[0]]
        function = AdaptedLogit(encoder, heads, members, first, readout_position=len(genes))
        size = max(1, options.batch_tokens // len(first))
        samples = np.stack([explained[row].values for row in rows])
        filled = _filled(references[:, first.genes], first, genes)
        estimate = expected_gradients(
            function,
            samples,
            filled,
            options.gradient_samples,
            options.completeness,
            size,
            encoder.embedding.table.device,
            runs,
        )
        at = np.ix_(np.array(rows), first.genes)
        values[at] = estimate.values
        for own, found in zip(by_member, estimate.by_output, strict=True):
            own[at] = found
        for own, found in zip(by_half, estimate.by_half, strict=True):
            own[at] = found
        logit[rows] = estimate.output
        base[rows] = estimate.background_output.mean()
        error[rows] = estimate.error
        gradients[rows] = estimate.gradients
    inputs = _table(explained, genes)
    present = ~np.isnan(inputs)
    if not (np.isfinite(values[present]).all() and np.isfinite(logit).all()):
        raise ModelError(
            "The attributions are not finite numbers; set the backbone's dtype to float32."
        )
    index = pd.Index([profile.gsm for profile in explained], name="gsm")
    columns = pd.Index(list(genes), name="gene")
    return Attributions(
        values=pd.DataFrame(values, index=index, columns=columns),
        inputs=pd.DataFrame(inputs, index=index, columns=columns),
        base=pd.Series(base, index=index, name="base"),
        logit=pd.Series(logit, index=index, name="logit"),
        completeness_error=pd.Series(error, index=index, name="completeness_error"),
        gradients=pd.Series(gradients.astype(int), index=index, name="gradients"),
        by_member=by_member,
        by_half=by_half,
    )


@dataclass
class _Runs:
    """Counts gradients for the caller."""

    tell: Callable[[int, int], None] | None
    total: int = 0
    done: int = 0

    def plan(self, number: int) -> None:
        self.total += number

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


def token_values(profiles: Sequence[TokenProfile], genes: Sequence[str]) -> pd.DataFrame:
    """Return the token values of samples as a table: gsm x genes of the vocabulary, NaN absent."""
    return pd.DataFrame(
        _table(profiles, genes),
        index=pd.Index([profile.gsm for profile in profiles], name="gsm"),
        columns=pd.Index(list(genes), name="gene"),
    )


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
