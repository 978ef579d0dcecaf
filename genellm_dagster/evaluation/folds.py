"""Folds that no person crosses, and the proof of it.

A person is a subject of a cohort. Persons of different cohorts are one when the overlap table pairs
any of their samples; subject names alone say nothing across cohorts: "1" and "1" are strangers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from genellm_dagster.errors import EvaluationError
from genellm_dagster.evaluation.options import EvaluationOptions

LEAVE_ONE_COHORT_OUT = "leave_one_cohort_out"
GROUPED_K_FOLD = "grouped_stratified_k_fold"
LEAVE_ONE_STRATUM_OUT = "leave_one_stratum_out"
TRAIN_ON_ONE = "train_on_one"


@dataclass(frozen=True)
class Fold:
    """One split: gsm to learn from, gsm to predict, and gsm dropped as overlapping these."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Folds:
    """The folds of one stratum, or of several that are compared.

    Attributes:
        kind: ``leave_one_cohort_out``, ``grouped_stratified_k_fold``, ``leave_one_stratum_out`` or
            ``train_on_one``, which alone tests a sample more than once, or never.
        folds: The folds, in order.
        groups: The group of each gsm; samples of one group are one person or overlap.
        cases: 1 case, 0 control, of each gsm.
    """

    kind: str
    folds: tuple[Fold, ...]
    groups: dict[str, int] = field(repr=False)
    cases: dict[str, int] = field(repr=False)

    def __iter__(self) -> Iterator[Fold]:
        return iter(self.folds)

    def __len__(self) -> int:
        return len(self.folds)

    def __getitem__(self, position: int) -> Fold:
        return self.folds[position]

    @property
    def names(self) -> list[str]:
        """Names of the folds, in order."""
        return [fold.name for fold in self.folds]

    def summary(self) -> dict[str, object]:
        """What the evaluation report says of the folds."""
        return {"kind": self.kind, "n": len(self.folds), "names": self.names}

    def prove(self) -> None:
        """Prove that no person and no overlap crosses a fold, and that every sample is tested once.

        Folds that train on one part and test on all others test samples as often as there are other
        parts; of them only the first is proven.

        Raises:
            EvaluationError: When the proof fails; nothing may be fitted then.
        """
        tested: set[str] = set()
        everyone = set(self.groups)
        for fold in self.folds:
            train, test, dropped = set(fold.train), set(fold.test), set(fold.dropped)
            sizes = len(fold.train) + len(fold.test) + len(fold.dropped)
            if len(train | test | dropped) != sizes or train | test | dropped != everyone:
                raise EvaluationError(
                    f"Fold {fold.name} does not split the stratum's samples: some are on two sides "
                    "or on none; make the folds again."
                )
            crossing = {self.groups[gsm] for gsm in train} & {self.groups[gsm] for gsm in test}
            if crossing:
                group = min(crossing)
                both = sorted(gsm for gsm in train | test if self.groups[gsm] == group)
                raise EvaluationError(
                    f"Fold {fold.name} lets one person cross it ({', '.join(both[:4])}); make the "
                    "folds again from the current overlap table."
                )
            if tested & test and self.kind != TRAIN_ON_ONE:
                raise EvaluationError(
                    f"Fold {fold.name} tests {min(tested & test)} again; make the folds again."
                )
            tested |= test
            _require_both_classes(fold, self.cases)
        if tested != everyone and self.kind != TRAIN_ON_ONE:
            raise EvaluationError(f"No fold tests {min(everyone - tested)}; make the folds again.")


def make_folds(
    samples: pd.DataFrame, overlap: pd.DataFrame | None, options: EvaluationOptions
) -> Folds:
    """Make the folds of a stratum: leave one cohort out where there are two, else grouped k-fold.

    Training samples that are, or overlap, a person of the test side are dropped from training.

    Args:
        samples: The stratum's samples: gsm, cohort, subject, case.
        overlap: Pairs of overlapping samples (gsm_a, gsm_b, ...), of any cohorts; none means none.
        options: Seed and number of folds.

    Returns:
        Folds that already proved themselves.

    Raises:
        EvaluationError: When a sample stands twice, or a training side would lack a class.
    """
    rows, groups, cases = _prepared(samples, overlap)
    cohorts = sorted(rows["cohort"].astype(str).unique())
    if len(cohorts) >= 2:
        kind = LEAVE_ONE_COHORT_OUT
        members = rows.groupby(rows["cohort"].astype(str))["gsm"].agg(list)
        tests = [(cohort, [str(gsm) for gsm in members[cohort]]) for cohort in cohorts]
    else:
        kind = GROUPED_K_FOLD
        tests = _k_fold_tests(rows, groups, options)
    folds = tuple(_fold(name, test, list(cases), groups) for name, test in tests)
    made = Folds(kind, folds, groups, cases)
    made.prove()
    return made


