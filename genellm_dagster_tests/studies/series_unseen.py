"""More made-up series in GEO's style, tried one list after the other when the proposer stood.

What it missed at the first try has been mended since, so that they are plain tests by now.
"""

from __future__ import annotations

from genellm_dagster_tests.studies.series_like_geo import ADULTS, CHILDREN, SEXES
from genellm_dagster_tests.studies.series_makers import CANNOT_TELL, Group, MadeSeries

UNSEEN = (
    MadeSeries(
        "numbered patients and controls in the source name",
        "sepsis",
        "Early gene expression of patients with septic shock and their outcome",
        (
            Group(8, "septic_shock", {
                "title": "blood-sv{p:0>3}_{t}", "source_name": "patient {p} {t}",
                "time point": "{t}", "survival": ["Survivor", "Non Survivor"],
                "age": ADULTS, "gender": SEXES,
            }, times=("D01", "D02")),
            Group(7, "healthy", {
                "title": "blood-cs{p:0>3}", "source_name": "control {p}", "time point": None,
                "survival": None, "age": ADULTS, "gender": SEXES,
            }),
        ),
        "Septic shock patients and healthy volunteers.",
    ),
    MadeSeries(
        "healthy hidden in a field about acquired infection",
        "sepsis",
        "Blood leukocyte response in critically ill patients",
        (
            Group(10, CANNOT_TELL, {
                "title": "intensive-care unit patient {i}",
                "icu_acquired_infection": ["No_ICUA", "ICUA"], "mortality_event_28days": ["0", "1"],
                "age": ADULTS}),
            Group(7, "healthy", {
                "title": "healthy subject {i}", "icu_acquired_infection": "healthy",
                "mortality_event_28days": "NA", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "months after the acute illness, ages of infants without unit",
        "bacterial_viral",
        "Transcriptional profiles of lower respiratory tract infection in children below 2 years",
        (
            Group(8, "viral", {
                "sample group": "acute RSV infection", "age": ["2", "5", "17", "20"]}),
            Group(6, "viral", {"sample group": "acute human rhinovirus infection",
                               "age": ["3", "9"]}),
            Group(5, "healthy", {"sample group": "healthy control", "age": ["6", "23"]}),
            Group(5, "unassigned", {
                "sample group": "1-2 month after the acute hospitalization in children with RSV",
                "age": ["4", "12"]}),
        ),
    ),
    MadeSeries(
        "short forms joined to a letter",
        "kawasaki",
        "Distinguishing Kawasaki disease from adenovirus and group A streptococcal infection",
        (
            Group(6, "kawasaki", {"final condition": "cKD", "age (mos.)": ["14", "30"]}),
            Group(5, "kawasaki", {"final condition": "inKD", "age (mos.)": ["9", "20"]}),
            Group(5, "infection", {"final condition": "HAdV", "age (mos.)": ["11", "26"]}),
            Group(4, "infection", {"final condition": "GAS", "age (mos.)": ["50", "71"]}),
            Group(5, "healthy", {"final condition": "healthy", "age (mos.)": ["16", "33"]}),
        ),
    ),
    MadeSeries(
        "treatment of tuberculosis month by month",
        "tb",
        "Blood transcriptional profiles during treatment of active tuberculosis",
        (
            Group(6, "tb", {"illness": "PTB", "measurement time": "{t}", "patient id": "LON{p}"},
                  times=("0_months", "2_months", "12_months")),
            Group(6, "healthy", {"illness": "Control (BCG+)", "measurement time": "0_months",
                                 "patient id": "LON{p}"}),
        ),
        "Patients before and during treatment, and healthy controls.",
    ),
    MadeSeries(
        "who falls ill later",
        "tb",
        "A blood RNA signature for tuberculosis disease risk: adolescents who progressed",
        (
            Group(7, CANNOT_TELL, {"group": "case (TB progressor)", "age": ["13", "16"]}),
            Group(9, CANNOT_TELL, {"group": "control (non-progressor)", "age": ["14", "17"]}),
        ),
    ),
    MadeSeries(
        "trauma with and without sepsis",
        "sepsis",
        "Sepsis after severe trauma in adults",
        (
            Group(7, "sepsis", {"diagnosis": "trauma with sepsis", "age": ADULTS}),
            Group(8, "noninfectious_inflammation", {"diagnosis": "trauma without sepsis",
                                                    "age": ADULTS}),
            Group(5, "healthy", {"diagnosis": "healthy volunteer", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "cases and controls",
        "sepsis",
        "Whole blood RNA-seq of neonatal sepsis",
        (
            Group(9, "sepsis", {"group": "case"}),
            Group(9, CANNOT_TELL, {"group": "control patient"}),
        ),
    ),
    MadeSeries(
        "codes without a legend",
        "sepsis",
        "Severe sepsis in adults",
        (
            Group(8, CANNOT_TELL, {"class": "0", "sex": "0"}),
            Group(8, CANNOT_TELL, {"class": "1", "sex": "1"}),
        ),
    ),
    MadeSeries(
        "controls of intensive care beside healthy ones",
        "sepsis",
        "Transcriptome of septic shock",
        (
            Group(8, "septic_shock", {"diagnosis": "septic shock"}),
            Group(6, "noninfectious_inflammation", {"diagnosis": "ICU control"}),
            Group(7, "healthy", {"diagnosis": "healthy control"}),
        ),
    ),
    MadeSeries(
        "people who were healthy before",
        "sepsis",
        "Previously healthy children with sepsis",
        (
            Group(8, "septic_shock", {"description": "previously healthy child with septic shock"}),
            Group(6, "sepsis", {"description": "previously healthy child with sepsis"}),
            Group(6, "healthy", {"description": "healthy child"}),
        ),
    ),
    MadeSeries(
        "COVID-19 by severity and by test",
        "covid",
        "Whole blood of COVID-19 patients",
        (
            Group(7, "covid19", {
                "disease state": "Severe COVID-19", "covid-19 status": "positive"}),
            Group(7, "covid19", {"disease state": "Mild COVID-19", "covid-19 status": "positive"}),
            Group(6, CANNOT_TELL, {"disease state": "Non-COVID-19 ICU",
                                   "covid-19 status": "negative"}),
            Group(6, "healthy", {"disease state": "Healthy Control",
                                 "covid-19 status": "negative"}),
        ),
    ),
    MadeSeries(
        "letters explained in the summary",
        "sepsis",
        "Gene expression in blood of critically ill adults",
        (
            Group(8, "septic_shock", {"title": "SS{i}"}),
            Group(6, "noninfectious_inflammation", {"title": "CS{i}"}),
            Group(7, "healthy", {"title": "HV{i}"}),
        ),
        "We studied septic shock (SS), cardiogenic shock (CS) and healthy volunteers (HV).",
    ),
    MadeSeries(
        "two infections by their signs",
        "tb",
        "Tuberculosis in people with and without HIV",
        (
            Group(6, "tb", {"group": "HIV+TB+"}),
            Group(6, "tb", {"group": "HIV-TB+"}),
            Group(6, CANNOT_TELL, {"group": "HIV+TB-"}),
            Group(6, CANNOT_TELL, {"group": "HIV-TB-"}),
        ),
    ),
    MadeSeries(
        "infected and not infected SIRS",
        "sepsis_sirs",
        "SIRS of infectious and non-infectious cause in children",
        (
            Group(7, "noninfectious_inflammation", {"condition": "Non-infected SIRS"}),
            Group(7, "sepsis", {"condition": "Sepsis"}),
            Group(5, "septic_shock", {"condition": "Septic_Shock"}),
            Group(5, CANNOT_TELL, {"condition": "Suspected sepsis"}),
        ),
    ),
    MadeSeries(
        "malaria seen and not seen",
        "malaria",
        "Controlled comparison of P. falciparum malaria in Malian adults",
        (
            Group(8, "malaria", {"status": "febrile malaria", "age": ADULTS}),
            Group(6, CANNOT_TELL, {"status": "uninfected", "age": ADULTS}),
            Group(6, "healthy", {"status": "healthy uninfected control", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "lupus with short words for activity",
        "sle",
        "Whole blood in systemic lupus erythematosus",
        (
            Group(8, "sle", {"title": "SLE patient {i}", "disease activity": ["high", "low"]}),
            Group(4, "sle", {"title": "Lupus nephritis patient {i}", "disease activity": "high"}),
            Group(7, "healthy", {"title": "Healthy donor {i}", "disease activity": "NA"}),
        ),
    ),
    MadeSeries(
        "stimulated blood of healthy donors",
        "sepsis",
        "Ex vivo response of whole blood to endotoxin",
        (
            Group(6, CANNOT_TELL, {"title": "Donor {i}, LPS", "treatment": "LPS",
                                   "disease state": None}),
            Group(6, CANNOT_TELL, {"title": "Donor {i}, control", "treatment": "control",
                                   "disease state": None}),
        ),
        "Whole blood was stimulated with LPS or left as unstimulated control.",
    ),
    MadeSeries(
        "severity of sepsis in one field",
        "sepsis",
        "Transcriptome of patients in the emergency room",
        (
            Group(8, "sepsis", {"sepsis severity": "Severe sepsis", "age": ADULTS}),
            Group(6, "septic_shock", {"sepsis severity": "Septic shock", "age": ADULTS}),
            Group(7, "healthy", {"sepsis severity": "Healthy control", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "everything without keys",
        "sepsis",
        "Children with sepsis",
        (
            Group(7, "sepsis", {"(no key)": "sepsis | male | 3 years"}),
            Group(7, "healthy", {"(no key)": "healthy | female | 4 years"}),
        ),
    ),
    MadeSeries(
        "titles that tell, a field that disagrees",
        "sepsis",
        "Blood of patients with sepsis and of healthy controls",
        (
            Group(8, CANNOT_TELL, {"title": "Sepsis {i}", "group": "healthy control"}),
            Group(8, CANNOT_TELL, {"title": "Healthy {i}", "group": "sepsis"}),
        ),
    ),
    MadeSeries(
        "flu season, before and during",
        "bacterial_viral",
        "Host response to influenza and other acute respiratory illness in a natural season",
        (
            Group(5, CANNOT_TELL, {"infection": "influenza A virus", "time point": "Baseline",
                                   "subject id": "{p}"}),
            Group(5, "viral", {"infection": "influenza A virus", "time point": "Day0",
                               "subject id": "{i}"}),
            Group(4, "viral", {"infection": "human rhinovirus", "time point": "Day2",
                               "subject id": "1{i}"}),
        ),
        "Healthy adults were enrolled prior to illness and sampled again when they fell ill.",
    ),
    MadeSeries(
        "postoperative courses",
        "sepsis",
        "Postoperative sepsis after abdominal surgery",
        (
            Group(8, "sepsis", {"patient group": "postoperative sepsis"}),
            Group(8, "noninfectious_inflammation", {"patient group": "uncomplicated surgery"}),
            Group(5, "noninfectious_inflammation", {"patient group": "preoperative"}),
        ),
    ),
    MadeSeries(
        "ages by decade, sexes spelt",
        "sepsis",
        "Septic shock in the elderly",
        (
            Group(8, "septic_shock", {
                "disease": "septic shock", "age": [">89", "80-84", "75 years"],
                                      "Sex": ["F", "M"]}),
            Group(8, "healthy", {"disease": "none (healthy)", "age": ["65-70", "70-75"],
                                 "Sex": ["M", "F"]}),
        ),
    ),
    MadeSeries(
        "children with dengue and other fevers",
        "dengue",
        "Dengue in Nicaraguan children",
        (
            Group(6, "dengue", {"diagnosis": "Dengue Fever", "age": CHILDREN}),
            Group(6, "severe_dengue", {"diagnosis": "Dengue Hemorrhagic Fever", "age": CHILDREN}),
            Group(5, "severe_dengue", {"diagnosis": "Dengue Shock Syndrome", "age": CHILDREN}),
            Group(5, "unassigned", {"diagnosis": "Other febrile illness", "age": CHILDREN}),
            Group(5, "healthy", {"diagnosis": "Healthy", "age": CHILDREN}),
        ),
    ),
)  # fmt: skip

FRESH = (
    MadeSeries(
        "re-serialised panel, plain words",
        "sepsis",
        "Monitoring of critically ill trauma patients",
        (
            Group(9, "sepsis", {
                "title": "Sepsis, whole blood, rep {n}", "disease state": "Sepsis"}),
            Group(7, CANNOT_TELL, {"title": "No sepsis, whole blood, rep {n}",
                                   "disease state": "No sepsis"}),
            Group(6, "healthy", {"title": "Healthy Control, whole blood, rep {n}",
                                 "disease state": "Healthy Control"}),
        ),
    ),
    MadeSeries(
        "tuberculosis table with other diseases and HIV",
        "tb",
        "Tuberculosis and other diseases, South Africa",
        (
            Group(9, "tb", {"title": "PTB_{n}", "tb status": "PTB", "hiv status": "Negative",
                            "age": "{i}4", "gender": SEXES}),
            Group(8, "latent_tb", {"title": "LTBI_{n}", "tb status": "LTBI",
                                   "hiv status": "Positive", "age": "2{i}", "gender": SEXES}),
            Group(7, "unassigned", {"title": "OD_{n}", "tb status": "OD", "hiv status": "Negative",
                                    "age": "3{i}", "gender": SEXES}),
        ),
    ),
    MadeSeries(
        "diabetes beside tuberculosis",
        "tb",
        "Tuberculosis and diabetes mellitus comorbidity",
        (
            Group(6, "tb", {"group": "TB_only"}),
            Group(6, "tb", {"group": "TB_DM"}),
            Group(6, "unassigned", {"group": "DM_only"}),
            Group(6, "healthy", {"group": "Healthy_controls"}),
        ),
    ),
    MadeSeries(
        "contacts and vaccination",
        "tb",
        "Household contacts of tuberculosis patients",
        (
            Group(6, "tb", {"clinical group": "TB index case"}),
            Group(6, CANNOT_TELL, {"clinical group": "TST+ household contact"}),
            Group(6, CANNOT_TELL, {"clinical group": "TST- household contact"}),
            Group(6, "healthy", {"clinical group": "community control, BCG vaccinated"}),
        ),
    ),
    MadeSeries(
        "meningococcal and other sepsis in words of a clinician",
        "sepsis",
        "Blood expression in childhood severe infection",
        (
            Group(5, "septic_shock", {"diagnosis": "Meningococcal septic shock", "age": "{i}.4"}),
            Group(5, "sepsis", {"diagnosis": "Pneumococcal sepsis", "age": "{i}.1"}),
            Group(5, "infection_non_sepsis", {"diagnosis": "Bacterial pneumonia", "age": "{i}.7"}),
            Group(5, "infection_non_sepsis", {"diagnosis": "RSV bronchiolitis", "age": "{i}.2"}),
            Group(5, "healthy", {"diagnosis": "Well child", "age": "{i}.9"}),
        ),
    ),
    MadeSeries(
        "cardiac surgery as the control",
        "sepsis",
        "Markers of sepsis on intensive care",
        (
            Group(8, "sepsis", {"group": "Severe sepsis", "apache ii": ["23", "31"]}),
            Group(8, "noninfectious_inflammation", {"group": "Cardiac surgery control",
                                                    "apache ii": ["11", "9"]}),
        ),
    ),
    MadeSeries(
        "pathogen field before the diagnosis",
        "bacterial_viral",
        "Fever without source in children",
        (
            Group(6, "bacterial", {"pathogen": "E. coli", "group": "Bacterial infection"}),
            Group(6, "viral", {"pathogen": "Adenovirus", "group": "Viral infection"}),
            Group(4, "viral", {"pathogen": "HHV6", "group": "Viral infection"}),
            Group(5, CANNOT_TELL, {"pathogen": "none", "group": "Afebrile control"}),
        ),
    ),
    MadeSeries(
        "co-infection and unclear ones",
        "bacterial_viral",
        "Community acquired pneumonia in adults",
        (
            Group(6, "bacterial", {"etiology": "bacterial", "age": ADULTS}),
            Group(6, "viral", {"etiology": "viral", "age": ADULTS}),
            Group(5, CANNOT_TELL, {"etiology": "bacterial/viral co-infection", "age": ADULTS}),
            Group(5, CANNOT_TELL, {"etiology": "indeterminate", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "two studies' words in one title",
        "sepsis",
        "Sepsis and COVID-19 in the emergency department",
        (
            Group(7, "sepsis", {"title": "ED_sepsis_{i}", "group": "bacterial sepsis"}),
            Group(7, "infection_non_sepsis", {"title": "ED_covid_{i}", "group": "COVID-19"}),
            Group(6, "healthy", {"title": "ED_ctrl_{i}", "group": "Healthy controls"}),
        ),
    ),
    MadeSeries(
        "survivors only, without a word of the disease",
        "sepsis",
        "Mortality of septic shock",
        (
            Group(9, "septic_shock", {"title": "S{i}", "28-day outcome": "survived",
                                      "age": ADULTS}),
            Group(6, "septic_shock", {"title": "N{i}", "28-day outcome": "died", "age": ADULTS}),
        ),
    ),
    MadeSeries(
        "misspelt and mixed capitals",
        "sepsis",
        "Septic shock in adults",
        (
            Group(6, "septic_shock", {"Disease": ["Septic Shock", "septic shock", "SEPTIC SHOCK"]}),
            Group(4, CANNOT_TELL, {"Disease": "Spetic shok"}),
            Group(6, "healthy", {"Disease": ["Healthy", "healthy "]}),
        ),
    ),
    MadeSeries(
        "vaccinated and infected",
        "covid",
        "SARS-CoV-2 infection and COVID-19 vaccination",
        (
            Group(6, "covid19", {"group": "COVID-19 patient"}),
            Group(6, CANNOT_TELL, {"group": "vaccinated, day 7"}),
            Group(5, CANNOT_TELL, {"group": "COVID-19 convalescent"}),
            Group(6, "healthy", {"group": "unvaccinated healthy donor"}),
        ),
    ),
    MadeSeries(
        "lupus, other autoimmunity and treated people",
        "sle",
        "Interferon signature in systemic autoimmune diseases",
        (
            Group(6, "sle", {"diagnosis": "SLE"}),
            Group(5, "noninfectious_inflammation", {"diagnosis": "Sjogren's syndrome"}),
            Group(5, "noninfectious_inflammation", {"diagnosis": "Rheumatoid arthritis"}),
            Group(6, "healthy", {"diagnosis": "CTRL"}),
        ),
    ),
)  # fmt: skip
