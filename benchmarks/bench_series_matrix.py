r"""From a gzipped series matrix to expression Parquet: this project against plain tools.

A series and its platform table are made up first (probes of which several may measure one gene,
values of five decimals). Then, in turn and in one run, so that a busy machine slows them all:

- ours: `read_series` (checksums verified, header and sample fields read, values parsed, platform
  table read), `build_expression` (scale found, probes mapped to approved symbols and collapsed by
  the default rule, report) and `write_parquet` (atomic, with page checksums);
- pandas: `read_csv(sep="\t", comment="!")` of the gzip, `groupby(gene).mean()`, `to_parquet`; the
  gene of each probe is given to it;
- bare: `igzip` into memory and polars' `read_csv` of it, nothing else.

Medians of ratios round by round are what counts; seconds are those of this machine at this hour.
Where other programs hold the second core, the ratio of processor time (all threads) says what is
left of it. Peak memory is that of a child process, less what its imports hold; ours includes the
table of symbols (30 MB), which is read once a process and left out of the times.

    python benchmarks/bench_series_matrix.py                     # 25,000 probes x 800 samples
    python benchmarks/bench_series_matrix.py --probes 5000 --samples 100 --rounds 3
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from isal import igzip

from genellm_dagster.expression.build import build_expression
from genellm_dagster.expression.symbols import approved_symbols, resolve_symbol
from genellm_dagster.files import write_parquet
from genellm_dagster.geo.records import FileRecord, Manifest
from genellm_dagster.geo.series import read_series
from genellm_dagster.studies.cohort import Cohort

MATRIX, PLATFORM, GENES = "GSE1_series_matrix.txt.gz", "GPL570.annot.gz", "genes.json"
KINDS = ("log2", "linear", "gaps")
COHORT = Cohort.model_validate(
    {"accession": "GSE1", "platform": "GPL570", "id_type": "probe", "sample": {"label": []}}
)


def write_series(folder: Path, probes: int, samples: int, kind: str) -> int:
    """Write a series matrix and its platform table; return the bytes of the matrix's text."""
    rng = np.random.default_rng(0)
    known = approved_symbols()
    known = known[(known["locus_group"] == "protein-coding gene") & (known["entrez"] != "")]
    n_genes = min(int(0.7 * probes), len(known))
    gene = np.concatenate([np.arange(n_genes), rng.integers(0, n_genes, probes - n_genes)])
    rng.shuffle(gene)
    symbols, entrez = known["symbol"].to_numpy(), known["entrez"].to_numpy()

    def row(key: str, cells: list[str]) -> str:
        return "\t".join([key, *(f'"{cell}"' for cell in cells)]) + "\n"

    gsms = [f"GSM{1_000_000 + place}" for place in range(samples)]
    head = [
        row("!Series_geo_accession", ["GSE1"]),
        row("!Series_platform_id", ["GPL570"]),
        row("!Sample_title", [f"patient {place}" for place in range(samples)]),
        row("!Sample_geo_accession", gsms),
        row("!Sample_source_name_ch1", ["Whole blood"] * samples),
        row("!Sample_organism_ch1", ["Homo sapiens"] * samples),
        row("!Sample_characteristics_ch1", [f"age: {a}" for a in rng.integers(1, 90, samples)]),
        row(
            "!Sample_characteristics_ch1",
            [f"disease state: {name}" for name in rng.choice(["sepsis", "healthy"], samples)],
        ),
        row("!Sample_platform_id", ["GPL570"] * samples),
        "!series_matrix_table_begin\n",
        row('"ID_REF"', gsms),
    ]
    level = rng.gamma(6, 1, probes) + 2
    size = 0
    with igzip.open(folder / MATRIX, "wb", compresslevel=3) as file:
        for text in (*head, *_rows(rng, level, samples, kind), "!series_matrix_table_end\n"):
            size += file.write(text.encode())
    with igzip.open(folder / PLATFORM, "wt") as file:
        file.write("!platform_table_begin\nID\tGene title\tGene symbol\tGene ID\n")
        for place, number in enumerate(gene):
            file.write(f"{_probe(place)}\tgene {place}\t{symbols[number]}\t{entrez[number]}\n")
        file.write("!platform_table_end\n")
    (folder / GENES).write_text(json.dumps([symbols[number] for number in gene]))
    return size


