"""Small studies that need no files."""

from __future__ import annotations

from genellm_dagster.studies.study import Study


def a_study(*cohorts: str, name: str = "small") -> Study:
    """Return a study of these cohorts with two strata."""
    rules = {
        "label": [{"field": "title", "pattern": f"^{w}$", "value": w} for w in ("ill", "well")]
    }
    return Study.model_validate(
        {
            "name": name,
            "title": "Small",
            "search": "small",
            "case": ["ill"],
            "control": ["well"],
            "strata": {"pediatric": {"max_age": 18}, "adult": {"min_age": 18}},
            "cohorts": list(cohorts),
            "cohort_files": {
                cohort: {"accession": cohort, "platform": "GPL1", "sample": rules}
                for cohort in cohorts
            },
        }
    )
