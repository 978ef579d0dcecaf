"""The genes of a simulated study: which ones, how bright, how variable, and what moves together."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import pandas as pd

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.symbols import approved_symbols
from genellm_dagster.simulation.options import SimulationOptions
from genellm_dagster.simulation.randomness import generator

# Under their approved symbols of today: the genes of the published sepsis scores (sources beside
# the scores in data/signatures) and the single genes of PMC10533616.
SIGNATURE_GENES = (
    "CEACAM1", "ZDHHC19", "NMRK1", "GNA15", "BATF", "C3AR1", "ATOSA", "TGFBI", "MTCH1", "RPGRIP1",
    "HLA-DPB1", "PLAC8", "LAMP1", "PLA2G7", "CEACAM4", "FCMR", "NLRP1", "IDNK", "FAM89A", "IFI44L",
    "IFI27", "JUP", "LAX1", "HK3", "TNIP1", "GPAA1", "CTSB", "DEFA4", "CD163", "PER1", "RGS1",
    "HIF1A", "SELENOP", "IFTAP", "CIT", "LY86", "TST", "OR52R1", "KCNJ2", "ARL14EP", "CCNB1IP1",
    "DYRK2", "ADGRE3", "MDC1", "TDRD9", "ZAP70", "CYSTM1", "CD177", "MMP8",
)  # fmt: skip

FEMALE_GENES = ("XIST",)
MALE_GENES = ("RPS4Y1", "DDX3Y", "KDM5D", "EIF1AY", "UTY", "USP9Y", "TXLNGY")
SEX_GENES = FEMALE_GENES + MALE_GENES

# What whole blood is made of; each list names genes that are known to go with that part.
FACTORS: dict[str, tuple[str, ...]] = {
    "neutrophil": (
        "FCGR3B", "CXCR2", "CSF3R", "S100A8", "S100A9", "S100A12", "MMP9", "ANXA3", "CEACAM8",
        "CEACAM1", "CEACAM4", "CD177", "MMP8", "DEFA4", "LTF", "CYSTM1", "HK3",
    ),
    "lymphocyte": (
        "CD3D", "CD3E", "CD3G", "IL7R", "LCK", "ZAP70", "CCR7", "LEF1", "CD79A", "MS4A1", "FCMR",
        "LAX1", "NLRP1", "GZMB", "NKG7", "PRF1",
    ),
    "monocyte": (
        "CD14", "LYZ", "CSF1R", "FCN1", "CD163", "LY86", "C3AR1", "TGFBI", "HLA-DRA", "HLA-DPB1",
        "HLA-DPA1", "CTSB", "VCAN",
    ),
    "erythroid": (
        "HBB", "HBA1", "HBA2", "HBG1", "HBG2", "HBD", "ALAS2", "SLC4A1", "CA1", "AHSP", "EPB42",
        "SELENBP1", "GYPA", "GYPB",
    ),
    "interferon": (
        "IFI27", "IFI44L", "IFI44", "ISG15", "RSAD2", "MX1", "OAS1", "OAS3", "IFIT1", "IFIT2",
        "IFIT3", "SIGLEC1", "HERC5",
    ),
    "platelet": ("PF4", "PPBP", "ITGA2B", "GP9", "TUBB1", "TREML1", "MYL9", "SPARC"),
}  # fmt: skip

# Families that blood does not express: odour and taste receptors, hair, skin, testis.
_SILENT_FAMILIES = (
    r"(?:OR\d|TAS[12]R|VN1R|KRT|LCE|SPRR|DEFB|PRAME|[MGPSX]+AGE|USP17L|TSPY|FAM90|GOLGA|NBPF)"
)

# Log2 intensities of a whole-blood array: most genes between 4 and 11, the red-cell genes on top.
_MEAN, _MEAN_SD, _MEAN_RANGE = 7.5, 1.6, (3.5, 13.0)
_RED_CELL_MEAN = 11.5
# Planted and widely varying genes sit in the middle, where neither floor nor ceiling cuts them.
_MIDDLE_RANGE = (6.0, 9.0)
# Spread among people, log2 units: of any gene, of a widely varying one, of a planted one.
_QUIET_SD, _WIDE_SD, _PLANTED_SD, _MARKER_SD = (0.18, 0.4), (0.45, 0.75), (0.5, 0.65), (0.4, 0.8)
# Share of a gene's variance that the factors explain.
_COMMUNALITY, _MARKER_COMMUNALITY = 0.3, 0.65


def choose_universe(count: int) -> list[str]:
    """Return ``count`` approved symbols, sorted: the known blood genes, then protein-coding ones.

    The same symbols on every machine and for every seed: the rest are taken in the order of their
    SHA-256, so that a newer HGNC table changes few of them.

    Raises:
        ExpressionError: When HGNC's table does not hold that many protein-coding genes.
    """
    chosen, rest = _known_and_rest()
    if len(chosen) + len(rest) < count:
        raise ExpressionError(
            f"the packaged HGNC table holds {len(chosen) + len(rest)} genes and the simulation "
            f"asks for {count}; ask for fewer by the option genes."
        )
    return sorted(chosen + rest[: max(0, count - len(chosen))])


@lru_cache(maxsize=1)
def _known_and_rest() -> tuple[list[str], list[str]]:
    """The known blood genes, and the protein-coding ones in the order in which they are taken."""
    table = approved_symbols()
    known = {*SIGNATURE_GENES, *SEX_GENES, *(gene for genes in FACTORS.values() for gene in genes)}
    chosen = sorted(known & set(table["symbol"]))
    coding = table.loc[table["locus_group"] == "protein-coding gene", "symbol"]
    coding = coding[~coding.str.match(_SILENT_FAMILIES)]
    rest = sorted(set(coding) - set(chosen), key=lambda s: hashlib.sha256(s.encode()).digest())
    return chosen, rest


def plant_genes(options: SimulationOptions, seed: int) -> dict[str, pd.Series]:
    """Choose the disease genes of each stratum and their effects.

    Any gene can be chosen except those of the factors and of the sexes; apart from
    ``options.shared_genes`` no gene is planted in two strata.

    Returns:
        Stratum to effects: index gene, value log2 units at disease activity 1, half of them
        negative (apart from the discordant genes), strongest first.

    Raises:
        ExpressionError: When there are too few genes to choose from.
    """
    markers = {gene for genes in FACTORS.values() for gene in genes}
    free = [g for g in choose_universe(options.genes) if g not in markers and g not in SEX_GENES]
    wanted = sum(stratum.planted_genes for stratum in options.strata.values())
    if wanted > len(free):
        raise ExpressionError(
            f"the simulation shall plant {wanted} genes but only {len(free)} of its "
            f"{options.genes} genes can be planted; raise the option genes."
        )
    random = generator(seed, "planted")
    order = [free[at] for at in random.permutation(len(free))]
    shared, order = order[: options.shared_genes], order[options.shared_genes :]
    planted: dict[str, pd.Series] = {}
    for name, stratum in options.strata.items():
        own = stratum.planted_genes - len(shared)
        genes, order = shared + order[:own], order[own:]
        size = stratum.effect * (
            1 + stratum.effect_spread * np.linspace(1, -1, len(genes)) * (len(genes) > 1)
        )
        sign = np.where(np.arange(len(genes)) % 2 == 0, 1.0, -1.0)
        planted[name] = pd.Series(size * sign, index=genes, name="effect")
    for gene in shared:  # The same gene, the same effect: only then is the overlap whole.
        mean = np.mean([effects[gene] for effects in planted.values()])
        for effects in planted.values():
            effects[gene] = mean
    for effects in list(planted.values())[1::2]:
        effects[shared[: options.discordant_genes]] *= -1
    return {
        name: effects.sort_values(key=np.abs, ascending=False, kind="stable")
        for name, effects in planted.items()
    }


def describe_genes(
    options: SimulationOptions, planted: dict[str, pd.Series], seed: int
) -> pd.DataFrame:
    """Draw what is true of every gene in every person, before any disease.

    Returns:
        Index gene (sorted). Columns ``mean`` and ``sd`` (log2 units), ``communality`` (share of the
        variance that the factors explain), ``kind`` (quiet, wide, planted, marker, sex), one
        column ``loading: <factor>`` each, rows of unit length, and ``age_slope`` (log2 units in ten
        years, 0 for genes that do not follow age).

    Raises:
        ExpressionError: When there are too few genes to follow age.
    """
    genes = choose_universe(options.genes)
    random = generator(seed, "genes")
    markers = {gene: name for name, members in FACTORS.items() for gene in members}
    planted_genes = {gene for effects in planted.values() for gene in effects.index}
    kind = pd.Series("quiet", index=pd.Index(genes, name="gene"))
    kind[kind.index.isin(markers)] = "marker"
    kind[kind.index.isin(SEX_GENES)] = "sex"
    kind[kind.index.isin(planted_genes)] = "planted"
    quiet = kind.index[kind == "quiet"].to_numpy()
    wide = random.permutation(quiet)[: min(options.variable_genes, len(quiet) // 2)]
    kind[kind.index.isin(wide)] = "wide"

    count = len(genes)
    mean = np.clip(random.normal(_MEAN, _MEAN_SD, count), *_MEAN_RANGE)
    middle = random.uniform(*_MIDDLE_RANGE, count)
    mean = np.where(kind.isin(["planted", "wide"]), middle, mean)
    red = kind.index.isin(FACTORS["erythroid"])
    mean = np.where(red, _RED_CELL_MEAN + random.normal(0, 0.8, count), mean)
    spans = {"quiet": _QUIET_SD, "wide": _WIDE_SD, "planted": _PLANTED_SD, "marker": _MARKER_SD}
    low, high = zip(*(spans.get(one, _QUIET_SD) for one in kind), strict=True)
    sd = random.uniform(np.array(low), np.array(high))
    # Cubed, the loadings of a gene are mostly those of one factor, as with cell types.
    loadings = random.normal(0, 1, (count, len(FACTORS))) ** 3
    for at, name in enumerate(FACTORS):
        own = kind.index.isin(FACTORS[name]) & (kind == "marker").to_numpy()
        loadings[own] *= 0.05
        loadings[own, at] = 1.0
    loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
    table = pd.DataFrame({"mean": mean, "sd": sd, "kind": kind})
    table["communality"] = np.where(kind == "marker", _MARKER_COMMUNALITY, _COMMUNALITY)
    for at, name in enumerate(FACTORS):
        table[f"loading: {name}"] = loadings[:, at]
    table["age_slope"] = _age_slopes(table["kind"], options, seed)
    return table


def _age_slopes(kind: pd.Series, options: SimulationOptions, seed: int) -> np.ndarray:
    """Log2 units in ten years; drawn apart, so that the other genes stay what they are."""
    free = np.flatnonzero(kind == "quiet")
    if options.age_genes > len(free):
        raise ExpressionError(
            f"the simulation shall let {options.age_genes} genes follow age but only {len(free)} "
            f"of its {options.genes} genes are free for that; raise the option genes."
        )
    chosen = generator(seed, "age genes").permutation(free)[: options.age_genes]
    slopes = np.zeros(len(kind))
    slopes[chosen] = options.age_effect * np.where(np.arange(len(chosen)) % 2 == 0, 1.0, -1.0)
    return slopes
