"""Samples of series in the words that their submitters use, as remembered: a few of each group.

Written before the proposer was tried on them, and by another hand than its other fixtures. A truth
of several labels accepts any of them; None accepts a sample left open.
"""

# ruff: noqa: E501
from __future__ import annotations

from typing import Any

import pandas as pd

H, S, SS, INF, NI, U = (
    "healthy",
    "sepsis",
    "septic_shock",
    "infection_non_sepsis",
    "noninfectious_inflammation",
    "unassigned",
)
SERIES: dict[str, dict[str, Any]] = {}


def add(
    acc: str,
    title: str,
    summary: str,
    groups: list[Any],
    study: str = "sepsis",
    ages: str = "years",
    platform: str = "GPL570",
) -> None:
    """Note a series; groups are (samples, truth, fields as value, list or function of the position)."""
    rows, truth, number = [], {}, 0
    for size, label, fields in groups:
        for i in range(size):
            number += 1
            gsm = f"GSM{int(acc[3:]) * 1000 + number}"
            row = {
                "gsm": gsm,
                "title": f"Sample {number}",
                "source_name": "Whole blood",
                "organism": "Homo sapiens",
                "platform": platform,
                "description": None,
            }
            for field, said in fields.items():
                value = (
                    said(i)
                    if callable(said)
                    else said[i % len(said)]
                    if isinstance(said, list)
                    else said
                )
                if field in row:
                    row[field] = value
                elif value is not None:
                    row[f"characteristics: {field}"] = value
            rows.append(row)
            truth[gsm] = label if isinstance(label, set) else {label}
    frame = pd.DataFrame(rows, dtype=object)
    SERIES[acc] = {
        "title": title,
        "summary": summary,
        "samples": frame.where(frame.notna(), None),
        "truth": truth,
        "study": study,
        "ages": ages,
        "platform": platform,
    }


def A(first: int, step: int = 3) -> Any:
    return lambda i: str(first + (i * step) % 50)


sex = ["M", "F", "F", "M", "M"]