def _rows(rng: np.random.Generator, level: np.ndarray, samples: int, kind: str) -> Iterator[str]:
    for place, middle in enumerate(level):
        values = np.maximum(middle + rng.normal(0, 0.6, samples), 1.0)
        cells = [f"{value:.5f}" for value in (2**values if kind == "linear" else values)]
        if kind == "gaps":
            for gap in np.flatnonzero(rng.random(samples) < 0.01):
                cells[gap] = "null"
        yield f'"{_probe(place)}"\t' + "\t".join(cells) + "\n"


def _probe(place: int) -> str:
    return f"{200_000 + place}_at"


def manifest_of(folder: Path) -> Manifest:
    """Return what a fetch of these files would have left."""
    files = []
    for role, name in (("matrix", MATRIX), ("platform", PLATFORM)):
        content = (folder / name).read_bytes()
        files.append(
            FileRecord(
                address=name,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                fetched_at="2020-01-01T00:00:00+00:00",
                name=name,
                role=role,
            )
        )
    return Manifest(accession="GSE1", platform="GPL570", root=str(folder), files=files)


def ours(folder: Path, manifest: Manifest) -> None:
    """The whole way, by this project."""
    series = read_series(folder, manifest)
    result = build_expression(series.values, series.id_table, COHORT, series.kind)
    write_parquet(folder / "ours.parquet", result.table)


def by_pandas(folder: Path, genes: list[str]) -> None:
    """The same, by pandas alone; the genes are known beforehand."""
    table = pd.read_csv(folder / MATRIX, sep="\t", comment="!", index_col=0)
    table.groupby(np.array(genes, dtype=object)).mean().to_parquet(folder / "pandas.parquet")


def bare(folder: Path) -> None:
    """The text into memory and the fastest CSV reader over it."""
    with igzip.open(folder / MATRIX) as file:
        text = file.read()
    pl.read_csv(
        text[text.index(b'"ID_REF"') :], separator="\t", comment_prefix="!", null_values="null"
    )


def ways_in(folder: Path) -> dict[str, Callable[[], None]]:
    """Return each way as a call without arguments."""
    manifest = manifest_of(folder)
    genes = json.loads((folder / GENES).read_text())
    resolve_symbol("TP53")  # the symbol table is read once a process
    return {
        "ours": lambda: ours(folder, manifest),
        "pandas": lambda: by_pandas(folder, genes),
        "bare": lambda: bare(folder),
    }


Times = dict[str, list[float]]


def measure(folder: Path, rounds: int) -> tuple[Times, Times]:
    """Return the seconds and the processor seconds of each way, round by round.

    A first round is not counted.
    """
    ways = ways_in(folder)
    times: Times = {name: [] for name in ways}
    work: Times = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start, begun = time.perf_counter(), time.process_time()
            way()
            if turn:
                times[name].append(time.perf_counter() - start)
                work[name].append(time.process_time() - begun)
    return times, work


def ratio(times: Times, over: str, under: str) -> float:
    """Return the median of the ratios of two ways, round by round."""
    return statistics.median(
        one / other for one, other in zip(times[over], times[under], strict=True)
    )


