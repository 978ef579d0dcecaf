"""Sentences drawn from the numbers: what was asked, on whom, how well, against what, by age.

Each sentence follows from the numbers by a rule written here, also when it is unwelcome. A P value
above the threshold is "no difference shown", never "no difference".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genellm_dagster.reports import age, marks
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import (
    LANGUAGE_MODEL,
    age_words,
    label_words,
    model_name,
    role_of,
)
from genellm_dagster.reports.numbers import (
    bounds_of,
    count,
    decimal,
    interval,
    listed,
    number_of,
    p_value,
    percent,
    plural,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tables.results import paired_tests

LOGISTIC = "logistic_regression"


@dataclass(frozen=True)
class Sentence:
    """One sentence of the summary, under the question it answers."""

    question: str
    text: str


def summary(content: ReportContent, options: ReportOptions) -> list[Sentence]:
    """Say the study in five sentences that a clinician understands."""
    return [
        Sentence("What was asked", asked(content)),
        Sentence("On whom", on_whom(content)),
        Sentence("How well it works", how_well(content)),
        Sentence("Compared with what", compared(content, options)),
        Sentence("What differs with age", between_strata(content, options)),
    ]


def asked(content: ReportContent) -> str:
    """Say the question."""
    study = content.study
    cases = listed([label_words(label) for label in study.case])
    controls = listed([label_words(label) for label in study.control])
    strata = listed([f"{label_words(n)} ({age_words(s)})" for n, s in study.strata.items()])
    apart = ", separately for each age stratum" if len(study.strata) > 1 else ", in the stratum"
    return (
        f"Can the gene expression measured in one sample tell cases ({cases}) from controls "
        f"({controls}){apart}: {strata}?"
    )


def on_whom(content: ReportContent) -> str:
    """Say who was measured, and how many were not."""
    kind = "simulated samples, not people," if content.simulated else "samples"
    parts, people_total, samples_total = [], 0, 0
    cohorts: set[str] = set()
    for stratum in content.strata:
        frame = content.predictions[stratum]
        own = frame[frame["model"] == LANGUAGE_MODEL] if len(frame) else frame
        people_total += len(own[["cohort", "subject"]].drop_duplicates())
        here = set(own["cohort"])
        cohorts |= here
        report = content.reports[stratum]
        samples_total += int(report["n"])
        parts.append(
            f"{label_words(stratum)} {count(report['n'])} samples from "
            f"{plural(len(here), 'cohort')} ({count(report['cases'])} cases, "
            f"{percent(report['prevalence'])})"
        )
    listed_samples = sum(len(sheet) for sheet in content.sheets.values())
    rest = listed_samples - samples_total
    others = (
        f"; {count(rest)} further samples of the same series were not used, for stated reasons"
        if rest > 0
        else ""
    )
    people = "" if content.simulated else f" of {plural(people_total, 'person', 'people')}"
    return (
        f"The numbers rest on {count(samples_total)} {kind}{people} from "
        f"{plural(len(cohorts), 'GEO series', 'GEO series')}: {'; '.join(parts)}{others}."
    )


def how_well(content: ReportContent) -> str:
    """Say how well GeneLLM ranks cases above controls in each stratum."""
    parts = []
    for stratum in content.strata:
        value = content.reports[stratum]["models"].get(LANGUAGE_MODEL, {}).get("auroc")
        if number_of(value) is None:
            parts.append(f"in the {label_words(stratum)} stratum nothing that was measured")
            continue
        parts.append(
            f"in the {label_words(stratum)} stratum in {_of_hundred(value)} of 100 pairs "
            f"(AUROC {_with_interval(value)}{_mark(content, stratum)}) "
            f"{_seen(content.reports[stratum])}"
        )
    return (
        "Shown one case and one control, GeneLLM gives the case the higher score "
        f"{'; '.join(parts)}."
    )


def _mark(content: ReportContent, stratum: str) -> str:
    """Give the mark that this stratum's number may not stand without."""
    mark = marks.short(marks.of_headline(content, stratum))
    return f"; {mark.upper() if marks.LABELS in mark else mark}" if mark else ""


