"""Small samples tables, studies and description files that the tests of this room share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from genellm_dagster.studies.cohort import Cohort
from genellm_dagster.studies.study import Study


def samples_of(n: int = 4, **characteristics: list[str | None]) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "gsm": [f"GSM{i + 1}" for i in range(n)],
        "title": [f"sample {i + 1}" for i in range(n)],
        "source_name": ["Whole blood"] * n,
        "organism": ["Homo sapiens"] * n,
        "platform": ["GPL570"] * n,
        "description": [None] * n,
    }
    for key, values in characteristics.items():
        name = key if key in columns else f"characteristics: {key.replace('_', ' ')}"
        columns[name] = values
    return pd.DataFrame(columns)


def cohort_of(sample: dict[str, Any] | None = None, **changes: Any) -> Cohort:
    rules = {
        "label": [
            {"field": "characteristics: state", "pattern": "^sepsis$", "value": "sepsis"},
            {"field": "characteristics: state", "pattern": "^healthy$", "value": "healthy"},
        ],
        **(sample or {}),
    }
    content = {
        "accession": "GSE1",
        "platform": "GPL570",
        "default_stratum": "adult",
        "sample": rules,
        **changes,
    }
    return Cohort.model_validate(content)


def study_of(*cohorts: Cohort, **changes: Any) -> Study:
    described = cohorts or (cohort_of(),)
    content = {
        "name": "test",
        "title": "A test",
        "case": ["sepsis"],
        "control": ["healthy"],
        "strata": {"pediatric": {"max_age": 18}, "adult": {"min_age": 18}},
        "cohorts": [cohort.accession for cohort in described],
        "cohort_files": {cohort.accession: cohort for cohort in described},
        **changes,
    }
    return Study.model_validate(content)


STUDY_YAML = """\
name: test
title: A test
case: [sepsis]
control: [healthy]
strata:
  pediatric: {min_age: 0, max_age: 18}
  adult: {min_age: 18}
cohorts: [GSE1, GSE2]
cohort_files:
  GSE1: &panel
    accession: GSE1
    platform: GPL570
    default_stratum: adult
    sample:
      label:
        - {field: "characteristics: state", pattern: "^sepsis$", value: sepsis}
        - {field: "characteristics: state", pattern: "^healthy$", value: healthy}
      age: {field: "characteristics: age", unit: years}
  GSE2: {<<: *panel, accession: GSE2, platform: GPL96}
"""


def written(folder: Path, text: str, name: str = "study.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def cohort_yaml(**changes: Any) -> str:
    content = {
        "accession": "GSE1",
        "platform": "GPL570",
        "sample": {"label": [{"field": "title", "pattern": "sepsis", "value": "sepsis"}]},
        **changes,
    }
    return yaml.safe_dump(content)
