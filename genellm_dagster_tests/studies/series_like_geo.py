"""Made-up series in the style of GEO's whole-blood records, with their traps.

Keys, values and titles are as people write them; the numbers are invented. The second list was
first tried when the proposer stood; what it then missed has been mended, so that both are plain
tests by now.
"""

from __future__ import annotations

from genellm_dagster_tests.studies.series_makers import CANNOT_TELL, Group, MadeSeries

ADULTS = ["34", "61", "72", "45", "58", "66", "29", "81"]
CHILDREN = ["1.5", "0.3", "4.2", "7", "2.8", "9.1", "0.9", "6"]
SEXES = ["Male", "Female", "Female", "Male", "Male"]

DEVELOPMENT = (
    MadeSeries(
        "score groups and collection times, patients only called patients",
        "sepsis",
        "Early and dynamic changes in gene expression in septic shock patients",
        (
            Group(9, "septic_shock", {
                "title": "Patient {p} - {t}", "sapsii": ["SAPSII-High", "SAPSII-Low"],
                "collection time": "{t}", "gender": SEXES, "age": ADULTS,
            }, times=("0 hr", "24 hr", "48 hr")),
            Group(8, "healthy", {
                "title": "Healthy volunteer {i}", "sapsii": "NA", "collection time": "NA",
                "gender": SEXES, "age": ADULTS,
            }),
        ),
        "Septic shock patients at three times and healthy volunteers.",
    ),
    MadeSeries(
        "diagnosis in the source name, survival beside it",
        "sepsis",
        "Gene expression of septic shock patients, survivors and non-survivors",
        (
            Group(10, "septic_shock", {
                "title": "P{i}_{t}", "source_name": "Whole blood from septic shock patient, {t}",
                "survival": ["Survivor", "Non Survivor"], "age": ADULTS, "gender": SEXES,
            }, times=("D1", "D2")),
            Group(7, "healthy", {
                "title": "H{i}", "source_name": "Whole blood from healthy volunteer",
                "survival": "NA", "age": ADULTS, "gender": SEXES,
            }),
        ),
    ),
    MadeSeries(
        "health status in capitals with a post-surgical group",
        "sepsis",
        "Diagnosis of sepsis by expression profiling of peripheral blood",
        (
            Group(10, "sepsis", {"title": "Sepsis_{i}", "health status": "SEPSIS"}),
            Group(20, "healthy", {"title": "Healthy_{i}", "health status": "HEALTHY"}),
            Group(11, "noninfectious_inflammation", {
                "title": "PS_{i}", "health status": "POST_SURGICAL"}),
        ),
    ),
    MadeSeries(
        "everything in the title, with days",
        "sepsis",
        "Expression profiling across the pediatric SIRS, sepsis and septic shock spectrum",
        (
            Group(8, "septic_shock", {"title": "10_{p}_SepticShock_{t}"}, times=("day1", "day3")),
            Group(6, "sepsis", {"title": "11_{p}_Sepsis_{t}"}, times=("day1", "day3")),
            Group(5, "noninfectious_inflammation", {"title": "12_{p}_SIRS_{t}"}, times=("day1",)),
            Group(6, "healthy", {"title": "Control_{p}"}),
        ),
        "Children with SIRS, sepsis or septic shock on days 1 and 3, and normal controls.",
    ),
    MadeSeries(
        "disease state in words, outcome and subclass beside it, ages with a unit",
        "sepsis",
        "Expression-based subclasses of pediatric septic shock",
        (
            Group(16, "septic_shock", {
                "disease state": "septic shock patient", "outcome": ["Survivor", "Nonsurvivor"],
                "group": ["A", "B", "C"], "age (years)": CHILDREN, "gender": SEXES,
            }),
            Group(7, "healthy", {
                "disease state": "normal control", "outcome": "n/a", "group": "n/a",
                "age (years)": CHILDREN, "gender": SEXES,
            }),
        ),
    ),
    MadeSeries(
        "a non-infectious group on intensive care",
        "sepsis",
        "Blood transcriptome of critically ill patients with and without infection",
        (
            Group(15, "sepsis", {"disease status": "sepsis", "age": ADULTS}),
            Group(9, "noninfectious_inflammation", {
                "disease status": "noninfectious", "age": ADULTS}),
            Group(8, "healthy", {"disease status": "healthy", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "outcomes of SIRS",
        "sepsis_sirs",
        "Transcriptome of sepsis survival and death in adults",
        (
            Group(8, "sepsis", {
                "sirs outcomes": ["Uncomplicated sepsis", "Severe sepsis"],
                "sirs vs sepsis": "Sepsis"}),
            Group(5, "septic_shock", {"sirs outcomes": "Septic shock", "sirs vs sepsis": "Sepsis"}),
            Group(4, "sepsis", {"sirs outcomes": "Sepsis death", "sirs vs sepsis": "Sepsis"}),
            Group(5, "noninfectious_inflammation", {
                "sirs outcomes": "SIRS", "sirs vs sepsis": "SIRS"}),
        ),
    ),
    MadeSeries(
        "patient groups of an emergency department at three times",
        "sepsis",
        "Gene expression in critically ill emergency department patients",
        (
            Group(6, "sepsis", {"patient group": "Sepsis", "time point": "{t}",
                                "subject": "S{p}"}, times=("T0", "T1", "T3")),
            Group(4, "noninfectious_inflammation", {
                "patient group": ["Anaphylaxis", "Trauma"], "time point": "{t}",
                "subject": "S{p}"}, times=("T0", "T1")),
            Group(6, "healthy", {"patient group": "Healthy control", "time point": "T0",
                                 "subject": "S{p}"}),
        ),
        "Sepsis, trauma and anaphylaxis, with healthy controls.",
    ),
    MadeSeries(
        "meningitis against controls, nothing said of the controls",
        "bacterial_viral",
        "Whole blood gene expression in acute bacterial meningitis",
        (
            Group(9, "bacterial", {
                "group": "bacterial meningitis", "severity": ["mild", "severe"]}),
            Group(7, "healthy", {"group": "control", "severity": "none"}),
        ),
    ),
    MadeSeries(
        "febrile infants in days",
        "bacterial_viral",
        "Biosignatures of febrile infants aged 60 days or younger",
        (
            Group(8, "bacterial", {
                "infection status": "Bacterial", "age (days)": ["12", "40", "58"]}),
            Group(9, "viral", {"infection status": "Virus positive", "age (days)": ["7", "33"]}),
            Group(5, "healthy", {
                "infection status": "Healthy control", "age (days)": ["20", "51"]}),
        ),
    ),
    MadeSeries(
        "definite and probable diagnoses",
        "bacterial_viral",
        "Diagnosis of childhood bacterial and viral infection by whole blood RNA",
        (
            Group(8, "bacterial", {"category": "Definite Bacterial"}),
            Group(8, "viral", {"category": "Definite Viral"}),
            Group(4, CANNOT_TELL, {"category": "Probable Bacterial"}),
            Group(4, CANNOT_TELL, {"category": "Unknown Bacterial or Viral"}),
            Group(5, "healthy", {"category": "Healthy Control"}),
        ),
    ),
    MadeSeries(
        "blood cells beside whole blood",
        "sepsis",
        "Next generation sequencing of human immune cell subsets across diseases",
        (
            Group(6, "sepsis", {"diseasestatus": "Sepsis", "celltype": ["Whole Blood", "B-cells"]}),
            Group(8, "healthy", {
                "diseasestatus": "Healthy Control", "celltype": ["Whole Blood", "Monocytes"]}),
            Group(4, "unassigned", {"diseasestatus": "Type 1 Diabetes", "celltype": "Whole Blood"}),
            Group(4, "noninfectious_inflammation", {
                "diseasestatus": ["MS pretreatment", "MS posttreatment"],
                "celltype": "Whole Blood"}),
        ),
        "Cells of patients with sepsis, multiple sclerosis (MS), diabetes and of healthy controls.",
    ),
    MadeSeries(
        "lung diseases beside tuberculosis",
        "tb",
        "Transcriptional blood signatures of tuberculosis, sarcoidosis, pneumonia and lung cancer",
        (
            Group(8, "tb", {"disease state": "TB"}),
            Group(8, "healthy", {"disease state": "Control"}),
            Group(6, "noninfectious_inflammation", {
                "disease state": ["Active Sarcoidosis", "Non-active sarcoidosis"]}),
            Group(4, "infection_non_sepsis", {"disease state": "Pneumonia"}),
            Group(4, "unassigned", {"disease state": "lung cancer"}),
        ),
        "Whole blood of patients and of healthy controls.",
    ),
    MadeSeries(
        "tuberculosis with and without HIV, other diseases",
        "tb",
        "HIV positive and negative adults with active tuberculosis, latent TB infection and other "
        "diseases",
        (
            Group(10, "tb", {"disease state": "active tuberculosis",
                             "hiv status": ["HIV positive", "HIV negative"]}),
            Group(9, "latent_tb", {"disease state": "latent TB infection",
                                   "hiv status": ["HIV positive", "HIV negative"]}),
            Group(8, "unassigned", {"disease state": "other disease",
                                    "hiv status": ["HIV negative", "HIV positive"]}),
        ),
    ),
    MadeSeries(
        "short forms explained in the summary",
        "tb",
        "The transcriptional signature of extrapulmonary tuberculosis",
        (
            Group(8, "tb", {"title": "PTB-{i}", "disease state": "PTB"}),
            Group(8, "tb", {"title": "EPTB-{i}", "disease state": "EPTB"}),
            Group(9, "healthy", {"title": "HC-{i}", "disease state": "HC"}),
            Group(7, "noninfectious_inflammation", {
                "title": "Sarc-{i}", "disease state": "Sarcoid"}),
        ),
        "Pulmonary TB (PTB), extrapulmonary TB (EPTB), sarcoidosis and healthy controls (HC).",
    ),
    MadeSeries(
        "labels spread over title and two fields",
        "sepsis",
        "Genome-wide blood transcriptional profiling in critically ill patients",
        (
            Group(9, "sepsis", {
                "title": "patient {i}", "pneumonia diagnoses": ["cap", "hap"],
                "abdominal_sepsis_and_controls": "NA", "age": ADULTS, "gender": SEXES}),
            Group(6, "sepsis", {
                "title": "patient 1{i}", "pneumonia diagnoses": "NA",
                "abdominal_sepsis_and_controls": "abdo_s", "age": ADULTS, "gender": SEXES}),
            Group(5, "noninfectious_inflammation", {
                "title": "patient 2{i}", "pneumonia diagnoses": "no-cap",
                "abdominal_sepsis_and_controls": "ctrl_GI", "age": ADULTS, "gender": SEXES}),
            Group(7, "healthy", {
                "title": "healthy subject {i}", "pneumonia diagnoses": "NA",
                "abdominal_sepsis_and_controls": "NA", "age": ADULTS, "gender": SEXES}),
        ),
        "Patients admitted to intensive care with sepsis due to pneumonia or abdominal infection, "
        "and healthy subjects.",
    ),
    MadeSeries(
        "codes with a legend in the key",
        "sepsis",
        "Blood RNA of adults",
        (
            Group(8, "healthy", {"group (0=healthy control, 1=sepsis, 2=septic shock)": "0"}),
            Group(8, "sepsis", {"group (0=healthy control, 1=sepsis, 2=septic shock)": "1"}),
            Group(5, "septic_shock", {"group (0=healthy control, 1=sepsis, 2=septic shock)": "2"}),
        ),
    ),
    MadeSeries(
        "sepsis yes or no, in people who were all ill",
        "sepsis",
        "Predictors of sepsis in patients with suspected infection",
        (
            Group(8, "sepsis", {"sepsis": "yes", "age": ADULTS}),
            Group(8, CANNOT_TELL, {"sepsis": "no", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "patient numbers that count anew in each group",
        "sepsis",
        "Sepsis patients and healthy controls",
        (
            Group(10, "sepsis", {"title": "Sepsis patient {i}", "patient number": "{i}",
                                 "condition": "Sepsis", "gender": ["M", "F", "M"]}),
            Group(10, "healthy", {"title": "Healthy {i}", "patient number": "{i}",
                                  "condition": "Healthy", "gender": ["F", "F", "M"]}),
        ),
    ),
    MadeSeries(
        "infants with RSV, ages in months by key",
        "bacterial_viral",
        "Blood profiles of infants with RSV, rhinovirus and influenza infection",
        (
            Group(9, "viral", {"infection": "RSV", "age (months)": ["2", "5", "11", "19"]}),
            Group(5, "viral", {"infection": "HRV", "age (months)": ["3", "14"]}),
            Group(5, "viral", {"infection": "Influenza A", "age (months)": ["8", "22"]}),
            Group(6, "healthy", {"infection": "Healthy control", "age (months)": ["6", "12"]}),
        ),
    ),
    MadeSeries(
        "controls that are ill",
        "sepsis",
        "Whole blood in sepsis",
        (
            Group(9, "sepsis", {"group": "sepsis"}),
            Group(9, CANNOT_TELL, {"group": "control"}),
        ),
        "We compared patients with sepsis to critically ill controls without infection.",
    ),
    MadeSeries(
        "volunteers before and after they caught influenza",
        "covid",
        "Host response to influenza in a human challenge study",
        (
            Group(6, "infection_non_sepsis", {
                "infection status": "influenza", "time point": "day 3", "subject id": "V{p}"}),
            Group(6, CANNOT_TELL, {
                "infection status": "influenza", "time point": "baseline", "subject id": "V{i}"}),
        ),
        "Healthy volunteers were inoculated with influenza and sampled before inoculation.",
    ),
    MadeSeries(
        "reference RNA among the samples",
        "sepsis",
        "Septic shock in children",
        (
            Group(7, "septic_shock", {"title": "Septic shock {i}", "diagnosis": "septic shock"}),
            Group(6, "healthy", {"title": "Healthy child {i}", "diagnosis": "healthy"}),
            Group(3, "unassigned", {
                "title": "Universal Human Reference RNA control {i}", "diagnosis": None}),
        ),
    ),
    MadeSeries(
        "grades of dengue and the time after it",
        "dengue",
        "Blood transcriptome of dengue fever (DF) and dengue hemorrhagic fever (DHF)",
        (
            Group(8, "dengue", {"status": "DF"}),
            Group(7, "severe_dengue", {"status": "DHF"}),
            Group(6, "unassigned", {"status": "convalescent"}),
            Group(5, "healthy", {"status": "control"}),
        ),
        "Patients and healthy controls.",
    ),
    MadeSeries(
        "a key that names whose control it is",
        "sepsis",
        "Whole blood of staphylococcal sepsis, lupus and Still's disease",
        (
            Group(8, "sepsis", {"illness": "Sepsis", "healthy control": None}),
            Group(8, "noninfectious_inflammation", {"illness": ["PSLE", "Still"],
                                                    "healthy control": None}),
            Group(9, "healthy", {"illness": "Control", "healthy control": ["Sepsis", "Still"]}),
        ),
    ),
    MadeSeries(
        "a disease the vocabulary does not know",
        "preeclampsia",
        "Maternal whole blood in preeclampsia",
        (
            Group(8, "preeclampsia", {"disease state": "severe preeclampsia",
                                      "gestational age (weeks)": ["31", "36"],
                                      "age": ["28", "39"]}),
            Group(8, "healthy", {"disease state": "normal pregnancy",
                                 "gestational age (weeks)": ["33", "38"], "age": ["25", "41"]}),
        ),
    ),
)  # fmt: skip

HELD_OUT = (
    MadeSeries(
        "short forms with follow-up",
        "sepsis",
        "Transcriptome of sepsis and septic shock and of follow-up samples",
        (
            Group(10, "healthy", {"title": "Hlty_{i}", "status": "Hlty"}),
            Group(5, "infection_non_sepsis", {"title": "Inf1_P_{i}", "status": "Inf1_P"}),
            Group(7, "sepsis", {"title": "Seps_P_{i}", "status": "Seps_P"}),
            Group(6, "septic_shock", {"title": "Shock_P_{i}", "status": "Shock_P"}),
            Group(4, "unassigned", {"title": "Seps_FU_{i}", "status": "Seps_FU"}),
            Group(4, "unassigned", {"title": "Shock_FU_{i}", "status": "Shock_FU"}),
        ),
        "Healthy controls, uncomplicated infections, sepsis and septic shock.",
    ),
    MadeSeries(
        "illness in two parts",
        "sepsis",
        "Genomic transcriptional profiling identifies a candidate blood biomarker signature for "
        "the diagnosis of septicemic melioidosis",
        (
            Group(8, "sepsis", {"illness": "Sepsis/Melioidosis", "age": ADULTS}),
            Group(8, "sepsis", {"illness": "Sepsis/Other infections", "age": ADULTS}),
            Group(5, "healthy", {"illness": "Control/healthy", "age": ADULTS}),
            Group(4, "unassigned", {"illness": "Control/type 2 diabetes", "age": ADULTS}),
            Group(3, "unassigned", {"illness": "Control/Recovery", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "survivors by day, with people and group days",
        "sepsis",
        "Whole blood transcriptome of survivors and nonsurvivors of sepsis",
        (
            Group(7, "sepsis", {
                "title": "whole blood, sepsis survivor {p}, {t}",
                "disease status": "sepsis survivor", "group_day": "S_{t}",
                "group_id": "S_{p}", "age (years)": ADULTS, "gender": ["M", "F"],
            }, times=("D1", "D3", "D5")),
            Group(4, "sepsis", {
                "title": "whole blood, sepsis nonsurvivor {p}, {t}",
                "disease status": "sepsis nonsurvivor", "group_day": "NS_{t}",
                "group_id": "NS_{p}", "age (years)": ADULTS, "gender": ["M", "F"],
            }, times=("D1", "D3")),
            Group(6, "healthy", {
                "title": "whole blood, healthy control {p}, {t}", "disease status": "healthy",
                "group_day": "HC_{t}", "group_id": "HC_{p}", "age (years)": ADULTS,
                "gender": ["F", "M"],
            }, times=("D1", "D5")),
        ),
    ),
    MadeSeries(
        "sepsis and SIRS as cohorts",
        "sepsis_sirs",
        "Discovery and validation of a diagnostic to differentiate sepsis from SIRS in adults",
        (
            Group(12, "sepsis", {"title": "{i}S", "cohort": "Sepsis", "age": ADULTS}),
            Group(9, "noninfectious_inflammation", {"title": "{i}C", "cohort": "SIRS",
                                                    "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "lung injury with and without sepsis",
        "sepsis",
        "Whole blood expression of ARDS in patients with sepsis",
        (
            Group(8, "sepsis", {"title": "sepsis with ARDS {i}", "disease status": "sepsis/ARDS"}),
            Group(8, "sepsis", {"title": "sepsis alone {i}", "disease status": "sepsis"}),
            Group(6, "noninfectious_inflammation", {"title": "SIRS {i}", "disease status": "SIRS"}),
            Group(6, CANNOT_TELL, {"title": "untreated {i}", "disease status": "untreated"}),
        ),
        "Critically ill patients with sepsis, sepsis/ARDS, SIRS, and untreated intubated subjects.",
    ),
    MadeSeries(
        "bloodstream infections by species",
        "sepsis",
        "Gene expression-based classifiers identify Staphylococcus aureus infection in mice and "
        "humans",
        (
            Group(8, "sepsis", {"title": "human_S. aureus_{i}",
                                "disease": "S. aureus bloodstream infection"}),
            Group(6, "sepsis", {"title": "human_E. coli_{i}",
                                "disease": "E. coli bloodstream infection"}),
            Group(8, "healthy", {"title": "human_Healthy_{i}", "disease": "Healthy"}),
        ),
    ),
    MadeSeries(
        "malaria in children, some with worms",
        "malaria",
        "Blood transcriptome of malaria in West African children",
        (
            Group(9, "malaria", {"disease state": "malaria", "age": CHILDREN}),
            Group(5, "malaria", {"disease state": "Severe malaria", "age": CHILDREN}),
            Group(8, "healthy", {"disease state": "healthy control", "age": CHILDREN}),
        ),
    ),
    MadeSeries(
        "acute and convalescent phase",
        "kawasaki",
        "Whole blood of patients with Kawasaki disease during acute and convalescent phases",
        (
            Group(8, "kawasaki", {"title": "KD patient {p}, acute", "phase": "Acute"}),
            Group(8, "unassigned", {"title": "KD patient {i}, convalescent",
                                    "phase": "Convalescent"}),
            Group(6, "infection", {"title": "Febrile control, adenovirus {i}", "phase": "Acute"}),
        ),
    ),
    MadeSeries(
        "lupus over many visits",
        "sle",
        "Longitudinal blood transcriptomics of pediatric SLE",
        (
            Group(8, "sle", {"title": "SLE-{p} visit {t}", "disease state": "SLE",
                             "subject": "SLE-{p}", "visit": "{t}", "age": ["13.2", "15.7", "9.8"]},
                  times=("1", "2", "3")),
            Group(7, "healthy", {"title": "BAY-{p}", "disease state": "Healthy",
                                 "subject": "BAY-{p}", "visit": "1", "age": ["12", "16.1"]}),
        ),
    ),
    MadeSeries(
        "respiratory cohorts in a pandemic",
        "covid",
        "Dysregulated transcriptional responses to SARS-CoV-2 in the periphery",
        (
            Group(9, "covid19", {"cohort": "COVID-19", "age": ADULTS, "gender": SEXES,
                                 "time_since_onset": ["early", "late"]}),
            Group(5, "infection_non_sepsis", {"cohort": "Influenza", "age": ADULTS,
                                              "gender": SEXES, "time_since_onset": "N/A"}),
            Group(5, "infection_non_sepsis", {"cohort": "CoV other", "age": ADULTS,
                                              "gender": SEXES, "time_since_onset": "N/A"}),
            Group(5, "infection_non_sepsis", {"cohort": "Bacterial", "age": ADULTS,
                                              "gender": SEXES, "time_since_onset": "N/A"}),
            Group(6, "healthy", {"cohort": "healthy", "age": ADULTS, "gender": SEXES,
                                 "time_since_onset": "N/A"}),
        ),
    ),
    MadeSeries(
        "children with tuberculosis, culture and IGRA in the diagnosis",
        "tb",
        "Genome-wide expression for diagnosis of pulmonary tuberculosis in African children",
        (
            Group(8, "tb", {"disease status": "active tuberculosis (culture confirmed)"}),
            Group(5, "tb", {"disease status": "active tuberculosis"}),
            Group(6, "unassigned", {"disease status": ["other disease", "other disease (IGRA +)"]}),
            Group(6, "latent_tb", {"disease status": "latent TB infection"}),
        ),
    ),
    MadeSeries(
        "meningococcal sepsis hour by hour",
        "sepsis",
        "Meningococcal sepsis in children, blood and lymphocytes",
        (
            Group(6, "sepsis", {"title": "meningococcal sepsis patient {p}, whole blood, {t}"},
                  times=("0h", "8h", "24h", "72h")),
            Group(3, "healthy", {"title": "control child {p}, whole blood"}),
        ),
    ),
    MadeSeries(
        "neonates with and without infection",
        "sepsis",
        "Whole blood of neonates with bacterial and viral infection",
        (
            Group(8, "infection_non_sepsis", {"title": "Inf{i}", "infection": "infected",
                                              "gestational age": ["28", "39", "41"]}),
            Group(8, CANNOT_TELL, {"title": "Con{i}", "infection": "control",
                                   "gestational age": ["27", "40"]}),
        ),
        "Infected neonates were compared with hospitalised controls.",
    ),
    MadeSeries(
        "burns and their hours",
        "sepsis",
        "Genome-wide response to severe burn injury",
        (
            Group(9, "noninfectious_inflammation", {
                "title": "Burn subject {p} {t} hours", "status": "burn",
                "hours_since_injury": "{t}", "age": ADULTS}, times=("20", "200")),
            Group(6, "healthy", {"title": "Healthy control {p}", "status": "healthy control",
                                 "hours_since_injury": "NA", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "who dies, among septic patients",
        "mortality",
        "Sepsis mortality in adult intensive care patients",
        (
            Group(9, "survivor", {"outcome": "Survivor", "disease": "sepsis", "age": ADULTS}),
            Group(6, "nonsurvivor", {"outcome": "Non-survivor", "disease": "sepsis",
                                     "age": ADULTS}),
            Group(5, "healthy", {"outcome": "NA", "disease": "healthy", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "ages without units in newborns, coded sex",
        "sepsis",
        "Neonatal sepsis in preterm infants",
        (
            Group(8, "sepsis", {"diagnosis": "late onset sepsis", "age": ["3", "12", "25"],
                                "sex": ["1", "2"]}),
            Group(8, CANNOT_TELL, {"diagnosis": "no sepsis", "age": ["4", "20"],
                                   "sex": ["2", "1"]}),
        ),
    ),
)  # fmt: skip
