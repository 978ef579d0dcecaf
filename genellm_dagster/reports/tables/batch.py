"""Table of what cohort, platform and label explain of the variance, state by state."""

from __future__ import annotations

from genellm_dagster.expression.batch_view import BatchView
from genellm_dagster.expression.variance import RESIDUAL
from genellm_dagster.reports import marks
from genellm_dagster.reports.batch import share_of, share_words
from genellm_dagster.reports.names import factor_words, state_words, stratum_name
from genellm_dagster.reports.numbers import MISSING, count, listed, number_of, percent, plural
from genellm_dagster.reports.tables.cells import Cell, Column, Table, whole


def explained(stratum: str, view: BatchView) -> Table | None:
    """Lay out each factor's share of each state's variance, alone and beyond the others."""
    if view.reason or view.shares.empty:
        return None
    columns = [Column("Explained by"), Column("Levels", numeric=True)]
    columns += [
        Column(_head(view, state), "Share alone; below it, share beyond the others", numeric=True)
        for state in view.states
    ]
    factors = list(dict.fromkeys(view.shares["factor"]))
    rows = []
    for factor in factors:
        words = factor_words(factor)
        levels = view.shares.loc[view.shares["factor"] == factor, "levels"].iloc[0]
        rows.append(
            [Cell(words[:1].upper() + words[1:]), whole(number_of(levels))]
            + [_cell(view, state, factor) for state in view.states]
        )
    samples = view.points[view.points["state"] == view.states[0]]
    return Table(
        f"batch-{stratum}",
        f"{stratum_name(stratum)}: what explains the variance; n = {count(len(samples))}, "
        f"prevalence {percent((samples['case'] == 1).mean())}, "
        f"{count(view.shares['genes'].iloc[0])} genes",
        columns,
        rows,
        _note(view),
    )


def _head(view: BatchView, state: str) -> str:
    words = state_words(state)
    mark = marks.short(view.marks.get(state, []))
    return f"{words[:1].upper()}{words[1:]}{f' ({mark})' if mark else ''}"


def _cell(view: BatchView, state: str, factor: str) -> Cell:
    alone = share_of(view, state, factor)
    beyond = share_of(view, state, factor, "share_beyond_others")
    if factor == RESIDUAL:
        return Cell(share_words(beyond), beyond)
    small = "" if beyond is None else f"{share_words(beyond)} beyond the others"
    return Cell(share_words(alone), alone, small=small)


def _note(view: BatchView) -> str:
    first = view.shares.drop_duplicates("state").set_index("state")["components"]
    components = listed([str(int(first[state])) for state in view.states])
    said = [
        "Analysis of variance of each principal component, weighted by the variance it holds "
        f"({components} components"
        f"{', in the order of the columns' if len(view.states) > 1 else ''}), adjusted for the "
        "number of levels: about zero, or a little below, is no effect. Shares overlap where "
        "cohorts differ in the share of cases. They describe these samples and estimate nothing "
        "beyond them, hence no interval."
    ]
    if view.genes_left_out:
        said.append(f"{plural(view.genes_left_out, 'gene')} that some cohort lacks left out.")
    if view.same_as_cohort:
        said.append(
            f"{listed([factor_words(f) for f in view.same_as_cohort]).capitalize()} and cohort "
            "are one here and cannot be told apart."
        )
    single = view.shares.loc[view.shares["levels"] == 1, "factor"].unique()
    if len(single):
        said.append(
            f"{MISSING}: all samples have the same {listed([factor_words(f) for f in single])}."
        )
    said += [
        f"{factor_words(factor)[:1].upper()}{factor_words(factor)[1:]} is not recorded of "
        f"{plural(number, 'sample')}, and judged on the others alone."
        for factor, number in view.not_recorded.items()
    ]
    return " ".join(said)
