"""Where a series' values come from: platform, ids, files; and what it shares with others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from genellm_dagster.studies.cohort import ValueSource
from genellm_dagster.studies.proposal.facts import SeriesFacts
from genellm_dagster.studies.proposal.fields import column_values
from genellm_dagster.studies.proposal.model import Finding

MIN_SHARE = 0.5
_Found = Callable[[str, float, str, float], str]
_PLATFORM = re.compile(r"GPL\d{1,9}")
_ENSEMBL = re.compile(r"ENSG\d{11}(?:\.\d+)?(?:_PAR_Y)?")
_PROBE = re.compile(
    r"\d+(?:_[a-z]{1,2})?_(?:at|st)|(?:AFFX|ILMN|PSR|TC|JUC|A_\d\d_P|CUST|DapPop|GE|NM_|hsa)\S*|"
    r"(?:\d+_){2,}\w+|TC\d+\S*\.hg\.\d|\d+_[A-Z]\d*\S*"
)
_MATRIX_NAME = re.compile(
    r"(?i)(?:count|fpkm|rpkm|tpm|cpm|rpm|norm|expr|matrix|processed|genes?|log2|vst|rma|quant|data)"
)
_NO_MATRIX_NAME = re.compile(
    r"(?i)(?:_raw\.tar|\.tar(?:\.gz)?|filelist\.txt|\.cel|\.idat|\.bed|\.bw|\.bigwig|\.h5|\.mtx|"
    r"\.rds|\.rdata|\.pdf|\.docx?|readme|metadata|pheno|clinical|sample_?info|annot|barcodes|"
    r"features|\.bam|\.sra|\.fastq|\.gtf|\.json|detection|supplementary_table)"
)
_TABLE_NAME = re.compile(r"(?i)\.(?:txt|tsv|csv|xlsx|xls|tab)(?:\.gz)?$")
_ACCESSION = re.compile(r"GSE\d{3,9}")
_SHARES = re.compile(
    r"(?i)re-?\s?analy|re-?\s?normali|subset|same (?:patients|samples|individuals|subjects|cohort)|"
    r"previously|overlap|includ|superseries|subseries|combined|deposited|derived|merged|also "
    r"(?:in|part)|part of|samples? (?:from|in|of)|patients (?:from|in|of)|reus|drawn from|data from"
)


@dataclass(frozen=True)
class SourceProposal:
    """Platform, ids, values and overlaps with what they rest on."""

    platform: str
    id_type: str
    values: ValueSource
    overlaps: tuple[str, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    abstained: dict[str, str]


def infer_source(samples: pd.DataFrame, facts: SeriesFacts) -> SourceProposal:
    """Find out platform, kind of ids, source of the values and overlapping series."""
    findings: list[Finding] = []
    warnings: list[str] = []
    abstained: dict[str, str] = {}
    platform = _platform(samples, facts, findings, abstained)
    values = _values(facts, findings, abstained)
    id_type = _id_type(facts, values, findings, abstained)
    overlaps = _overlaps(facts, findings, warnings)
    return SourceProposal(
        platform, id_type, values, overlaps, tuple(findings), tuple(warnings), abstained
    )


def _platform(
    samples: pd.DataFrame, facts: SeriesFacts, findings: list[Finding], abstained: dict[str, str]
) -> str:
    said = column_values(samples, "platform") if "platform" in samples.columns else ()
    counts = Counter(value for value in said if value and _PLATFORM.fullmatch(value))
    if facts.platform and _PLATFORM.fullmatch(facts.platform):
        why = "the platform of this matrix"
        findings.append(
            Finding("platform", "series", "", facts.platform, len(samples), (), why, 0.99)
        )
        return facts.platform
    if not counts:
        abstained["platform"] = "neither the series nor its samples name a platform"
        return ""
    (name, n), *others = counts.most_common()
    if others:
        abstained["platform"] = (
            f"the samples are of several platforms ({', '.join(sorted(counts))}); each is a cohort "
            "of its own"
        )
    why = "what the samples say"
    findings.append(Finding("platform", "platform", "", name, n, (), why, 0.6 if others else 0.99))
    return name


def _values(facts: SeriesFacts, findings: list[Finding], abstained: dict[str, str]) -> ValueSource:
    if facts.has_values:
        return ValueSource()
    if facts.has_ncbi_counts:
        why = "the matrix holds its header only, and NCBI has counts of this series"
        findings.append(Finding("values", "series", "", "ncbi_counts", 0, (), why, 0.95))
        return ValueSource(source="ncbi_counts")
    tables = [
        name
        for name in facts.supplementary
        if _TABLE_NAME.search(name) and not _NO_MATRIX_NAME.search(name)
    ]
    named = [name for name in tables if _MATRIX_NAME.search(name)] or tables
    if not named:
        abstained["values"] = (
            "the matrix holds its header only, and no counts of NCBI and no table of the submitter "
            "are known"
        )
        return ValueSource()
    # One matrix is enough; of several the raw counts, which need no undoing.
    counts = [name for name in named if re.search(r"(?i)count", name)]
    chosen = (counts or named)[0]
    sure = 0.85 if len(named) == 1 else 0.6
    why = f"the matrix holds its header only; one of {len(named)} tables of the submitter"
    findings.append(
        Finding("values", "series", "", "supplementary", 0, tuple(named[:3]), why, sure)
    )
    return ValueSource(source="supplementary", files=(chosen,))


def _id_type(
    facts: SeriesFacts,
    values: ValueSource,
    findings: list[Finding],
    abstained: dict[str, str],
) -> str:
    if values.source == "ncbi_counts":
        why = "NCBI counts by Entrez gene"
        findings.append(Finding("id_type", "series", "", "entrez", 0, (), why, 0.99))
        return "entrez"
    ids = [text.strip().strip('"') for text in facts.ids if text.strip()]
    if not ids or not facts.has_values:
        abstained["id_type"] = "no ids were seen; probe is only the default"
        return "probe"
    shown = tuple(ids[:3])

    def found(kind: str, share: float, why: str, sure: float) -> str:
        findings.append(
            Finding("id_type", "ids", "", kind, len(ids), shown, f"{share:.0%} {why}", sure)
        )
        return kind

    ensembl = sum(bool(_ENSEMBL.fullmatch(text)) for text in ids) / len(ids)
    if ensembl > MIN_SHARE:
        return found("ensembl", ensembl, "are Ensembl genes", 0.98)
    numbers = [int(text) for text in ids if text.isascii() and text.isdigit() and len(text) < 12]
    if len(numbers) > MIN_SHARE * len(ids):
        return _numbered(sorted(numbers), len(numbers) / len(ids), found, abstained)
    probes = sum(bool(_PROBE.fullmatch(text)) for text in ids) / len(ids)
    if probes > MIN_SHARE:
        return found("probe", probes, "are written as probes are", 0.95)
    if facts.approved_share is not None and facts.approved_share >= MIN_SHARE:
        return found("symbol", facts.approved_share, "are known gene symbols", 0.97)
    symbols = sum(bool(re.fullmatch(r"[A-Z][A-Z0-9-]{1,14}(?:orf\d+)?", text)) for text in ids)
    if facts.approved_share is None and symbols > 0.8 * len(ids):
        return found("symbol", symbols / len(ids), "are written as gene symbols are", 0.75)
    abstained["id_type"] = (
        f"ids such as {', '.join(shown)[:60]} are neither symbols, Entrez, Ensembl nor plain "
        "probes; probe is only the default"
    )
    return "probe"


def _numbered(numbers: list[int], share: float, found: _Found, abstained: dict[str, str]) -> str:
    """Tell Entrez genes from probes that are numbers: genes are mostly small, probes all large."""
    low, median = numbers[0], numbers[len(numbers) // 2]
    if low > 1_000_000 and len(numbers) > 5:
        return found("probe", share, "are numbers beyond those of most genes", 0.9)
    if median < 120_000 and low < 20_000 and len(numbers) > 5:
        return found("entrez", share, "are numbers in the range of Entrez genes", 0.8)
    abstained["id_type"] = "ids are numbers that may be probes or genes; probe is only the default"
    return "probe"


def _overlaps(facts: SeriesFacts, findings: list[Finding], warnings: list[str]) -> tuple[str, ...]:
    shared: dict[str, str] = {}
    mentioned: dict[str, str] = {}
    for relation in facts.relations[:200]:
        for accession in _ACCESSION.findall(relation[:2000]):
            if re.match(r"(?i)\s*(?:re-?analy|sub\s?series|super\s?series)", relation):
                shared.setdefault(accession, relation.strip()[:120])
    for sentence in re.split(r"(?<=[.;\n])\s+", facts.text):
        for accession in _ACCESSION.findall(sentence):
            kind = shared if _SHARES.search(sentence) else mentioned
            kind.setdefault(accession, sentence.strip()[:120])
    shared.pop(facts.accession, None)
    for accession, why in shared.items():
        findings.append(Finding("overlaps", "series", "", accession, 0, (), why, 0.9))
    warnings.extend(
        f"The series' text names {accession} without saying whether they share people."
        for accession in mentioned
        if accession not in shared and accession != facts.accession
    )
    return tuple(shared)
