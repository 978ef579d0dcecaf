"""What this run says to each point of TRIPOD+AI, or that it says nothing.

The points are those of Collins et al., "TRIPOD+AI statement: updated guidance for reporting
clinical prediction models that use regression or machine learning methods", BMJ 2024;385:e078378
(27 items, 52 with their parts). Their topics, in this project's own short words, lie in
``tripod.json``. Every answer is drawn from the content of the report by a rule written here; where
the content holds nothing for a point, it is "not reported".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any

import pandas as pd

from genellm_dagster.expression.batch_view import BatchView
from genellm_dagster.reports import batch, cautions, marks, wording
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.reports.names import (
    LANGUAGE_MODEL,
    age_words,
    label_words,
    model_name,
    stratum_name,
)
from genellm_dagster.reports.numbers import (
    count,
    decimal,
    interval,
    listed,
    number_of,
    percent,
    plural,
    small_percent,
)
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.reports.tables.cells import Cell, Column, Table, words
from genellm_dagster.reports.tables.results import MEASURES
from genellm_dagster.reports.tables.samples import why_not

NOT_REPORTED = "not reported"
_SOURCE = "TRIPOD+AI: Collins et al., BMJ 2024;385:e078378; topics in our own words."

Answer = Callable[[ReportContent, ReportOptions], str]


def points() -> list[dict[str, str]]:
    """Give every point: ``item`` (its number), ``section`` and ``topic``, in order."""
    place = files("genellm_dagster.reports") / "tripod.json"
    found: list[dict[str, str]] = json.loads(place.read_text(encoding="utf-8"))
    return found


def tripod(content: ReportContent, options: ReportOptions) -> Table:
    """Lay out every point with what this run says to it.

    Args:
        content: What the report shows.
        options: How much of it is judged by its words.
    """
    asked = points()
    rows, answered = [], 0
    for place, point in enumerate(asked):
        answer = _ANSWERS.get(point["item"])
        said = answer(content, options) if answer else ""
        answered += bool(said)
        rows.append(
            [
                Cell(point["item"], float(place)),
                words(point["section"]),
                words(point["topic"]),
                words(said or NOT_REPORTED),
            ]
        )
    simulated = "SIMULATED data. " if content.simulated else ""
    return Table(
        "tripod",
        f"{simulated}TRIPOD+AI: what this run says to {answered} of {len(asked)} points; to the "
        "others it says nothing, and they are not reported",
        [Column("Item"), Column("Section"), Column("Topic"), Column("This run")],
        rows,
        _SOURCE,
    )


def _by_stratum(content: ReportContent, say: Callable[[str], str]) -> str:
    """Say something of each stratum that there is something to say of."""
    said = [(stratum, say(stratum)) for stratum in content.strata]
    return " ".join(f"{stratum_name(stratum)}: {_ended(text)}" for stratum, text in said if text)


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _some(parts: Iterable[str], sep: str = "; ") -> str:
    return sep.join(dict.fromkeys(part for part in parts if part))


def _own(content: ReportContent, stratum: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = content.reports[stratum]["models"].get(LANGUAGE_MODEL, {})
    return found


def _scored(content: ReportContent, stratum: str) -> pd.DataFrame:
    """One row a measured sample: the language model's, else any one model's."""
    frame = content.predictions[stratum]
    own = frame[frame["model"] == LANGUAGE_MODEL]
    return own if len(own) else frame.drop_duplicates("gsm")


def _sheet_rows(content: ReportContent, stratum: str) -> pd.DataFrame:
    """The sample sheets' rows of the samples that were measured."""
    own = set(_scored(content, stratum)["gsm"])
    found = [sheet[sheet["gsm"].isin(own)] for sheet in content.sheets.values()]
    found = [sheet for sheet in found if len(sheet)]
    return pd.concat(found).drop_duplicates("gsm") if found else pd.DataFrame()