def _of_hundred(value: Any) -> str:
    number = number_of(value) or 0.0
    rounded = round(100 * number)
    return "more than 99" if rounded == 100 and number < 1 else str(rounded)


def _with_interval(value: Any, digits: int = 3) -> str:
    bounds = bounds_of(value)
    if bounds is None:
        return decimal(value, digits)
    low, high = (decimal(bound, digits) for bound in bounds)
    return f"{decimal(value, digits)}, 95 % interval {low} to {high}"


def _seen(report: Mapping[str, Any]) -> str:
    """Say how unseen the samples were, which decides what the number is worth."""
    kind = str(report.get("folds", {}).get("kind", ""))
    if "cohort" in kind:
        return "of a cohort it had never seen"
    return "of people it had never seen, but from the cohort it had learned from"


def compared(content: ReportContent, options: ReportOptions) -> str:
    """Say what the language model adds over simpler ways, or that it adds nothing."""
    parts = [f"{label_words(s)}: {verdict(content, s, options)}" for s in content.strata]
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def verdict(content: ReportContent, stratum: str, options: ReportOptions) -> str:
    """Judge GeneLLM against logistic regression, else the best other model, in one stratum."""
    models = content.reports[stratum]["models"]
    own = models.get(LANGUAGE_MODEL, {}).get("auroc")
    rivals = {
        name: number
        for name, part in models.items()
        if name != LANGUAGE_MODEL and role_of(name) != "control"
        if (number := number_of(part.get("auroc"))) is not None
    }
    if number_of(own) is None or not rivals:
        return "there is nothing to compare with"
    best = max(rivals, key=lambda name: (rivals[name], name))
    rival = LOGISTIC if LOGISTIC in rivals else best
    text = _judge(content, stratum, rival, options)
    if best != rival and rivals[best] > rivals[rival]:
        text += f", and the best of the other methods was {_in_sentence(best)} "
        text += f"({interval(models[best]['auroc'])})"
    return text


def _judge(content: ReportContent, stratum: str, rival: str, options: ReportOptions) -> str:
    models = content.reports[stratum]["models"]
    own, other = models[LANGUAGE_MODEL]["auroc"], models[rival]["auroc"]
    p = paired_tests(content, stratum).get(rival)
    shown = shown_higher(own, other, p, options)
    if p is not None:
        test = f"corrected {_p_words(p)}"
    else:
        mine, theirs = bounds_of(own), bounds_of(other)
        test = "judged by intervals alone" if mine and theirs else "without an interval"
    numbers = f"AUROC {decimal(own)} against {decimal(other)}, {test}"
    name = _in_sentence(rival)
    if shown > 0:
        return f"the language model does better than {name} here ({numbers})"
    if shown < 0:
        return f"the language model does worse than {name} here ({numbers})"
    return f"the language model adds nothing over {name} here ({numbers})"


def shown_higher(own: Any, other: Any, p: float | None, options: ReportOptions) -> int:
    """Say which AUROC these data show to be higher: 1 the first, -1 the second, 0 neither.

    By the corrected P value of a paired test; without one only intervals that do not touch count.
    """
    mine, theirs = bounds_of(own), bounds_of(other)
    if p is not None:
        apart = p < options.significance
    else:
        apart = bool(mine and theirs and (mine[0] > theirs[1] or theirs[0] > mine[1]))
    gap = (number_of(own) or 0.0) - (number_of(other) or 0.0)
    return 0 if not apart or gap == 0 else 1 if gap > 0 else -1


def _in_sentence(model: str) -> str:
    name = model_name(model)
    plain = role_of(model) in ("classical", "single gene")
    if role_of(model) == "single gene":
        return f"the {name[:1].lower()}{name[1:]}"
    return f"{name[:1].lower()}{name[1:]}" if plain else name