def stages(folder: Path, rounds: int) -> dict[str, float]:
    """Return the median seconds of the three stages of our way."""
    manifest = manifest_of(folder)
    times: dict[str, list[float]] = {"read": [], "build": [], "write": []}
    for _ in range(rounds):
        marks = [time.perf_counter()]
        series = read_series(folder, manifest)
        marks.append(time.perf_counter())
        result = build_expression(series.values, series.id_table, COHORT, series.kind)
        marks.append(time.perf_counter())
        write_parquet(folder / "ours.parquet", result.table)
        marks.append(time.perf_counter())
        for name, begin, end in zip(times, marks, marks[1:], strict=False):
            times[name].append(end - begin)
    return {name: statistics.median(each) for name, each in times.items()}


def _memory(key: str) -> int:
    """Return a line of this process's status in bytes (Linux only)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"/proc/self/status has no {key}")


def child(folder: Path, name: str) -> None:
    """Run one way and print by how many bytes memory grew at most; for a process of its own."""
    before = _memory("VmRSS")
    ways_in(folder)[name]()
    print(_memory("VmHWM") - before)


def peak(folder: Path, name: str) -> int:
    """Return the growth of memory of one way in a child process."""
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


def check_results(folder: Path) -> float:
    """Return the largest difference of ours from medians by pandas over single-probe genes."""
    mine = pd.read_parquet(folder / "ours.parquet")
    theirs = pd.read_parquet(folder / "pandas.parquet")
    genes = pd.Series(json.loads((folder / GENES).read_text()))
    single = genes[~genes.duplicated(keep=False)]
    return float(np.nanmax(np.abs(mine.loc[single] - theirs.loc[single]).to_numpy()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--probes", type=int, default=25_000)
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=("ours", "pandas", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.folder, given.child)
        return
    probes, samples, rounds = given.probes, given.samples, given.rounds
    sizes = [(probes, samples, kind) for kind in KINDS]
    sizes += [(probes // 5, samples // 8, "log2"), (probes, samples // 8, "log2")]
    sizes += [(probes, samples // 2, "log2"), (2 * probes, samples, "log2")]
    print(
        f"{'probes x samples':>18} {'values':>7} {'gzip MB':>8} {'text MB':>8} {'ours s':>7} "
        f"{'pandas s':>9} {'bare s':>7} {'pandas/ours':>12} {'ours/bare':>10} "
        f"{'cpu':>5} {'cpu':>5} {'ns/value':>9}"
    )
    for n_probes, n_samples, kind in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            text = write_series(folder, n_probes, n_samples, kind)
            times, work = measure(folder, rounds)
            middle = {way: statistics.median(each) for way, each in times.items()}
            print(
                f"{n_probes:>9} x {n_samples:<6} {kind:>7} "
                f"{(folder / MATRIX).stat().st_size / 1e6:>8.1f} {text / 1e6:>8.1f} "
                f"{middle['ours']:>7.2f} {middle['pandas']:>9.2f} {middle['bare']:>7.2f} "
                f"{ratio(times, 'pandas', 'ours'):>12.2f} {ratio(times, 'ours', 'bare'):>10.2f} "
                f"{ratio(work, 'pandas', 'ours'):>5.2f} {ratio(work, 'ours', 'bare'):>5.2f} "
                f"{middle['ours'] / n_probes / n_samples * 1e9:>9.1f}",
                flush=True,
            )
            if (n_probes, n_samples) == (probes, samples):
                _print_memory(folder, text, 4 * n_probes * n_samples)
                parts = stages(folder, rounds)
                print("    ours: " + ", ".join(f"{name} {s:.2f} s" for name, s in parts.items()))
                if kind != "linear":
                    print(f"    largest difference from pandas: {check_results(folder):.1e}")


def _print_memory(folder: Path, text: int, matrix: int) -> None:
    bound = text + 1.5 * matrix
    for way in ("ours", "pandas", "bare"):
        grown = peak(folder, way)
        print(
            f"    peak of {way:<6} {grown / 1e6:>6.0f} MB, {grown / bound:.2f} of text + 1.5 x "
            f"float32 matrix ({bound / 1e6:.0f} MB)",
            flush=True,
        )


if __name__ == "__main__":
    main()