def _facts(content: ReportContent, **heads: str) -> str:
    """Say facts on the model, those of them that are known, each under its head."""
    values = {key: content.model.get(key) for key in heads}
    return _some([f"{heads[key]}: {value}" for key, value in values.items() if value])


def _title(content: ReportContent, _: ReportOptions) -> str:
    return content.study.title


def _summary(content: ReportContent, options: ReportOptions) -> str:
    heads = [sentence.question for sentence in wording.summary(content, options)]
    return f"This report begins with {plural(len(heads), 'sentence')}: {'; '.join(heads)}."


def _question(content: ReportContent, _: ReportOptions) -> str:
    folds = {str(content.reports[s].get("folds", {}).get("kind", "")) for s in content.strata}
    kinds = listed(sorted(label_words(kind) for kind in folds if kind))
    how = f" Developed, and evaluated by {kinds}." if kinds else ""
    return f"{wording.asked(content)}{how}"


def _sources(content: ReportContent, _: ReportOptions) -> str:
    known = content.study.cohort_files
    parts = [
        f"{name} ({known[name].platform})" if name in known else name
        for name in content.study.cohorts
    ]
    kind = "simulated cohorts" if content.simulated else "series of NCBI GEO"
    found = f"; search for series: {content.study.search}" if content.study.search else ""
    return f"{len(parts)} {kind}: {', '.join(parts)}{found}."


def _places(content: ReportContent, _: ReportOptions) -> str:
    known = content.study.cohort_files
    return _some([f"{n}: {known[n].title}" for n in content.study.cohorts if _has_title(known, n)])


def _has_title(known: Mapping[str, Any], name: str) -> bool:
    return name in known and bool(known[name].title)


def _eligible(content: ReportContent, _: ReportOptions) -> str:
    study = content.study
    strata = [f"{label_words(name)}, {age_words(one)}" for name, one in study.strata.items()]
    left = f"; {plural(len(study.rejected), 'series', 'series')} left out" if study.rejected else ""
    cells = (
        f"; {plural(len(content.left_out), 'cell')} of cohort and stratum left out"
        if content.left_out
        else ""
    )
    labels = listed([label_words(label) for label in [*study.case, *study.control]])
    return f"Samples labelled {labels}, aged as the strata say ({'; '.join(strata)}){left}{cells}."


def _quality(content: ReportContent, _: ReportOptions) -> str:
    def say(stratum: str) -> str:
        cells = [qc for (name, _), qc in content.qc.items() if name == stratum]
        samples = sum(number_of(qc.get("samples")) or 0 for qc in cells)
        kept = sum(number_of(qc.get("samples_kept")) or 0 for qc in cells)
        doubts = sum(len(qc.get("warnings") or ()) for qc in cells)
        return (
            f"{count(kept)} of {count(samples)} samples passed quality control, with "
            f"{plural(doubts, 'doubt')}"
            if samples
            else ""
        )

    return _by_stratum(content, say)


def _outcome(content: ReportContent, _: ReportOptions) -> str:
    study = content.study
    fields = sorted(
        {
            rule.field
            for name in study.cohorts
            if name in study.cohort_files
            for rule in study.cohort_files[name].sample.label
        }
    )
    cases = listed([label_words(label) for label in study.case])
    controls = listed([label_words(label) for label in study.control])
    read = (
        f", read from {listed([f'“{name}”' for name in fields])} of each record" if fields else ""
    )
    return f"Case: {cases}; control: {controls}{read}."


def _preselected(content: ReportContent, _: ReportOptions) -> str:
    sizes = _by_stratum(
        content,
        lambda stratum: (
            f"{count(len(content.signatures[stratum]))} genes"
            if len(content.signatures.get(stratum, ()))
            else ""
        ),
    )
    return _some([sizes, *map(str, content.model.get("transductive") or ())], " ")


def _measured(content: ReportContent, _: ReportOptions) -> str:
    known = content.study.cohort_files
    platforms = sorted({known[name].platform for name in content.study.cohorts if name in known})
    return f"Gene expression, measured on {listed(platforms)}." if platforms else ""