def between_strata(content: ReportContent, options: ReportOptions) -> str:
    """Say what differs between the strata, or that nothing can be said."""
    if len(content.strata) < 2:
        only = label_words(content.strata[0]) if content.strata else "no"
        missing = [
            label_words(name) for name in content.study.strata if name not in content.reports
        ]
        why = f" ({listed(missing)} could not; see Samples)" if missing else ""
        return (
            f"Only the {only} stratum could be measured{why}, so this report says nothing about "
            "differences with age."
        )
    comparison = content.age_comparison
    parts = [_difference_words(one) for one in age.differences(comparison)]
    if len(parts) == 1:
        for one, fair in zip(
            age.differences(comparison), age.fair_differences(comparison), strict=False
        ):
            parts.append(
                f"with equally many cases and controls in both it is {_signed(fair.value)}"
                f"{_still(one.value, fair.value)}"
            )
    parts += [_sureness_words(one) for one in age.uncertainty_differences(comparison)]
    parts += [_overlap_words(one, options) for one in age.overlaps(comparison)]
    parts = [part for part in parts if part]
    if not parts:
        return "The strata were measured, but the comparison between them is missing."
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _still(all_samples: Any, equal: Any) -> str:
    """Say whether a difference holds once both strata are of one size."""
    before, after = bounds_of(all_samples), bounds_of(equal)
    if before is None or after is None or before[0] <= 0 <= before[1]:
        return ""
    return (
        ", so size may explain it" if after[0] <= 0 <= after[1] else ", so size is not the reason"
    )


def _p_words(p: float) -> str:
    return f"P {p_value(p)}" if p_value(p).startswith("<") else f"P = {p_value(p)}"


def _signed(value: Any) -> str:
    number = number_of(value) or 0.0
    bounds = bounds_of(value)
    text = f"{'+' if number > 0 else ''}{decimal(number)}"
    if bounds is None:
        return text
    return f"{text}, 95 % interval {decimal(bounds[0])} to {decimal(bounds[1])}"


def _difference_words(difference: age.Difference) -> str:
    first, second = label_words(difference.first), label_words(difference.second)
    bounds = bounds_of(difference.value)
    numbers = f"difference in AUROC, {first} minus {second}, {_signed(difference.value)}"
    if bounds is None:
        return numbers
    if bounds[0] <= 0 <= bounds[1]:
        return f"GeneLLM shows no difference between {first} and {second} ({numbers})"
    better, worse = (first, second) if bounds[0] > 0 else (second, first)
    return (
        f"GeneLLM tells cases apart better in the {better} than in the {worse} stratum ({numbers})"
    )


def _sureness_words(difference: age.Difference) -> str:
    """Say where the scores are less sure, when the interval tells."""
    bounds = bounds_of(difference.value)
    if bounds is None or bounds[0] <= 0 <= bounds[1]:
        return ""
    first, second = label_words(difference.first), label_words(difference.second)
    less, more = (first, second) if bounds[0] > 0 else (second, first)
    return f"its scores are less sure in the {less} than in the {more} stratum"


def _overlap_words(overlap: age.Overlap, options: ReportOptions) -> str:
    first, second = label_words(overlap.first), label_words(overlap.second)
    text = (
        f"{first} and {second} share {count(overlap.shared)} of their top {count(overlap.k)} genes"
    )
    more, fewer = overlap.p_more, overlap.p_fewer
    if overlap.expected is None or more is None or fewer is None:
        return text
    expected = f"{decimal(overlap.expected, 1)} expected by chance"
    if more < options.significance:
        return f"{text}, more than chance gives ({expected}, permutation {_p_words(more)})"
    if fewer < options.significance:
        return f"{text}, fewer than chance gives ({expected}, permutation {_p_words(fewer)})"
    return f"{text}, which chance alone explains ({expected}, permutation {_p_words(more)})"


def genes_shared(content: ReportContent, options: ReportOptions) -> str:
    """Say how many top genes the strata share, beside what chance gives; empty if not compared."""
    said = []
    for overlap in age.overlaps(content.age_comparison):
        text = _overlap_words(overlap, options)
        said.append(f"{text[:1].upper()}{text[1:]}.")
        if overlap.genes:
            said.append(f"Shared: {listed(list(overlap.genes))}.")
        if overlap.same is not None and overlap.shared:
            said.append(f"{count(overlap.same)} of them push the same way in both.")
    return " ".join(said)
