"""How many samples show a difference in AUROC between strata, and whether draws agree.

Writes ``docs/power.md``: ``python benchmarks/measure_power.py docs/power.md``. The sizes come from
formulas (``genellm power`` prints the same), the shares "found" from draws of scores, seeded; about
five minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from genellm_dagster.files import write_text
from genellm_dagster.simulation.power import (
    Plan,
    Sizes,
    needed_table,
    power_of_difference,
    samples_needed,
    smallest_difference,
)
from genellm_dagster.simulation.power_check import find_differences
from genellm_dagster.workflows.power import AUROCS, PREVALENCES

DIFFERENCE = 0.05
# Persons after quality control, cases and controls; `genellm power --study` counts them.
REAL = {
    "sepsis": {
        "pediatric": Sizes(52, 39),
        "adult": Sizes(614, 161),
    },
    "tuberculosis": {
        "pediatric": Sizes(9, 18),
        "adult": Sizes(62, 78),
    },
}
_SPREAD = 1.7  # Of cases over controls, as in the children of the simulated demo (0.41 / 0.24).

HEAD = """# How many samples does a difference between strata take?

The age question asks whether a disease is told as well in children as in adults. Before reading a
small difference, or no difference, it helps to know what the samples at hand could have shown.
This page is written by `python benchmarks/measure_power.py docs/power.md`; `genellm power` prints
the sizes for any other numbers, and `genellm power --study S` says what a study that has been
ingested could show.

**In one sentence:** to see a difference of .05 in AUROC four times out of five takes hundreds of
persons *in each stratum*, more where the classes are unequal, and neither of the two real studies
that this project was measured on would have shown it by the interval that it reports.

## Samples in each stratum

Two strata of different people, equally large, with the same prevalence; two-sided test at the level
.05; power .8. *Cases* and *controls* are persons of one stratum.

- *found* is the share of {draws} pairs of strata, drawn with normal scores, in which the difference
  was found by the test with DeLong's variances: it should be .80.
- *by interval* is the share in which the interval that `age_comparison` gives left out zero. That
  interval is wider on purpose where an AUROC is near 1 and samples are few, so it finds less there.
- *none there* is the share in which that interval left out zero although both strata had the first
  AUROC: it should be at most .05.
- *wide cases* is *found* again with cases that spread {spread} times as widely as controls, as
  where some patients are hardly ill: above .80 the sizes are too large, below it too small.
- The last column is n under Hanley and McNeil's exponential approximation (`--scores exponential`),
  which many calculators use. It is near where the classes are equal, and **promises too much where
  cases are many** and scores are normal, as in hospital series.

| AUROC | the other's | prevalence | cases | controls | n | found | by interval | none there \
| wide cases | n, exponential |
|---|---|---|---|---|---|---|---|---|---|---|
"""
REAL_HEAD = """
## What the real studies could have seen

Sepsis against healthy controls (adults GSE65682, GSE185263, GSE154918, GSE54514; children GSE22098)
and tuberculosis (adults GSE19439, GSE101705, GSE107991; children GSE41055), persons after quality
control as cases + controls. *Power* to see a difference of .05 by the formula, *by interval* from
draws as above, and the smallest difference that the formula sees four times out of five. Power is
asked of AUROC values that somebody supposes: asked of the observed ones it would only repeat their
p value. Where a stratum is small and its AUROC near 1 the formula is far from what the interval
does: its error is then no longer the same on both sides, and the column *by interval* holds.

| study | better stratum | other | AUROC of the better | power | by interval | smallest difference |
|---|---|---|---|---|---|---|
"""
TAIL = """
## What these numbers leave out

- The samples of a stratum come from few series. What differs between series (who was asked, which
  machine) adds to the difference between strata and does not shrink with more samples of the same
  series. The sizes above are therefore the least that is needed.
- Both strata are taken to have a fixed score. A model that is trained in each stratum is worse
  where there are fewer samples to learn from; `age_comparison` therefore also compares at equal
  sizes.
- A person who is measured twice counts once.
- No correlation: the strata are different people. Two models on the *same* people are compared by
  the paired test, which takes far fewer.
- Scores are taken to be normal with equal spread. The columns *wide cases* and *n, exponential*
  show how much hangs on that.

Sources: Bamber, *J. Math. Psychol.* 12 (1975) 387; Hanley and McNeil, *Radiology* 143 (1982) 29;
DeLong, DeLong and Clarke-Pearson, *Biometrics* 44 (1988) 837; Owen, *Ann. Math. Stat.* 27 (1956)
1075.
"""


def sizes_row(row: dict[str, float], draws: int, seed: int) -> str:
    """One line of the first table."""
    sizes = (Sizes(row["cases"], row["controls"]),) * 2
    first, second = row["auroc"], row["other_auroc"]
    found = find_differences(first, second, sizes, draws, seed)
    wide = find_differences(first, second, sizes, draws, seed, spread=_SPREAD)
    equal = find_differences(first, first, sizes, draws, seed)
    published = samples_needed(first, DIFFERENCE, row["prevalence"], Plan(shape="exponential"))
    cells = [
        *(f"{row[name]:g}" for name in ("auroc", "other_auroc", "prevalence")),
        *(f"{row[name]:.0f}" for name in ("cases", "controls", "n")),
        f"{found.by_delong:.2f}", f"{found.by_interval:.2f}", f"{equal.by_interval:.3f}",
        f"{wide.by_delong:.2f}", f"{published.cases + published.controls:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def real_rows(study: str, strata: dict[str, Sizes], draws: int, seed: int) -> list[str]:
    """The lines of one study in the second table."""
    lines = []
    for better, other in (("pediatric", "adult"), ("adult", "pediatric")):
        sizes = (strata[better], strata[other])
        words = [
            f"{name} ({strata[name].cases} + {strata[name].controls})" for name in (better, other)
        ]
        for auroc in (0.8, 0.9, 0.95, 0.98):
            found = find_differences(auroc, auroc - DIFFERENCE, sizes, draws, seed)
            smallest = smallest_difference(auroc, sizes)
            cells = [
                study, *words, f"{auroc:g}",
                f"{power_of_difference(auroc, auroc - DIFFERENCE, sizes):.2f}",
                f"{found.by_interval:.2f}",
                "none down to .5" if smallest is None else f"{smallest:.3f}",
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |\n")
    return lines


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    text = HEAD.format(draws=f"{given.draws:,}", spread=_SPREAD)
    for row in needed_table(AUROCS, PREVALENCES, DIFFERENCE).to_dict("records"):
        text += sizes_row(row, given.draws, given.seed)
    text += REAL_HEAD
    for study, strata in REAL.items():
        text += "".join(real_rows(study, strata, given.draws, given.seed))
    write_text(given.page, text + TAIL)


if __name__ == "__main__":
    main()