def leave_one_stratum_out(samples: pd.DataFrame, overlap: pd.DataFrame | None) -> Folds:
    """Make folds that train on all strata but one and test on that one.

    Args:
        samples: The samples of two or more strata: gsm, cohort, subject, case, stratum.
        overlap: As for :func:`make_folds`; training samples that overlap the test side are dropped.

    Returns:
        One fold a stratum, named by it, that already proved themselves.

    Raises:
        EvaluationError: When there is one stratum only, a sample stands twice, or a training side
            would lack a class.
    """
    rows, groups, cases = _prepared(samples, overlap)
    strata = _parts_of(rows["gsm"], rows["stratum"], "stratum")
    folds = tuple(_fold(name, test, list(cases), groups) for name, test in strata.items())
    made = Folds(LEAVE_ONE_STRATUM_OUT, folds, groups, cases)
    made.prove()
    return made


def train_on_one(
    samples: pd.DataFrame, overlap: pd.DataFrame | None, parts: pd.Series, what: str
) -> Folds:
    """Make folds that train on one part of the samples and test on all the others.

    The training side is the whole part, so that one fit serves every other part; samples of other
    parts that are, or overlap, its people are dropped from the test side.

    Args:
        samples: gsm, cohort, subject, case.
        overlap: As for :func:`make_folds`.
        parts: The part of each row of ``samples``: its stratum, or its cohort.
        what: What a part is called, for the sentence of an error.

    Returns:
        One fold a part that holds both classes, named by it, that already proved themselves.

    Raises:
        EvaluationError: When there is one part only, or a sample stands twice.
    """
    rows, groups, cases = _prepared(samples, overlap)
    folds = []
    for name, train in _parts_of(rows["gsm"], parts, what).items():
        if len({cases[gsm] for gsm in train}) < 2:
            continue
        people = {groups[gsm] for gsm in train}
        rest = [gsm for gsm in cases if gsm not in set(train)]
        test = tuple(gsm for gsm in rest if groups[gsm] not in people)
        dropped = tuple(gsm for gsm in rest if groups[gsm] in people)
        folds.append(Fold(name, tuple(train), test, dropped))
    made = Folds(TRAIN_ON_ONE, tuple(folds), groups, cases)
    made.prove()
    return made


def repeated_grouped_folds(
    samples: pd.DataFrame,
    overlap: pd.DataFrame | None,
    options: EvaluationOptions,
    repeats: int,
) -> list[Folds]:
    """Make grouped stratified k-fold several times, each with a seed of its own.

    Args:
        samples: gsm, cohort, subject, case; of one cohort or more.
        overlap: As for :func:`make_folds`.
        options: Seed and number of folds.
        repeats: How often.

    Returns:
        Folds that already proved themselves, one set a repetition.

    Raises:
        EvaluationError: As :func:`make_folds`.
    """
    rows, groups, cases = _prepared(samples, overlap)
    found = []
    for number in range(repeats):
        seeded = options.model_copy(update={"seed": options.seed + number})
        tests = _k_fold_tests(rows, groups, seeded)
        folds = tuple(_fold(name, test, list(cases), groups) for name, test in tests)
        made = Folds(GROUPED_K_FOLD, folds, groups, cases)
        made.prove()
        found.append(made)
    return found


def _prepared(
    samples: pd.DataFrame, overlap: pd.DataFrame | None
) -> tuple[pd.DataFrame, dict[str, int], dict[str, int]]:
    """Samples that can be split, with the group and the class of each gsm."""
    rows = samples.reset_index(drop=True)
    _require_usable(rows)
    cases = dict(zip(rows["gsm"].astype(str), rows["case"].astype(int), strict=True))
    return rows, _groups(rows, overlap), cases