def _size(content: ReportContent, _: ReportOptions) -> str:
    def say(stratum: str) -> str:
        report = content.reports[stratum]
        listed_samples = sum(
            int((sheet["stratum"] == stratum).sum()) for sheet in content.sheets.values()
        )
        if not listed_samples:
            return ""
        return (
            f"{count(report['n'])} of the {count(listed_samples)} samples that the series list "
            f"({count(report['cases'])} cases)"
        )

    return _by_stratum(content, say)


def _missing(content: ReportContent, _: ReportOptions) -> str:
    def say(stratum: str) -> str:
        shares = [
            share
            for (name, _), qc in content.qc.items()
            if name == stratum and (share := number_of(qc.get("missing_share"))) is not None
        ]
        ages = _sheet_rows(content, stratum)
        unknown = int(ages["age_years"].isna().sum()) if len(ages) else 0
        age = f"age not recorded in {plural(unknown, 'sample')}" if unknown else ""
        gone = f"up to {small_percent(max(shares))} of a cohort's values missing" if shares else ""
        refused = [model_name(name) for name in content.refusals.get(stratum, {})]
        without = f"no score of {listed(refused)}, for reasons stated" if refused else ""
        return _some([gone, age, without])

    return _by_stratum(content, say)


def _folds(content: ReportContent, _: ReportOptions) -> str:
    return _by_stratum(
        content,
        lambda stratum: (
            cautions.folds(content.reports[stratum])
            if content.reports[stratum].get("folds")
            else ""
        ),
    )


def _inputs(content: ReportContent, _: ReportOptions) -> str:
    return _facts(
        content,
        normalisation="Normalisation",
        harmonisation="harmonisation",
        tokenizer="tokenizer",
    )


def _model(content: ReportContent, _: ReportOptions) -> str:
    facts = _facts(content, backbone="Backbone", adapter="adapter", ensemble="members")
    trained = number_of(content.model.get("share"))
    share = f"{small_percent(trained)} of the parameters trained" if trained is not None else ""
    others = {
        model_name(name): None
        for stratum in content.strata
        for name in content.reports[stratum]["models"]
        if name != LANGUAGE_MODEL
    }
    return _some([facts, share, f"held against {listed(list(others))}" if others else ""])


def _clusters(content: ReportContent, _: ReportOptions) -> str:
    methods = {
        str((content.reports[stratum].get("methods") or {}).get("pooled_auroc", ""))
        for stratum in content.strata
        if number_of(_own(content, stratum).get("pooled_auroc")) is not None
    }
    inside = any(content.reports[s].get("within_cohorts") for s in content.strata)
    return _some(
        [
            "AUROC inside each cohort and their mean" if inside else "",
            *(f"AUROC pooled over cohorts by {method}" for method in sorted(methods) if method),
        ]
    )


def _measures(content: ReportContent, _: ReportOptions) -> str:
    found = [
        head
        for key, head, *_rest in MEASURES
        if any(number_of(_own(content, s).get(key)) is not None for s in content.strata)
    ]
    return listed(found)


def _updated(content: ReportContent, _: ReportOptions) -> str:
    found = content.model.get("temperature")
    if not isinstance(found, Mapping):
        return ""
    return _by_stratum(
        content,
        lambda stratum: (
            f"logits divided by a temperature of {decimal(found[stratum])}"
            if number_of(found.get(stratum)) is not None
            else ""
        ),
    )


def _predicted(content: ReportContent, _: ReportOptions) -> str:
    return _by_stratum(
        content,
        lambda stratum: (
            f"{count(_scored(content, stratum)['gsm'].nunique())} samples scored out of fold, in "
            f"{plural(int(_scored(content, stratum)['fold'].nunique()), 'fold')}"
            if len(content.predictions[stratum])
            else ""
        ),
    )


