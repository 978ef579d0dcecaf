"""Contents for reports whose every number is MADE UP, for tests of the report alone.

Nothing here was measured: names of cohorts are invented, scores are drawn at random.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from genellm_dagster.expression.batch_view import batch_view
from genellm_dagster.reports.content import ReportContent
from genellm_dagster.studies.study import Study

COHORTS = {
    "GSE900001": ("pediatric", 90, 60),
    "GSE900002": ("pediatric", 74, 50),
    "GSE900003": ("adult", 120, 80),
    "GSE900004": ("adult", 65, 30),
}
# Made up: how far cases and controls lie apart for each model (children, adults).
STRENGTH = {
    "genellm": (2.6, 1.7),
    "logistic_regression": (2.7, 1.8),
    "gradient_boosting": (2.4, 1.5),
    "best_single_gene": (2.3, 1.1),
    "sepsis_metascore": (2.0, 1.2),
    "faim3_plac8": (1.4, 0.9),
    "genellm_random_backbone": (2.5, 1.6),
    "genellm_shuffled_labels": (0.0, 0.0),
}
HOSTILE = '<script>alert(1)</script> & "$x$" <!-- -->'
GENES = ["CD177", "MMP8", "CYSTM1", "PLAC8", "S100A12", "OLFM4", "LCN2", "HP", "BPI", "ARG1"]
GENES += ["FCMR", "HLA-DPB1", "CD3D", "IL7R", "LEF1", "CCR7", "GNLY", "KLRB1", "TGFBI", "MTCH1"]


def made_up_study(*, title: str, simulated: bool) -> Study:
    labels = ("sepsis", "septic_shock", "healthy")
    rules = [{"field": "title", "pattern": label, "value": label} for label in labels]
    return Study.model_validate(
        {
            "name": "made_up",
            "title": title,
            "search": 'sepsis[All Fields] AND "whole blood"[All Fields]',
            "case": ["sepsis", "septic_shock"],
            "control": ["healthy"],
            "strata": {"pediatric": {"max_age": 18}, "adult": {"min_age": 18}},
            "cohorts": [*COHORTS, "GSE900005"],
            "cohort_files": {
                name: {
                    "accession": name,
                    "platform": "GPL570",
                    "title": "Made-up cohort",
                    "sample": {"label": rules},
                    "sources": "made up for a test",
                }
                for name in [*COHORTS, "GSE900005"]
            },
            "simulated": simulated,
        }
    )


def _sheet(cohort: str, stratum: str, n: int, cases: int) -> pd.DataFrame:
    unused = 6
    labels = ["septic_shock" if i % 3 == 0 else "sepsis" for i in range(cases)]
    labels += ["healthy"] * (n - cases) + ["noninfectious_inflammation"] * unused
    case = pd.array([1] * cases + [0] * (n - cases) + [None] * unused, dtype="Int8")
    reason = "label 'noninfectious_inflammation' is neither case nor control of the study"
    return pd.DataFrame(
        {
            "gsm": [f"GSM{cohort[3:]}{i:03d}" for i in range(n + unused)],
            "subject": [f"P{i}" for i in range(n + unused)],
            "age_years": 9.0 if stratum == "pediatric" else 55.0,
            "sex": "female",
            "timepoint": None,
            "label": labels,
            "case": case,
            "stratum": stratum,
            "used": [True] * n + [False] * unused,
            "why_not": [""] * n + [reason] * unused,
        }
    )


def _interval(value: float, width: float) -> dict[str, float]:
    return {"value": value, "low": max(0.0, value - width), "high": min(0.9995, value + width)}


def _measures(case: np.ndarray, score: np.ndarray, width: float) -> dict[str, Any]:
    pairs = score[case == 1][:, None] - score[case == 0][None, :]
    auroc = float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    return {"n": len(case), "cases": int(case.sum()), "auroc": _interval(auroc, width)}


def _stratum(
    stratum: str, place: int, rng: np.random.Generator, cohorts: dict[str, tuple[str, int, int]]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    rows = []
    for cohort, (_, n, cases) in cohorts.items():
        sheet = _sheet(cohort, stratum, n, cases).head(n)
        latent = rng.normal(size=n)
        for model, strength in STRENGTH.items():
            case = sheet["case"].to_numpy(int)
            signal = strength[place] * (case - 0.5) + 0.8 * latent + 0.6 * rng.normal(size=n)
            score = 1 / (1 + np.exp(-1.6 * signal))
            rows.append(
                pd.DataFrame(
                    {
                        "gsm": sheet["gsm"],
                        "cohort": cohort,
                        "stratum": stratum,
                        "subject": sheet["subject"],
                        "case": case,
                        "fold": cohort,
                        "model": model,
                        "score": score,
                        "uncertainty": score * (1 - score),
                    }
                )
            )
    predictions = pd.concat(rows, ignore_index=True)
    models: dict[str, Any] = {}
    for model, part in predictions.groupby("model"):
        case, score = part["case"].to_numpy(int), part["score"].to_numpy(float)
        whole = _measures(case, score, 0.03)
        called = score >= 0.5
        sensitivity = float(called[case == 1].mean())
        specificity = float((~called[case == 0]).mean())
        models[str(model)] = {
            "auroc": whole["auroc"],
            "average_precision": _interval(0.9, 0.04),
            "average_precision_at_half": _interval(0.85, 0.05),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "brier": float(((score - case) ** 2).mean()),
            "ece": 0.062,
            "calibration_slope": 0.88,
            "calibration_intercept": None,
            "cohorts": {
                str(cohort): _measures(
                    rows["case"].to_numpy(int), rows["score"].to_numpy(float), 0.05
                )
                for cohort, rows in part.groupby("cohort")
            },
        }
    n = sum(c[1] for c in cohorts.values())
    cases = sum(c[2] for c in cohorts.values())
    kind = "leave_one_cohort_out" if len(cohorts) > 1 else "grouped_stratified_k_fold"
    return predictions, {
        "study": "made_up",
        "stratum": stratum,
        "n": n,
        "cases": cases,
        "prevalence": cases / n,
        "folds": {"kind": kind, "n": max(2, len(cohorts)), "names": list(cohorts)},
        "models": models,
        "intervals": {
            model: {
                "sensitivity": _interval(part["sensitivity"], 0.05),
                "specificity": _interval(part["specificity"], 0.07),
                "brier": _interval(part["brier"], 0.02),
            }
            for model, part in models.items()
        },
        "within_cohorts": {
            model: {"auroc": part["auroc"], "cohorts": len(cohorts)}
            for model, part in models.items()
        },
        "comparisons": [
            {"reference": "genellm", "model": model, "p": 0.1, "p_holm": 0.4}
            for model in models
            if model != "genellm"
        ],
        "notes": ["faim3_plac8 was developed on GSE900003: flattered there."],
    }


def _pair(value: float, low: float, high: float) -> list[dict[str, Any]]:
    return [{"first": "pediatric", "second": "adult", "value": value, "low": low, "high": high}]


def _age() -> dict[str, Any]:
    entropy = {"pediatric": _interval(0.31, 0.03), "adult": _interval(0.45, 0.03)}
    auroc = {"pediatric": _interval(0.97, 0.02), "adult": _interval(0.91, 0.04)}
    silhouette = {"pediatric": _interval(0.21, 0.03), "adult": _interval(0.10, 0.03)}
    return {
        "study": "made_up",
        "strata": ["pediatric", "adult"],
        "compared": ["pediatric", "adult"],
        "reference_model": "genellm",
        "note": "",
        "discrimination": {
            "genellm": {
                "strata": {name: {"auroc": value} for name, value in auroc.items()},
                "differences": _pair(0.062, 0.011, 0.109),
                "equal_size": {
                    "cases": 110,
                    "controls": 54,
                    "prevalence": 110 / 164,
                    "resamples": 1000,
                    "strata": {name: {"auroc": value} for name, value in auroc.items()},
                    "differences": {"auroc": _pair(0.058, -0.004, 0.121)},
                },
            }
        },
        "uncertainty": {
            "genellm": {
                "strata": {name: {"entropy": value} for name, value in entropy.items()},
                "differences": {"entropy": _pair(-0.14, -0.18, -0.10)},
            }
        },
        "separability": {
            "strata": {
                name: {"n": 164, "silhouette_label": value} for name, value in silhouette.items()
            },
            "differences": {"silhouette_label": _pair(0.11, 0.07, 0.15)},
        },
        "signatures": {
            "k": 15,
            "pairs": [
                {
                    "first": "pediatric",
                    "second": "adult",
                    "k": 15,
                    "genes": 2000,
                    "overlap": 10,
                    "shared": GENES[5:15],
                    "expected": 0.1125,
                    "null_low": 0,
                    "null_high": 1,
                    "p_at_least": 1e-9,
                    "p_at_most": 1.0,
                    "rank_correlation": -0.4,
                    "direction_agreement": {"same": 7, "of": 10},
                    "rank_biased_overlap": {
                        "value": 0.4,
                        "low": 0.3,
                        "high": 0.5,
                        "expected": 0.1,
                        "p_at_least": 0.001,
                    },
                }
            ],
            "enrichment": {
                "btm": {
                    "adult": {
                        "background": 120,
                        "top": 15,
                        "sets": [
                            {
                                "set": "enriched in <neutrophils> (M37.1)",
                                "in_background": 8,
                                "in_top": 5,
                                "genes": GENES[:5],
                                "odds_ratio": {
                                    "value": None,
                                    "low": 3.2,
                                    "high": None,
                                    "reason": "infinite",
                                },
                                "p": 0.0004,
                                "q": 0.02,
                            }
                        ],
                    }
                }
            },
        },
        "transfer": [
            {
                "trained_on": "pediatric",
                "tested_on": "adult",
                "model": "logistic_regression",
                "n": 185,
                "cases": 110,
                "prevalence": 110 / 185,
                "auroc": _interval(0.82, 0.05),
                "at_home_minus_transferred": {"value": 0.09, "low": 0.03, "high": 0.15, "p": 0.004},
            },
            {
                "trained_on": "adult",
                "tested_on": "pediatric",
                "model": "genellm",
                "n": 0,
                "cases": 0,
                "prevalence": None,
                "auroc": {"value": None, "low": None, "high": None, "reason": "<b>no genes</b>"},
            },
        ],
        "transfer_between_cohorts": [
            {
                "trained_on": f"pediatric/{one}",
                "tested_on": f"pediatric/{other}",
                "model": "logistic_regression",
                "n": 90,
                "cases": 60,
                "prevalence": 60 / 90,
                "auroc": _interval(0.9 if one == other else 0.8, 0.05),
            }
            for one in ("GSE900001", "GSE900002")
            for other in ("GSE900001", "GSE900002")
        ],
        "along_age": {
            "genellm": {
                "pediatric": {
                    "n": 0,
                    "reason": "no sample has a recorded age",
                    "windows": [],
                    "interaction": {"value": None, "reason": "no sample has a recorded age"},
                },
                "adult": {
                    "n": 180,
                    "windows": [
                        {
                            "from": 18.0,
                            "to": 50.0,
                            "median": 40.0,
                            "n": 90,
                            "cases": 50,
                            "auroc": _interval(0.93, 0.03),
                        },
                        {
                            "from": 40.0,
                            "to": 80.0,
                            "median": 62.0,
                            "n": 90,
                            "cases": 82,
                            "auroc": {"value": None, "reason": "82 cases and 8 controls"},
                        },
                    ],
                    "interaction": {"value": -0.4, "low": -0.7, "high": -0.1, "p": 0.01},
                    "placement_per_decade": {"value": -0.02, "low": -0.03, "high": -0.01},
                },
            }
        },
        "composition": {
            "strata": {
                "pediatric": {"n": 0, "reason": "no blood composition was computed"},
                "adult": {
                    "n": 180,
                    "cases": 110,
                    "genes": 120,
                    "unadjusted": {"associated": 80},
                    "adjusted": {"associated": 30},
                    "kept": {"value": 0.35, "low": 0.25, "high": 0.46},
                    "effect_correlation": _interval(0.8, 0.1),
                },
            },
            "pairs": [],
        },
    }


def _signature(place: int, rng: np.random.Generator) -> pd.DataFrame:
    names = GENES if place == 0 else GENES[::-1]
    size = np.sort(rng.exponential(0.1, len(names)))[::-1]
    return pd.DataFrame(
        {
            "gene": names,
            "mean_abs": size,
            "mean_signed": size * rng.choice([-1, 1], len(names)) * 0.8,
            "stability": np.linspace(1, 0.2, len(names)),
            "rank": range(1, len(names) + 1),
        }
    )


def _batch(sheets: dict[str, pd.DataFrame], rng: np.random.Generator) -> dict[str, Any]:
    """Made-up values of genes that the first cohort has higher, until ranks take most of it out."""
    rows = pd.concat([s[s["used"]].assign(cohort=name) for name, s in sheets.items()])
    rows = rows.set_index("gsm")
    genes = rng.normal(size=(len(rows), len(GENES))) + 0.8 * rows["case"].to_numpy(float)[:, None]
    first = (rows["cohort"] == next(iter(sheets))).to_numpy(float)[:, None]
    states = {
        "log2": pd.DataFrame(genes + 3 * first, rows.index, GENES),
        "rank_normal": pd.DataFrame(genes + 0.5 * first, rows.index, GENES),
    }
    factors = rows[["cohort", "case", "sex"]].assign(platform="GPL570")
    return batch_view(states, factors).as_json()


def made_up_content(
    *,
    strata: tuple[str, ...] = ("pediatric", "adult"),
    simulated: bool = False,
    title: str = "Sepsis against healthy controls in whole blood (made-up numbers)",
    seed: int = 7,
) -> ReportContent:
    """Make a whole content whose every number is made up.

    Args:
        strata: Which strata were measured.
        simulated: Whether the study says it is simulated.
        title: The study's title.
        seed: Of the made-up scores.
    """
    rng = np.random.default_rng(seed)
    predictions, reports, embeddings, signatures = {}, {}, {}, {}
    for place, stratum in enumerate(strata):
        cohorts = {name: cell for name, cell in COHORTS.items() if cell[0] == stratum}
        predictions[stratum], reports[stratum] = _stratum(stratum, place, rng, cohorts)
        own = predictions[stratum].query("model == 'genellm'")
        shift = {name: i * 1.5 for i, name in enumerate(cohorts)}
        embeddings[stratum] = pd.DataFrame(
            {
                "gsm": own["gsm"],
                "x": rng.normal(size=len(own)) + 3 * own["case"],
                "y": rng.normal(size=len(own)) + own["cohort"].map(shift),
                "cohort": own["cohort"],
                "case": own["case"].astype("Int8"),
                "label": np.where(own["case"] == 1, "septic_shock", "healthy"),
            }
        )
        signatures[stratum] = _signature(place, rng)
    both = len(strata) > 1
    left = [("GSE900005", "adult", 31, 0, "no case in this stratum: label and batch are one")]
    comparison = pd.DataFrame(
        [{"study": "made_up", "stratum": s, "model": m} for s in strata for m in STRENGTH]
    )
    one = {"study": "made_up", "note": "Only one stratum can be judged (adult)."}
    return ReportContent(
        study=made_up_study(title=title, simulated=simulated),
        generated_at="2024-01-01",
        software={"genellm-dagster": "0.1.0", "torch": "2.13.0", "seed": 7},
        sheets={
            **{name: _sheet(name, *cell) for name, cell in COHORTS.items()},
            "GSE900005": _sheet("GSE900005", "adult", 31, 0),
        },
        left_out=[
            dict(zip(("cohort", "stratum", "n", "cases", "reason"), row, strict=True))
            for row in left
        ],
        qc={
            (stratum, name): {
                "samples": n,
                "samples_kept": n,
                "genes": 2000,
                "genes_kept": 1990,
                "samples_left_out": [{"gsm": "GSM1", "reasons": "array failed"}],
                "outliers": {"pca": 2},
            }
            for name, (stratum, n, _) in COHORTS.items()
            if stratum in strata
        },
        reports=reports,
        predictions=predictions,
        embeddings=embeddings,
        signatures=signatures,
        age_comparison=_age() if both else one,
        comparison=comparison,
        model={
            "backbone": "smollm2 (SmolLM2-135M)",
            "hash": "ab" * 32,
            "licence": "Apache-2.0",
            "trainable": 30_722,
            "total": 134_545_730,
            "share": 30_722 / 134_545_730,
            "tokenizer": "value: a position a gene, embedding of its symbol plus z x direction",
            "normalisation": "ranks within a sample, as normal scores",
            "transductive": ["UMAP of all samples of a stratum (picture only)"],
            "head_layers": 4,
        },
        refusals={
            stratum: {"snip": "IDNK is missing in GSE900001 and GSE900003"} for stratum in strata
        },
        simulated=simulated,
        batch={
            stratum: _batch(
                {name: _sheet(name, *cell) for name, cell in COHORTS.items() if cell[0] == stratum},
                rng,
            )
            for stratum in strata
        },
    )


def hostile_content(text: str = HOSTILE) -> ReportContent:
    """Make a content in which every text that comes from a file is hostile."""
    content = made_up_content(title=text, strata=("adult",))
    embedding = {name: frame.copy() for name, frame in content.embeddings.items()}
    signature = {name: frame.copy() for name, frame in content.signatures.items()}
    predictions = {name: frame.copy() for name, frame in content.predictions.items()}
    sheets = {name: frame.copy() for name, frame in content.sheets.items()}
    for name in embedding:
        embedding[name]["label"] = text
        embedding[name]["gsm"] = text
        signature[name].loc[0, "gene"] = text
        predictions[name]["cohort"] = text
    for frame in sheets.values():
        frame.loc[~frame["used"], "why_not"] = text
    return replace(
        content,
        embeddings=embedding,
        signatures=signature,
        predictions=predictions,
        sheets=sheets,
        software={text: text},
        model={"backbone": text, "transductive": [text]},
        refusals={"adult": {text: text}},
        left_out=[{"cohort": text, "stratum": "adult", "n": 1, "cases": 1, "reason": text}],
        qc={("adult", text): {text: text}},
        age_comparison={"note": text, text: text},
        generated_at=text,
    )
