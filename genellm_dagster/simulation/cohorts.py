"""The expression values of one simulated series: people, disease, centre, machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from genellm_dagster.simulation.genes import FACTORS, FEMALE_GENES, MALE_GENES
from genellm_dagster.simulation.options import CohortPlan, SimulationOptions
from genellm_dagster.simulation.people import draw_people
from genellm_dagster.simulation.randomness import generator

# Log2 units between the sexes: XIST is silent in men, the genes of the Y chromosome in women.
_SEX_DIFFERENCE = 4.0
# A person's own state is kept to this degree until the next time point.
_PERSISTENCE = 0.85
# Shares of the white cells in healthy blood, and how far a factor of 1 moves the log of a count.
_WHITE_CELLS = {"neutrophil": 0.60, "lymphocyte": 0.32, "monocyte": 0.08}
_CELL_SPREAD = 0.35
# The age, in years, at which a gene that follows age has its mean.
_AGE_OF_MEANS = 30.0
# A failed array: its own signal is this part, the rest that of random other genes; it is dim (log2
# units), noisy (log2 units) and has holes (share of its values).
_POOR_SIGNAL, _POOR_DIMMER, _POOR_NOISE, _POOR_MISSING = 0.35, 1.5, 1.0, 0.25


@dataclass(frozen=True)
class Biology:
    """What is true of the people and their arrays, whatever is made of them later.

    Attributes:
        factors: Factors x samples, standard normal.
        own: Genes x samples, standard normal, what the factors do not explain.
        noise: Genes x samples, standard normal, what the hybridisation adds; an array that is used
            again in another series brings its noise with it.
    """

    factors: pd.DataFrame
    own: pd.DataFrame
    noise: pd.DataFrame


@dataclass(frozen=True)
class SimulatedCohort:
    """One series before it is written.

    Attributes:
        plan: The series.
        people: One row a sample, see :func:`genellm_dagster.simulation.people.draw_people`.
        biology: The states of its people, to measure some of them again.
        values: Genes (sorted symbols) x gsm, log2, NaN where a value is missing.
        absent: Genes that its platform does not measure; they are no rows of ``values``.
        cells: Cell types x gsm, shares of the white cells, see :func:`cell_shares`.
    """

    plan: CohortPlan
    people: pd.DataFrame
    biology: Biology
    values: pd.DataFrame
    absent: list[str]
    cells: pd.DataFrame


def _draw_biology(
    genes: pd.DataFrame, people: pd.DataFrame, donor: Biology | None, random: np.random.Generator
) -> Biology:
    factors = random.normal(size=(len(FACTORS), len(people)))
    own, noise = random.normal(size=(2, len(genes), len(people)))
    column = {gsm: at for at, gsm in enumerate(people["gsm"])}
    rest = np.sqrt(1 - _PERSISTENCE**2)
    for at, (copy_of, follows) in enumerate(zip(people["copy_of"], people["follows"], strict=True)):
        if copy_of is not None and donor is not None:
            factors[:, at] = donor.factors[copy_of].to_numpy()
            own[:, at] = donor.own[copy_of].to_numpy()
            noise[:, at] = donor.noise[copy_of].to_numpy()
        if follows is not None:
            before = column[follows]
            factors[:, at] = _PERSISTENCE * factors[:, before] + rest * factors[:, at]
            own[:, at] = _PERSISTENCE * own[:, before] + rest * own[:, at]
    gsm = list(people["gsm"])
    return Biology(
        pd.DataFrame(factors, index=list(FACTORS), columns=gsm),
        pd.DataFrame(own, index=genes.index, columns=gsm),
        pd.DataFrame(noise, index=genes.index, columns=gsm),
    )


def _blood(biology: Biology, people: pd.DataFrame, composition_shift: float) -> np.ndarray:
    """Factors x samples, standard deviations: what the blood of each person is made of."""
    activity = people["activity"].to_numpy()
    factors = biology.factors.to_numpy().copy()
    names = list(FACTORS)
    factors[names.index("neutrophil")] += composition_shift * activity
    factors[names.index("lymphocyte")] -= composition_shift * activity
    return factors


def cell_shares(factors: np.ndarray, gsm: list[str]) -> pd.DataFrame:
    """Return the shares of the white cells that the cell factors stand for.

    A share is that of a healthy adult's differential count (neutrophils 60 %, lymphocytes 32 %,
    monocytes 8 %) times exp(0.35 x factor), over the sum: counts of white cells spread among
    people about log-normally. The values of genes follow the factors, not these shares.

    Args:
        factors: Factors (in the order of ``FACTORS``) x samples, standard deviations.
        gsm: The samples.
    """
    rows = [list(FACTORS).index(name) for name in _WHITE_CELLS]
    counts = np.array(list(_WHITE_CELLS.values()))[:, None] * np.exp(_CELL_SPREAD * factors[rows])
    return pd.DataFrame(counts / counts.sum(axis=0), index=list(_WHITE_CELLS), columns=gsm)


def _true_expression(
    genes: pd.DataFrame,
    people: pd.DataFrame,
    biology: Biology,
    factors: np.ndarray,
    effects: pd.Series,
    active: pd.DataFrame,
) -> np.ndarray:
    """Genes x samples, log2, as a perfect machine would see it."""
    activity = people["activity"].to_numpy()
    names = list(FACTORS)
    loadings = genes[[f"loading: {name}" for name in names]].to_numpy()
    communality = genes["communality"].to_numpy()[:, None]
    # einsum and not BLAS: the same bytes on every machine.
    together = np.einsum("gf,fs->gs", loadings, factors)
    state = np.sqrt(communality) * together + np.sqrt(1 - communality) * biology.own.to_numpy()
    values = genes["mean"].to_numpy()[:, None] + genes["sd"].to_numpy()[:, None] * state
    female = (people["sex"] == "female").to_numpy()
    for own_genes, has in ((FEMALE_GENES, female), (MALE_GENES, ~female)):
        own = genes.index.isin(own_genes)
        values[own] += np.where(has, 0.5, -0.5) * _SEX_DIFFERENCE
    rows = genes.index.get_indexer(effects.index)
    moves = active.to_numpy()[:, people["endotype"].to_numpy()]
    values[rows] += effects.to_numpy()[:, None] * moves * activity
    slopes = genes["age_slope"].to_numpy()
    if slopes.any():
        values += slopes[:, None] * (people["age_years"].to_numpy() - _AGE_OF_MEANS) / 10
    return values


def active_genes(
    options: SimulationOptions, stratum: str, effects: pd.Series, seed: int
) -> pd.DataFrame:
    """Tell which planted genes each kind of patient moves.

    Returns:
        Planted genes x endotypes, boolean. Every gene is moved by one kind at least.
    """
    truth = options.strata[stratum]
    random = generator(seed, "endotypes", stratum)
    active = random.random((len(effects), truth.endotypes)) < truth.endotype_share
    silent = np.flatnonzero(~active.any(axis=1))
    active[silent, random.integers(0, truth.endotypes, len(silent))] = True
    return pd.DataFrame(active, index=effects.index)


def simulate_cohort(
    options: SimulationOptions,
    number: int,
    genes: pd.DataFrame,
    effects: pd.Series,
    earlier: SimulatedCohort | None,
    seed: int,
) -> SimulatedCohort:
    """Simulate one series.

    Args:
        options: The study.
        number: Which of ``options.cohorts``.
        genes: The table of :func:`genellm_dagster.simulation.genes.describe_genes`.
        effects: Planted effects of the series' stratum, log2 units at activity 1.
        earlier: The stratum's first series, whose arrays may be used again; None for itself.
        seed: The seed of the study.
    """
    plan = options.cohorts[number]
    donors = pd.DataFrame()
    if earlier is not None:
        known = earlier.people
        donors = known[
            known["label"].notna() & (known["kind"] != "outside") & ~known["poor"]
            & ~known["mislabelled"] & (known["timepoint"] == "0h") & known["age_recorded"]
        ]  # fmt: skip
    people = draw_people(options, plan, number, donors, seed)
    random = generator(seed, "values", plan.accession)
    biology = _draw_biology(genes, people, earlier.biology if earlier else None, random)
    active = active_genes(options, plan.stratum, effects, seed)
    blood = _blood(biology, people, composition_shift_of(options, plan))
    scaled = effects * plan.effect_scale
    true = _true_expression(genes, people, biology, blood, scaled, active)

    shape = true.shape
    shift = random.normal(0, options.batch_sd, (shape[0], 1))
    gain = np.exp(random.normal(0, options.gain_sd, (shape[0], 1)))
    middle = genes["mean"].to_numpy()[:, None]
    values = middle + shift + gain * (true - middle)
    values += random.normal(0, options.array_sd, shape[1])
    if plan.batches > 1:
        size = (shape[0], plan.batches)
        shifts = generator(seed, "batch shifts", plan.accession).normal(0, options.batch_sd, size)
        values += shifts[:, people["batch"].to_numpy() - 1]
    values += options.noise_sd * biology.noise.to_numpy()
    for at in np.flatnonzero(people["poor"].to_numpy()):
        other = values[random.permutation(shape[0]), at]
        values[:, at] = _POOR_SIGNAL * values[:, at] + (1 - _POOR_SIGNAL) * other
        values[:, at] += random.normal(-_POOR_DIMMER, _POOR_NOISE, shape[0])
    missing = np.where(people["poor"], _POOR_MISSING, options.missing_share)
    values[random.random(shape) < missing] = np.nan

    lost = generator(seed, "absent", plan.platform).random(len(genes)) < options.absent_share
    table = pd.DataFrame(np.maximum(values, 0.0), index=genes.index, columns=list(people["gsm"]))
    absent, cells = list(genes.index[lost]), cell_shares(blood, list(people["gsm"]))
    return SimulatedCohort(plan, people, biology, table.loc[~lost], absent, cells)


def composition_shift_of(options: SimulationOptions, plan: CohortPlan) -> float:
    """Return how far activity 1 moves the cell factors in one series, standard deviations."""
    own = plan.composition_shift
    return options.composition_shift if own is None else own