def _imbalance(content: ReportContent, _: ReportOptions) -> str:
    def say(stratum: str) -> str:
        half = _own(content, stratum).get("average_precision_at_half")
        if number_of(half) is None:
            return ""
        return (
            f"{percent(content.reports[stratum]['prevalence'])} are cases; average precision at "
            f"one half {interval(half)}"
        )

    return _by_stratum(content, say)


def _fairness(content: ReportContent, _: ReportOptions) -> str:
    compared = [str(name) for name in content.age_comparison.get("compared") or ()]
    if len(compared) < 2:
        return ""
    names = listed([label_words(name) for name in compared])
    return (
        f"By age: a model of its own for each of the strata {names}, measured apart and compared. "
        f"By sex, ethnicity or means: {NOT_REPORTED}."
    )


def _output(content: ReportContent, _: ReportOptions) -> str:
    def say(stratum: str) -> str:
        report = content.reports[stratum]
        if report.get("threshold_rule") == "training_folds":
            return "a score from 0 to 1; called a case above a threshold chosen on training folds"
        if number_of(report.get("threshold")) is None:
            return ""
        return (
            "a score from 0 to 1; called a case from "
            f"{decimal(report['threshold'], 2)} on, fixed in advance"
        )

    return _by_stratum(content, say)


def _cohort_cells(content: ReportContent, stratum: str) -> str:
    frame = _scored(content, stratum)
    parts = [
        f"{cohort} {count(len(part))} ({percent(part['case'].mean())} cases)"
        for cohort, part in frame.groupby("cohort", sort=False)
    ]
    return f"samples by cohort: {', '.join(parts)}" if parts else ""


def _apart(content: ReportContent, _: ReportOptions) -> str:
    return _by_stratum(content, lambda stratum: _cohort_cells(content, stratum))


def _data(content: ReportContent, _: ReportOptions) -> str:
    if content.simulated:
        return "Simulated: made by a program, no data of any person."
    return f"NCBI GEO, under {listed(list(content.study.cohorts))}."


def _code(content: ReportContent, _: ReportOptions) -> str:
    return _some([f"{name} {value}" for name, value in content.software.items()], ", ")


def _flow(content: ReportContent, _: ReportOptions) -> str:
    def say(stratum: str) -> str:
        parts = [sheet[sheet["stratum"] == stratum] for sheet in content.sheets.values()]
        total = sum(len(part) for part in parts)
        if not total:
            return ""
        usable = sum(int(part["used"].astype(bool).sum()) for part in parts)
        lost = [
            row
            for (name, _), qc in content.qc.items()
            if name == stratum
            for row in qc.get("samples_left_out") or ()
        ]
        reasons = why_not(pd.concat(parts), {"samples_left_out": lost})
        why = f" (not used: {reasons})" if reasons else ""
        return (
            f"{count(total)} listed, {count(usable)} usable, "
            f"{count(content.reports[stratum]['n'])} measured{why}"
        )

    return _by_stratum(content, say)


def _people(content: ReportContent, _: ReportOptions) -> str:
    def say(stratum: str) -> str:
        rows = _sheet_rows(content, stratum)
        if rows.empty:
            return ""
        report = content.reports[stratum]
        ages = pd.to_numeric(rows["age_years"], errors="coerce").dropna()
        age = (
            f"median age {decimal(ages.median(), 1)} years ({decimal(ages.min(), 1)} to "
            f"{decimal(ages.max(), 1)}; {count(len(ages))} known)"
            if len(ages)
            else ""
        )
        sexes = rows["sex"].dropna().astype(str).value_counts()
        sex = ", ".join(f"{count(n)} {name}" for name, n in sexes.items())
        return _some([f"{count(report['n'])} samples, {count(report['cases'])} cases", age, sex])

    return _by_stratum(content, say)


def _shifts(content: ReportContent, _: ReportOptions) -> str:
    return _by_stratum(
        content,
        lambda stratum: (
            " ".join(batch.said(BatchView.from_json(content.batch[stratum])))
            if content.batch.get(stratum)
            else ""
        ),
    )