add(
    "GSE26440",
    "Expression data for derivation of septic shock subgroups",
    "Whole blood of children with septic shock within 24 hours of admission to the PICU; normal pediatric controls.",
    [
        (
            20,
            SS,
            {
                "title": lambda i: f"Septic shock patient {i + 1}",
                "source_name": "whole blood",
                "disease state": "septic shock patient",
                "age (years)": lambda i: str(round(0.3 + i * 0.45, 1)),
                "outcome": ["Survivor", "Nonsurvivor"],
                "tissue": "whole blood",
            },
        ),
        (
            8,
            H,
            {
                "title": lambda i: f"Normal control {i + 1}",
                "source_name": "whole blood",
                "disease state": "normal control",
                "age (years)": lambda i: str(round(0.5 + i * 0.9, 1)),
                "outcome": "n/a",
                "tissue": "whole blood",
            },
        ),
    ],
)
add(
    "GSE57065",
    "Early and dynamic changes in gene expression in septic shock patients: a genome-wide approach",
    "Adult ICU patients with septic shock sampled within 30 minutes, 24 and 48 hours after shock; 25 healthy volunteers.",
    [
        (
            30,
            SS,
            {
                "title": lambda i: (
                    f"patient {1 + i // 3} of septic shock, {['0h', '24h', '48h'][i % 3]}"
                ),
                "source_name": "Blood",
                "collection time": lambda i: ["0 hr", "24 hr", "48 hr"][i % 3],
                "sapsii": [
                    "SAPSII-High",
                    "SAPSII-High",
                    "SAPSII-High",
                    "SAPSII-Low",
                    "SAPSII-Low",
                    "SAPSII-Low",
                ],
                "age": lambda i: str(40 + (i // 3) * 3),
                "gender": lambda i: "MF"[(i // 3) % 2],
            },
        ),
        (
            10,
            H,
            {
                "title": lambda i: f"healthy volunteer {i + 1}",
                "source_name": "Blood",
                "collection time": "NA",
                "sapsii": "NA",
                "age": A(30),
                "gender": sex,
            },
        ),
    ],
)
add(
    "GSE95233",
    "Deciphering the host response in septic shock: kinetics",
    "Patients with septic shock were sampled at admission and at D2 or D3; healthy volunteers as controls.",
    [
        (
            20,
            SS,
            {
                "title": lambda i: f"Patient {i // 2 + 1} {['D1', 'D3'][i % 2]}",
                "source_name": "septic shock patient, blood",
                "time point": lambda i: ["Day 1", "Day 3"][i % 2],
                "survival": ["Survivor", "Survivor", "Non Survivor", "Non Survivor"],
                "age": lambda i: str(50 + i // 2),
                "gender": lambda i: ["Male", "Female"][(i // 2) % 2],
                "patient": lambda i: f"P{i // 2 + 1}",
            },
        ),
        (
            8,
            H,
            {
                "title": lambda i: f"Control {i + 1}",
                "source_name": "healthy volunteer, blood",
                "time point": None,
                "survival": None,
                "age": A(40),
                "gender": ["Male", "Female"],
                "patient": lambda i: f"HV{i + 1}",
            },
        ),
    ],
)
add(
    "GSE28750",
    "Diagnosis of sepsis using gene expression biomarkers",
    "Patients with sepsis, post-surgical patients and healthy controls.",
    [
        (10, S, {"title": lambda i: f"SEPSIS_{i + 1}", "health status": "SEPSIS"}),
        (20, H, {"title": lambda i: f"HEALTHY_{i + 1}", "health status": "HEALTHY"}),
        (11, NI, {"title": lambda i: f"POST_SURGICAL_{i + 1}", "health status": "POST_SURGICAL"}),
    ],
)
add(
    "GSE134347",
    "Intensive care sepsis versus noninfectious critical illness",
    "Blood was drawn from 156 septic, 59 noninfectious critically ill adults and 83 healthy subjects.",
    [
        (
            16,
            S,
            {
                "title": lambda i: f"blood, sepsis, {i}",
                "disease status": "sepsis",
                "age": A(30),
                "gender": sex,
            },
        ),
        (
            8,
            NI,
            {
                "title": lambda i: f"blood, noninfectious, {i}",
                "disease status": "noninfectious",
                "age": A(30),
                "gender": sex,
            },
        ),
        (
            9,
            H,
            {
                "title": lambda i: f"blood, healthy, {i}",
                "disease status": "healthy",
                "age": A(30),
                "gender": sex,
            },
        ),
    ],
    platform="GPL17586",
)
add(
    "GSE63042",
    "An integrated transcriptome and expressed variant analysis of sepsis survival and death (CAPSOD)",
    "RNA sequencing of blood of adults presenting to emergency departments with SIRS or sepsis.",
    [
        (8, NI, {"title": lambda i: f"C{i}", "sirs outcomes": "SIRS", "age": A(30), "gender": sex}),
        (
            8,
            S,
            {
                "title": lambda i: f"D{i}",
                "sirs outcomes": "Uncomplicated sepsis",
                "age": A(30),
                "gender": sex,
            },
        ),
        (
            6,
            S,
            {
                "title": lambda i: f"E{i}",
                "sirs outcomes": "Severe sepsis",
                "age": A(30),
                "gender": sex,
            },
        ),
        (
            6,
            SS,
            {
                "title": lambda i: f"F{i}",
                "sirs outcomes": "Septic shock",
                "age": A(30),
                "gender": sex,
            },
        ),
        (
            6,
            {S, U},
            {
                "title": lambda i: f"G{i}",
                "sirs outcomes": "Sepsis death",
                "age": A(30),
                "gender": sex,
            },
        ),
    ],
)
add(
    "GSE69063",
    "Time-course of gene expression in emergency sepsis, anaphylaxis and trauma",
    "Patients were recruited in emergency departments with anaphylaxis, sepsis or trauma, and healthy controls.",
    [
        (
            9,
            S,
            {
                "title": lambda i: f"Sepsis_P{i // 3 + 1}_T{i % 3}",
                "disease state": "Sepsis",
                "time point": lambda i: f"T{i % 3}",
                "subject id": lambda i: f"S{i // 3}",
            },
        ),
        (
            9,
            {NI, U},
            {
                "title": lambda i: f"Anaphylaxis_P{i // 3 + 1}_T{i % 3}",
                "disease state": "Anaphylaxis",
                "time point": lambda i: f"T{i % 3}",
                "subject id": lambda i: f"A{i // 3}",
            },
        ),
        (
            9,
            NI,
            {
                "title": lambda i: f"Trauma_P{i // 3 + 1}_T{i % 3}",
                "disease state": "Trauma",
                "time point": lambda i: f"T{i % 3}",
                "subject id": lambda i: f"T{i // 3}",
            },
        ),
        (
            10,
            H,
            {
                "title": lambda i: f"Healthy_{i + 1}",
                "disease state": "Healthy control",
                "time point": "T0",
                "subject id": lambda i: f"H{i}",
            },
        ),
    ],
    platform="GPL19983",
)
add(
    "GSE40586",
    "Whole blood transcriptional profiling in bacterial meningitis",
    "RNA of patients with acute bacterial meningitis and healthy controls.",
    [
        (
            10,
            {INF, U},
            {
                "title": lambda i: f"BM{i + 1}",
                "disease state": "bacterial meningitis",
                "age": A(40),
                "gender": sex,
            },
        ),
        (
            9,
            H,
            {
                "title": lambda i: f"HC{i + 1}",
                "disease state": "healthy control",
                "age": A(30),
                "gender": sex,
            },
        ),
    ],
    platform="GPL6244",
)
add(
    "GSE64456",
    "Association of RNA biosignatures with bacterial infections in febrile infants aged 60 days or younger",
    "Febrile infants <= 60 days with and without serious bacterial infection and afebrile healthy control infants.",
    [
        (
            9,
            {INF, U, S},
            {
                "title": lambda i: f"PECARN {i}",
                "group": "febrile, bacterial infection",
                "age (days)": lambda i: str(5 + 4 * i),
                "gender": sex,
            },
        ),
        (
            9,
            {INF, U},
            {
                "title": lambda i: f"PECARN b{i}",
                "group": "febrile, no bacterial infection",
                "age (days)": lambda i: str(7 + 4 * i),
                "gender": sex,
            },
        ),
        (
            5,
            H,
            {
                "title": lambda i: f"HC {i}",
                "group": "healthy control",
                "age (days)": lambda i: str(9 + 8 * i),
                "gender": sex,
            },
        ),
    ],
    ages="days",
)
add(
    "GSE72810",
    "Diagnostic test accuracy of a 2-transcript host RNA signature: febrile children (IRIS validation)",
    "Febrile children with definite bacterial or viral infection or of indeterminate status.",
    [
        (
            9,
            {INF, U},
            {
                "title": lambda i: f"IRIS_{i}",
                "category": "Definite Bacterial",
                "age (months)": lambda i: str(3 + 10 * i),
                "Sex": sex,
            },
        ),
        (
            9,
            INF,
            {
                "title": lambda i: f"IRIS_b{i}",
                "category": "Definite Viral",
                "age (months)": lambda i: str(4 + 10 * i),
                "Sex": sex,
            },
        ),
        (
            9,
            {U, INF},
            {
                "title": lambda i: f"IRIS_c{i}",
                "category": "Indeterminate",
                "age (months)": lambda i: str(5 + 10 * i),
                "Sex": sex,
            },
        ),
    ],
    ages="months",
)
add(
    "GSE68310",
    "Host transcriptional response to influenza and other acute respiratory viral infections - a prospective cohort study",
    "Healthy adults were bled at enrolment (baseline) and, when they fell ill, on days 0, 2, 4, 6 and 21 after onset.",
    [
        (
            6,
            H,
            {
                "title": lambda i: f"subject {i} Baseline",
                "infection": "influenza A virus",
                "time point": "Baseline",
                "subject id": lambda i: str(200 + i),
                "age": lambda i: str(20 + i),
            },
        ),
        (
            6,
            {INF, None},
            {
                "title": lambda i: f"subject {i} Day0",
                "infection": "influenza A virus",
                "time point": "Day0",
                "subject id": lambda i: str(200 + i),
                "age": lambda i: str(20 + i),
            },
        ),
        (
            6,
            {INF, None},
            {
                "title": lambda i: f"subject {i} Day21",
                "infection": "influenza A virus",
                "time point": "Day21",
                "subject id": lambda i: str(200 + i),
                "age": lambda i: str(20 + i),
            },
        ),
    ],
    platform="GPL10558",
)
add(
    "GSE161731",
    "Dysregulated transcriptional responses to SARS-CoV-2 in the periphery",
    "COVID-19, seasonal coronavirus, influenza, bacterial pneumonia and healthy controls.",
    [
        (
            9,
            {INF, U},
            {
                "title": lambda i: f"X{i}",
                "cohort": "COVID-19",
                "age": A(22),
                "gender": ["Male", "Female"],
                "subject_id": lambda i: f"a{i // 2}",
                "time_since_onset": ["early", "middle", "late"],
            },
        ),
        (
            6,
            {INF, U},
            {
                "title": lambda i: f"Xb{i}",
                "cohort": "CoV other",
                "age": A(22),
                "gender": ["Male", "Female"],
                "subject_id": lambda i: f"b{i}",
                "time_since_onset": None,
            },
        ),
        (
            6,
            {INF, U},
            {
                "title": lambda i: f"Xc{i}",
                "cohort": "Influenza",
                "age": A(22),
                "gender": ["Male", "Female"],
                "subject_id": lambda i: f"c{i}",
            },
        ),
        (
            6,
            {INF, U, S},
            {
                "title": lambda i: f"Xd{i}",
                "cohort": "Bacterial",
                "age": A(22),
                "gender": ["Male", "Female"],
                "subject_id": lambda i: f"d{i}",
            },
        ),
        (
            6,
            H,
            {
                "title": lambda i: f"Xe{i}",
                "cohort": "healthy",
                "age": A(22),
                "gender": ["Male", "Female"],
                "subject_id": lambda i: f"e{i}",
            },
        ),
    ],
    platform="GPL24676",
)
add(
    "GSE60424",
    "Next generation sequencing of human immune cell subsets across diseases",
    "RNA-seq of whole blood and six immune subsets from healthy individuals and patients with type 1 diabetes, ALS, sepsis and multiple sclerosis.",
    [
        (
            6,
            {S, None},
            {
                "title": lambda i: f"lib{i}",
                "celltype": ["Whole Blood", "Neutrophils", "Monocytes", "B-cells", "CD4", "NK"],
                "diseasestatus": "Sepsis",
                "donorid": lambda i: str(i // 6),
                "age": "61",
                "gender": "F",
            },
        ),
        (
            6,
            {H, None},
            {
                "title": lambda i: f"libb{i}",
                "celltype": ["Whole Blood", "Neutrophils", "Monocytes", "B-cells", "CD4", "NK"],
                "diseasestatus": "Healthy Control",
                "donorid": lambda i: str(5 + i // 6),
                "age": "33",
                "gender": "M",
            },
        ),
        (
            6,
            {NI, U, None},
            {
                "title": lambda i: f"libc{i}",
                "celltype": ["Whole Blood", "Neutrophils", "Monocytes", "B-cells", "CD4", "NK"],
                "diseasestatus": "MS pretreatment",
                "donorid": lambda i: str(9 + i // 6),
                "age": "43",
                "gender": "M",
            },
        ),
    ],
    platform="GPL15456",
)
add(
    "GSE37250",
    "Genome-wide transcriptional profiling of HIV positive and negative adults with active tuberculosis, latent TB infection and other diseases",
    "Whole blood of South African and Malawian adults.",
    [
        (
            9,
            "tb",
            {
                "title": lambda i: f"SA {i}",
                "disease state": "active tuberculosis",
                "hiv status": ["HIV positive", "HIV negative"],
            },
        ),
        (
            9,
            "latent_tb",
            {
                "title": lambda i: f"SA b{i}",
                "disease state": "latent TB infection",
                "hiv status": ["HIV positive", "HIV negative"],
            },
        ),
        (
            9,
            {None, U, "other_disease"},
            {
                "title": lambda i: f"SA c{i}",
                "disease state": "other disease",
                "hiv status": ["HIV positive", "HIV negative"],
            },
        ),
    ],
    study="tb",
    platform="GPL10558",
)
add(
    "GSE83456",
    "The transcriptional signature of active tuberculosis reflects symptom status in extra-pulmonary and pulmonary TB",
    "PTB, EPTB, sarcoidosis and healthy controls (HC).",
    [
        (
            9,
            "tb",
            {"title": lambda i: f"9{i}", "disease state": "PTB", "age": A(25), "gender": sex},
        ),
        (
            9,
            "tb",
            {"title": lambda i: f"8{i}", "disease state": "EPTB", "age": A(25), "gender": sex},
        ),
        (
            5,
            {None, U, NI},
            {"title": lambda i: f"7{i}", "disease state": "Sarcoid", "age": A(25), "gender": sex},
        ),
        (9, H, {"title": lambda i: f"6{i}", "disease state": "HC", "age": A(25), "gender": sex}),
    ],
    study="tb",
    platform="GPL10558",
)
add(
    "GSE66890",
    "Gene expression profiles of critically ill adults with sepsis, with and without ARDS",
    "Sepsis patients with and without ARDS from the EARLI cohort.",
    [
        (
            9,
            S,
            {
                "title": lambda i: f"E{i}",
                "disease state": "Sepsis alone",
                "age": A(35),
                "gender": sex,
            },
        ),
        (
            9,
            S,
            {
                "title": lambda i: f"F{i}",
                "disease state": "Sepsis with ARDS",
                "age": A(35),
                "gender": sex,
            },
        ),
    ],
    platform="GPL6244",
)
add(
    "GSE32707",
    "Inflammasome-regulated cytokines are critical mediators of acute lung injury",
    "Whole blood of MICU patients: untreated controls, SIRS, sepsis, sepsis/ARDS, on day 0 and day 7.",
    [
        (
            6,
            {NI, None, U},
            {
                "title": lambda i: f"untreated {i}",
                "disease status": "untreated",
                "time of sampling": "Day 0",
                "age": A(35),
            },
        ),
        (
            6,
            NI,
            {
                "title": lambda i: f"SIRS {i}",
                "disease status": "SIRS",
                "time of sampling": ["Day 0", "Day 7"],
                "age": A(35),
            },
        ),
        (
            6,
            S,
            {
                "title": lambda i: f"sepsis {i}",
                "disease status": "sepsis",
                "time of sampling": ["Day 0", "Day 7"],
                "age": A(35),
            },
        ),
        (
            6,
            S,
            {
                "title": lambda i: f"se/ARDS {i}",
                "disease status": "Se/ARDS",
                "time of sampling": ["Day 0", "Day 7"],
                "age": A(35),
            },
        ),
    ],
    platform="GPL10558",
)
add(
    "GSE13015",
    "Genomic transcriptional profiling identifies a candidate blood biomarker signature for the diagnosis of septicemic melioidosis",
    "Sepsis caused by B. pseudomallei or other organisms; uninfected controls: healthy, type 2 diabetes, recovered.",
    [
        (
            8,
            S,
            {
                "title": lambda i: f"a{i}",
                "illness": "Sepsis/Melioidosis",
                "age": A(35),
                "gender": sex,
            },
        ),
        (
            8,
            S,
            {
                "title": lambda i: f"b{i}",
                "illness": "Sepsis/Other infections",
                "age": A(35),
                "gender": sex,
            },
        ),
        (
            6,
            H,
            {"title": lambda i: f"c{i}", "illness": "Control/healthy", "age": A(35), "gender": sex},
        ),
        (
            6,
            {U, None, NI},
            {
                "title": lambda i: f"d{i}",
                "illness": "Control/type 2 diabetes",
                "age": A(35),
                "gender": sex,
            },
        ),
        (
            6,
            {U, None},
            {
                "title": lambda i: f"e{i}",
                "illness": "Control/recovery",
                "age": A(35),
                "gender": sex,
            },
        ),
    ],
    platform="GPL6947",
)
add(
    "GSE74224",
    "A molecular host response assay to discriminate between sepsis and infection-negative systemic inflammation in critically ill patients",
    "ICU patients with sepsis or infection-negative SIRS.",
    [
        (9, S, {"title": lambda i: f"p{i}", "status": "Sepsis", "age": A(35), "gender": sex}),
        (9, NI, {"title": lambda i: f"q{i}", "status": "SIRS", "age": A(35), "gender": sex}),
    ],
    platform="GPL5175",
)
add(
    "GSE25504",
    "Whole blood mRNA expression profiling of host response to infection in neonates",
    "Neonates with clinically suspected and confirmed bacterial infection and controls without.",
    [
        (
            9,
            {INF, S, U, None},
            {
                "title": lambda i: f"Inf{i:03d}",
                "source_name": "whole blood, infected neonate",
                "condition": "infected",
                "gestational age (weeks)": lambda i: str(25 + i),
                "postnatal age (days)": lambda i: str(1 + i),
            },
        ),
        (
            9,
            {H, U, None},
            {
                "title": lambda i: f"Con{i:03d}",
                "source_name": "whole blood, control neonate",
                "condition": "control",
                "gestational age (weeks)": lambda i: str(26 + i),
                "postnatal age (days)": lambda i: str(2 + i),
            },
        ),
    ],
    ages="days",
    platform="GPL6947",
)
add(
    "GSE33341",
    "Gene expression-based classifiers identify Staphylococcus aureus infection in mice and humans",
    "Hospitalised patients with bloodstream infection by S. aureus or E. coli and healthy controls.",
    [
        (
            9,
            {S, INF, U},
            {
                "title": lambda i: f"h_sa{i}",
                "source_name": "human blood",
                "disease state": "Staphylococcus aureus infection",
                "age": A(30),
            },
        ),
        (
            9,
            {S, INF, U},
            {
                "title": lambda i: f"h_ec{i}",
                "source_name": "human blood",
                "disease state": "Escherichia coli infection",
                "age": A(30),
            },
        ),
        (
            9,
            H,
            {
                "title": lambda i: f"h_hc{i}",
                "source_name": "human blood",
                "disease state": "healthy",
                "age": A(30),
            },
        ),
    ],
    platform="GPL571",
)
add(
    "GSE110487",
    "Early organ improvement in septic shock: transcriptome of responders and non-responders",
    "RNA-seq of septic shock patients at ICU admission (T1) and 48 hours later (T2); responders (R) and non responders (NR) by SOFA.",
    [
        (
            8,
            SS,
            {
                "title": lambda i: f"patient {i // 2} T{1 + i % 2}",
                "disease state": "septic shock",
                "response": "R",
                "time": lambda i: f"T{1 + i % 2}",
            },
        ),
        (
            8,
            SS,
            {
                "title": lambda i: f"patient {9 + i // 2} T{1 + i % 2}",
                "disease state": "septic shock",
                "response": "NR",
                "time": lambda i: f"T{1 + i % 2}",
            },
        ),
    ],
    platform="GPL16791",
)
add(
    "GSE131761",
    "Differential gene expression in septic shock and non-septic shock after surgery",
    "Post-surgical patients with septic shock (81), non-septic shock (33) and control patients without shock (15).",
    [
        (16, SS, {"title": lambda i: f"Septic shock patient {i}", "diagnosis": "septic shock"}),
        (
            8,
            NI,
            {"title": lambda i: f"Non-septic shock patient {i}", "diagnosis": "non-septic shock"},
        ),
        (
            6,
            {NI, U, None},
            {"title": lambda i: f"Control patient {i}", "diagnosis": "control patient"},
        ),
    ],
    platform="GPL13497",
)
add(
    "GSE4607",
    "Genome-level expression profiles in pediatric septic shock",
    "PAXgene blood of children with septic shock and controls.",
    [
        (
            12,
            SS,
            {
                "title": lambda i: (
                    f"Septic shock survivor {i}" if i % 2 else f"Septic shock nonsurvivor {i}"
                ),
                "source_name": "Whole blood",
            },
        ),
        (6, H, {"title": lambda i: f"Control {i}", "source_name": "Whole blood"}),
    ],
)
add(
    "GSE9960",
    "Gene-expression profiling of gram-positive and gram-negative sepsis in critically ill patients",
    "Peripheral blood of ICU patients with gram-positive, gram-negative or mixed sepsis, and patients with SIRS without infection as controls.",
    [
        (8, S, {"title": lambda i: f"GP{i}", "disease": "Gram-positive sepsis"}),
        (8, S, {"title": lambda i: f"GN{i}", "disease": "Gram-negative sepsis"}),
        (8, NI, {"title": lambda i: f"Ctrl{i}", "disease": "Control, SIRS without infection"}),
    ],
)
add(
    "GSE101702",
    "Immune response in severe influenza infection",
    "Patients hospitalised with severe influenza, moderate influenza, and healthy controls.",
    [
        (
            9,
            INF,
            {
                "title": lambda i: f"i{i}",
                "diagnosis": "influenza",
                "severity": ["severe", "moderate"],
            },
        ),
        (9, H, {"title": lambda i: f"j{i}", "diagnosis": "healthy control", "severity": None}),
    ],
    platform="GPL21185",
)
add(
    "GSE145227",
    "Whole blood transcriptome of septic children",
    "Children with sepsis aged 1 month to 12 years and healthy children.",
    [
        (
            9,
            S,
            {
                "title": lambda i: f"sepsis-{i}",
                "sepsis": "yes",
                "age": lambda i: f"{i + 1}Y{i}M",
                "Sex": sex,
            },
        ),
        (
            9,
            H,
            {
                "title": lambda i: f"normal-{i}",
                "sepsis": "no",
                "age": lambda i: f"{i + 1}Y{i}M",
                "Sex": sex,
            },
        ),
    ],
    platform="GPL23178",
)
add(
    "GSE111368",
    "Blood transcriptome of severe influenza (MOSAIC)",
    "Influenza patients at T1, T2, T3 and healthy controls (HC).",
    [
        (
            9,
            INF,
            {
                "title": lambda i: f"{1 + i // 3}_T{1 + i % 3}",
                "flu_type": "H1N1",
                "timepoint": lambda i: f"T{1 + i % 3}",
                "patient": lambda i: f"p{i // 3}",
                "bacterial_status": ["Yes", "No", "No"],
            },
        ),
        (
            8,
            H,
            {
                "title": lambda i: f"HC_{i}",
                "flu_type": "HC",
                "timepoint": "NA",
                "patient": lambda i: f"hc{i}",
                "bacterial_status": "NA",
            },
        ),
    ],
    platform="GPL10558",
)
add(
    "GSE236713",
    "Abdominal and pulmonary sepsis: day 1, day 2, day 5 and 1 month",
    "Adult critically ill patients with sepsis, post-operative ICU controls and healthy volunteers.",
    [
        (
            9,
            S,
            {
                "title": lambda i: f"UK{i // 3}_d{i % 3}",
                "group": "sepsis",
                "day": lambda i: ["1", "2", "5"][i % 3],
                "patient id": lambda i: f"UK{i // 3}",
                "age": A(50),
            },
        ),
        (
            9,
            NI,
            {
                "title": lambda i: f"OP{i // 3}_d{i % 3}",
                "group": "post-operative control",
                "day": lambda i: ["1", "2", "5"][i % 3],
                "patient id": lambda i: f"OP{i // 3}",
                "age": A(50),
            },
        ),
        (
            9,
            H,
            {
                "title": lambda i: f"HV{i}",
                "group": "healthy volunteer",
                "day": None,
                "patient id": lambda i: f"HV{i}",
                "age": A(30),
            },
        ),
    ],
    platform="GPL17077",
)
add(
    "GSE77087",
    "Rhinovirus and RSV in young children",
    "Children under 2 years hospitalised with RSV and age-matched healthy controls.",
    [
        (
            9,
            INF,
            {
                "title": lambda i: f"RSV_{i}",
                "group": "RSV",
                "age": lambda i: f"{1 + i} months",
                "gender": sex,
            },
        ),
        (
            9,
            H,
            {
                "title": lambda i: f"HC_{i}",
                "group": "Healthy",
                "age": lambda i: f"{2 + i} months",
                "gender": sex,
            },
        ),
    ],
    ages="months",
    platform="GPL10558",
)
add(
    "GSE50772",
    "SLE PBMC",
    "PBMC of SLE patients and normal controls.",
    [
        (
            9,
            {U, NI, None},
            {"title": lambda i: f"LUP{i}", "source_name": "PBMC", "disease status": "SLE"},
        ),
        (
            9,
            {H, None},
            {"title": lambda i: f"N{i}", "source_name": "PBMC", "disease status": "Control"},
        ),
    ],
)
add(
    "GSE999991",
    "Group codes with a legend",
    "Sepsis patients and controls in the emergency room.",
    [
        (8, S, {"title": lambda i: f"s{i}", "group (0=healthy, 1=sepsis)": "1", "age": A(30)}),
        (8, H, {"title": lambda i: f"t{i}", "group (0=healthy, 1=sepsis)": "0", "age": A(30)}),
    ],
)
add(
    "GSE999992",
    "Codes without a legend",
    "Sepsis patients and controls.",
    [
        (8, {None, U}, {"title": lambda i: f"s{i}", "group": "1", "age": A(30)}),
        (8, {None, U}, {"title": lambda i: f"t{i}", "group": "2", "age": A(30)}),
    ],
)