def _parts_of(gsm: pd.Series, parts: pd.Series, what: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, part in zip(gsm.astype(str), parts.astype(str), strict=True):
        found.setdefault(part, []).append(name)
    if len(found) < 2:
        raise EvaluationError(
            f"There is only one {what} ({next(iter(found), 'none')}); two are needed to train on "
            "one and test on another."
        )
    return found


def _fold(name: str, test: list[str], everyone: list[str], groups: dict[str, int]) -> Fold:
    chosen = set(test)
    held_out = {groups[gsm] for gsm in test}
    rest = [gsm for gsm in everyone if gsm not in chosen]
    return Fold(
        name=name,
        train=tuple(gsm for gsm in rest if groups[gsm] not in held_out),
        test=tuple(test),
        dropped=tuple(gsm for gsm in rest if groups[gsm] in held_out),
    )


def _k_fold_tests(
    rows: pd.DataFrame, groups: dict[str, int], options: EvaluationOptions
) -> list[tuple[str, list[str]]]:
    from sklearn.model_selection import StratifiedGroupKFold

    gsm = rows["gsm"].astype(str).to_numpy()
    case = rows["case"].to_numpy(dtype=int)
    group = np.array([groups[name] for name in gsm])
    fewest = min(len(np.unique(group[case == label])) for label in (0, 1))
    if fewest < 2:
        raise EvaluationError(
            f"The only cohort of the stratum, {rows['cohort'].iloc[0]}, has {fewest} person in its "
            "smaller class; at least two are needed to hold one out."
        )
    splitter = StratifiedGroupKFold(
        min(options.k_folds, fewest), shuffle=True, random_state=options.seed
    )
    splits = splitter.split(gsm, case, group)
    width = len(str(splitter.get_n_splits()))
    return [
        (f"fold_{number:0{width}d}", [str(name) for name in gsm[test]])
        for number, (_, test) in enumerate(splits, start=1)
        if len(test)
    ]


def _require_usable(rows: pd.DataFrame) -> None:
    if rows.empty:
        raise EvaluationError("The stratum holds no sample; check its ages and label rules.")
    double = rows.loc[rows["gsm"].duplicated(keep=False)]
    if len(double):
        cohorts = ", ".join(sorted(double.loc[double["gsm"] == double["gsm"].iloc[0], "cohort"]))
        raise EvaluationError(
            f"Sample {double['gsm'].iloc[0]} stands twice in the stratum ({cohorts}); leave one of "
            "these cohorts out of the study."
        )
    if not set(rows["case"].astype(int)) <= {0, 1} or rows["case"].nunique() < 2:
        raise EvaluationError(
            "The stratum does not hold both cases and controls; check its label rules."
        )


def _require_both_classes(fold: Fold, cases: dict[str, int]) -> None:
    number = sum(cases[gsm] for gsm in fold.train)
    if not 0 < number < len(fold.train):
        raise EvaluationError(
            f"Fold {fold.name} leaves {number} cases among {len(fold.train)} training samples "
            f"({len(fold.dropped)} dropped as overlapping); both classes are needed, so add a "
            "cohort or leave this one out."
        )


def _groups(rows: pd.DataFrame, overlap: pd.DataFrame | None) -> dict[str, int]:
    """Connected components of "same person or overlapping", by union-find."""
    gsm = rows["gsm"].astype(str).tolist()
    parent = {name: name for name in gsm}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[tuple[str, str], str] = {}
    for name, cohort, subject in zip(
        gsm, rows["cohort"].astype(str), rows["subject"].astype(str), strict=True
    ):
        known = first.setdefault((cohort, subject), name)
        parent[root(name)] = root(known)
    if overlap is not None:
        for one, other in zip(
            overlap["gsm_a"].astype(str), overlap["gsm_b"].astype(str), strict=True
        ):
            if one in parent and other in parent:
                parent[root(one)] = root(other)
    numbers: dict[str, int] = {}
    return {name: numbers.setdefault(root(name), len(numbers)) for name in gsm}