def _analyses(content: ReportContent, _: ReportOptions) -> str:
    def say(stratum: str) -> str:
        frame = _scored(content, stratum)
        n, cases = len(frame), int(frame["case"].sum())
        return ", ".join(
            f"fold {fold}: {count(n - len(part))} in training "
            f"({count(cases - part['case'].sum())} cases), {count(len(part))} in test "
            f"({count(part['case'].sum())} cases)"
            for fold, part in frame.groupby("fold", sort=False)
        )

    return _by_stratum(content, say)


def _specified(content: ReportContent, _: ReportOptions) -> str:
    registered = content.model.get("registered")
    named = (
        _some([f"{stratum_name(s)}: {_ended(str(said))}" for s, said in registered.items()], " ")
        if isinstance(registered, Mapping)
        else ""
    )
    weights = _facts(
        content, hash="SHA-256 of the backbone's weights", licence="licence of the backbone"
    )
    return _some([named, weights], " ")


def _performance(content: ReportContent, options: ReportOptions) -> str:
    def say(stratum: str) -> str:
        own, report = _own(content, stratum), content.reports[stratum]
        if number_of(own.get("auroc")) is None:
            return ""
        mark = marks.sentence(marks.of_headline(content, stratum))
        return _some(
            [
                f"AUROC {interval(own['auroc'])}, n = {count(report['n'])}, prevalence "
                f"{percent(report['prevalence'])}. "
                f"{cautions.calibration(content, stratum, options)}",
                mark,
            ],
            " ",
        )

    return _by_stratum(content, say)


def _heterogeneity(content: ReportContent, _: ReportOptions) -> str:
    def say(stratum: str) -> str:
        own = _own(content, stratum)
        cohorts = ", ".join(
            f"{name} {interval(part['auroc'])}, n = {count(part['n'])}"
            for name, part in (own.get("cohorts") or {}).items()
            if number_of(part.get("auroc")) is not None
        )
        pooled = own.get("pooled_auroc") or {}
        over = (
            f"pooled {interval(pooled)}, I² {interval(pooled.get('i2'), 2)}"
            if number_of(pooled) is not None
            else ""
        )
        return _some([f"AUROC in {cohorts}" if cohorts else "", over])

    return _by_stratum(content, say)


def _meaning(content: ReportContent, options: ReportOptions) -> str:
    return f"{wording.compared(content, options)} {wording.between_strata(content, options)}"


def _limits(content: ReportContent, _: ReportOptions) -> str:
    return " ".join(cautions.limits(content))


def _refused(content: ReportContent, _: ReportOptions) -> str:
    return _by_stratum(
        content,
        lambda stratum: _some(
            [
                f"{model_name(name)} gave no score: {why}"
                for name, why in content.refusals.get(stratum, {}).items()
            ]
        ),
    )


_ANSWERS: Mapping[str, Answer] = {
    "1": _title,
    "2": _summary,
    "4": _question,
    "5a": _sources,
    "6a": _places,
    "6b": _eligible,
    "7": _quality,
    "8a": _outcome,
    "9a": _preselected,
    "9b": _measured,
    "10": _size,
    "11": _missing,
    "12a": _folds,
    "12b": _inputs,
    "12c": _model,
    "12d": _clusters,
    "12e": _measures,
    "12f": _updated,
    "12g": _predicted,
    "13": _imbalance,
    "14": _fairness,
    "15": _output,
    "16": _apart,
    "18e": _data,
    "18f": _code,
    "20a": _flow,
    "20b": _people,
    "20c": _shifts,
    "21": _analyses,
    "22": _specified,
    "23a": _performance,
    "23b": _heterogeneity,
    "25": _meaning,
    "26": _limits,
    "27a": _refused,
}
"""What is said to a point; a point without a rule here is one that no run knows anything of."""
