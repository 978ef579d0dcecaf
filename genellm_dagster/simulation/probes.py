"""Made-up array platforms: the probes of each gene, and what each probe shows of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from genellm_dagster.expression.symbols import approved_symbols
from genellm_dagster.simulation.randomness import generator

# Platforms are older than today's symbols; these are what annotation tables still hold.
OLD_SYMBOLS = {
    "NMRK1": "C9orf95",
    "ATOSA": "FAM214A",
    "FCMR": "FAIM3",
    "SELENOP": "SEPP1",
    "IFTAP": "C11orf74",
}
# How many probes a gene has, and how often.
_PROBES_A_GENE, _PROBE_SHARES = (1, 2, 3), (0.5, 0.35, 0.15)
# A second probe is dimmer, flatter and noisier than the best one, in log2 units.
_DIMMER, _FLATTER, _PROBE_NOISE_SD = (0.1, 1.0), (0.6, 0.95), 0.2
# Flatter means nearer to this brightness, log2.
_MIDDLE = 7.5
# Share of the probes that bind a second gene, and control probes without a gene.
_TWO_GENES_SHARE, _CONTROL_PROBES = 0.01, 40
_CONTROL_MEAN = 4.0
_ID_FORMATS = {"affymetrix": "{number}_at", "illumina": "ILMN_{number}"}
_FIRST_NUMBER = {"affymetrix": 990_000, "illumina": 9_900_000}


def probe_table(kind: str, platform: str, genes: list[str], seed: int) -> pd.DataFrame:
    """Lay out a platform.

    Args:
        kind: ``affymetrix`` or ``illumina``: how its ids look.
        platform: Its GPL accession.
        genes: Approved symbols that it measures.
        seed: The seed of the study.

    Returns:
        One row a probe: ``id``, ``symbol`` (as annotated: old symbols, ``A///B``, "" for controls),
        ``entrez``, ``gene`` (what it measures, None for controls), ``offset`` and ``gain`` (of
        its signal, log2), ``noise`` (standard deviation, log2).
    """
    random = generator(seed, "platform", platform)
    count = random.choice(_PROBES_A_GENE, len(genes), p=_PROBE_SHARES)
    gene = np.repeat(np.array(genes, dtype=object), count)
    is_first = np.concatenate([np.arange(n) == 0 for n in count])
    size = len(gene)
    table = pd.DataFrame({"gene": gene})
    table["offset"] = np.where(is_first, 0.0, -random.uniform(*_DIMMER, size))
    table["gain"] = np.where(is_first, 1.0, random.uniform(*_FLATTER, size))
    table["noise"] = np.where(is_first, 0.0, _PROBE_NOISE_SD)
    symbols = table["gene"].map(lambda name: OLD_SYMBOLS.get(name, name))
    two = ~is_first & (random.random(size) < _TWO_GENES_SHARE * size / max(1, (~is_first).sum()))
    others = random.choice(np.array(genes, dtype=object), size)
    table["symbol"] = np.where(two, symbols + "///" + others, symbols)
    known = approved_symbols().set_index("symbol")["entrez"]
    entrez = table["gene"].map(known).fillna("")
    table["entrez"] = np.where(
        two, entrez + "///" + known.reindex(others).fillna("").to_numpy(), entrez
    )
    controls = pd.DataFrame(
        {"gene": None, "offset": _CONTROL_MEAN, "gain": 0.0, "noise": _PROBE_NOISE_SD,
         "symbol": "", "entrez": ""},
        index=range(_CONTROL_PROBES),
    )  # fmt: skip
    table = pd.concat([table, controls], ignore_index=True)
    table = table.iloc[random.permutation(len(table))].reset_index(drop=True)
    first = _FIRST_NUMBER[kind]
    table["id"] = [_ID_FORMATS[kind].format(number=first + at) for at in range(len(table))]
    table["gene"] = table["gene"].astype(object).where(table["gene"].notna(), None)
    return table[["id", "symbol", "entrez", "gene", "offset", "gain", "noise"]]


def measure_probes(
    values: pd.DataFrame, probes: pd.DataFrame, seed: int, series: str
) -> np.ndarray:
    """Return probes x samples, log2, for gene values of genes x samples."""
    random = generator(seed, "probes", series)
    rows = values.index.get_indexer(pd.Index(probes["gene"]))
    noise = random.normal(size=(len(probes), values.shape[1])) * probes["noise"].to_numpy()[:, None]
    signal = np.where(rows[:, None] >= 0, values.to_numpy()[rows], 0.0)
    gain, offset = probes["gain"].to_numpy()[:, None], probes["offset"].to_numpy()[:, None]
    middle = np.where(rows[:, None] >= 0, _MIDDLE, 0.0)
    return np.asarray(np.maximum(middle + gain * (signal - middle) + offset + noise, 0.0))
