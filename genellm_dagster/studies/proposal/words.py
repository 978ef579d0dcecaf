"""The words of diagnoses: what is a kind of what, and how people write it in GEO.

Everything here is matched against text in the plain form of :func:`plain`: lower case, one blank
between words, no punctuation, ``SepticShock_day1`` as ``septic shock day 1``.
"""

from __future__ import annotations

import re
from functools import cache

PARENTS: dict[str, str | None] = {
    "healthy": None,
    "control": None,
    "any_infection": None,
    "sepsis": "any_infection",
    "septic_shock": "sepsis",
    "infection": "any_infection",
    "bacterial": "infection",
    "viral": "infection",
    "parasitic": "infection",
    "fungal": "infection",
    "staph": "bacterial",
    "strep": "bacterial",
    "ecoli": "bacterial",
    "typhoid": "bacterial",
    "melioidosis": "bacterial",
    "scrub_typhus": "bacterial",
    "leptospirosis": "bacterial",
    "lyme": "bacterial",
    "meningococcal": "bacterial",
    "pneumonia": "infection",
    "meningitis": "infection",
    "urinary_infection": "infection",
    "respiratory_infection": "infection",
    "tb": "infection",
    "influenza": "viral",
    "rsv": "viral",
    "rhinovirus": "viral",
    "adenovirus": "viral",
    "enterovirus": "viral",
    "covid": "viral",
    "coronavirus": "viral",
    "dengue": "viral",
    "severe_dengue": "dengue",
    "zika": "viral",
    "ebola": "viral",
    "hiv": "viral",
    "hepatitis": "viral",
    "measles": "viral",
    "herpes": "viral",
    "malaria": "parasitic",
    "severe_malaria": "malaria",
    "other_parasite": "parasitic",
    "noninfectious": None,
    "sirs": "noninfectious",
    "trauma": "noninfectious",
    "burn": "noninfectious",
    "surgery": "noninfectious",
    "ill_control": "noninfectious",
    "sle": "noninfectious",
    "still": "noninfectious",
    "kawasaki": "noninfectious",
    "hsp": "noninfectious",
    "arthritis": "noninfectious",
    "ibd": "noninfectious",
    "sarcoidosis": "noninfectious",
    "autoimmune": "noninfectious",
    "psoriasis": "noninfectious",
    "multiple_sclerosis": "noninfectious",
    "pancreatitis": "noninfectious",
    "cardiac_arrest": "noninfectious",
    "other_shock": "noninfectious",
    "anaphylaxis": "noninfectious",
    "misc": "noninfectious",
    "ards": None,
    "asthma": None,
    "copd": None,
    "stroke": None,
    "heart_disease": None,
    "cancer": None,
    "neurological": None,
    "other_disease": None,
    "diabetes": None,
    "latent_tb": None,
    "contact": None,
    "sensitised": None,
    "experiment": None,
    "convalescent": None,
    "survivor": None,
    "nonsurvivor": None,
    "reference_rna": None,
    "patient": None,
}
"""Each concept and the broader one it is a kind of."""

_PHRASES: tuple[tuple[str, str], ...] = (
    # What only looks like a diagnosis is eaten first, so that nothing below can match inside it.
    ("nothing", r"(?:influenza|flu|covid|bcg|tb|measles|pneumococcal|hepatitis(?: b)?|malaria|"
                r"dengue|typhoid|ebola|zika|viral) vaccin\w*|anti (?:tb|tuberculosis|viral|"
                r"bacterial|malarial?)\b|antiviral|antibacterial|(?:quality|positive|negative|"
                r"technical|internal|process|spike in|loading) controls?|"
                r"control (?:rna|probe|medium|media)|normal(?: saline| weight| diet| dose)|"
                r"normali[sz]ed?|"
                r"(?:birth ?)?weight normal|controlled|uncontrolled|disease control"
                r"(?=s? program)|infection control|source control|healthcare|health care|"
                r"(?:sepsis|septic shock|covid|tb|influenza|infection|illness|disease|symptoms?) "
                r"(?:severity|score|onset|duration)|burn ?out|tb exposure"),
    ("reference_rna", r"(?:universal|stratagene|human) (?:human )?reference(?: rna)?|reference rna|"
                      r"(?:rna|reference|commercial) (?:pool|standard)|pooled (?:rna|reference)|"
                      r"\buhrr?\b"),
    ("experiment", r"lps|lipopolysaccharides?|endotoxin\w*|(?:un)?stimulat\w+|si ?rnas?|sh ?rnas?|"
                   r"transfected|mock|ex vivo|r ?848|zymosan|mouse|mice|murine"),
    # Outcomes.
    ("nonsurvivor", r"non ?surviv(?:or|er|al)s?|not surviv\w+|did not survive|deceased|died|"
                    r"death|dead|fatal(?:ity)?|expired|lethal|non alive|mortality"),
    ("survivor", r"surviv(?:or|er|ed|al)s?|alive|discharged alive|non ?fatal"),
    # Sepsis.
    ("bacterial", r"septic (?:arthritis|joints?|abortion|embol\w+)"),
    ("septic_shock", r"sep(?:tic|sis) ?(?:and |with |w |plus )?shocks?|septicshocks?|"
                     r"sepsis induced shock"),
    ("other_shock", r"(?:cardiogenic|ha?emorrhagic|hypovola?emic|anaphylactic|neurogenic|"
                    r"traumatic|obstructive|non ?septic) shock"),
    ("noninfectious", r"non ?infect(?:ious|ive)|not infectious|sterile (?:inflammation|sirs)|"
                      r"aseptic|"
                      r"(?:systemic )?(?:auto ?)?inflammatory disease|auto ?immune disease"),
    ("melioidosis", r"(?<!septic )(?<!septicemic )(?<!septicaemic )melioidosis"),
    ("sepsis", r"(?:(?:severe|early|late|early onset|late onset|neonatal|bacterial|abdominal|"
               r"culture positive|confirmed|proven) )*(?:uro ?)?sepsis|septica?emi[ac]|septics?|"
               r"bactera?emi[ac]|bloodstream infections?|"
               r"blood stream infections?|seps|se(?= ards)"),
    # Tuberculosis: latent before active.
    ("latent_tb", r"latent(?:ly)?(?: infected)?(?: with)?(?: m(?:ycobacterium)?)?(?: ?tb| ?"
                  r"tuberculosis)?(?: infect(?:ion|ed))?|ltbi?s?|l tbi|tb latent|"
                  r"tb infection without disease"),
    ("contact", r"(?:family members?|relatives?|siblings?|parents?|mothers?|fathers?|spouses?) of|"
                r"(?:m ?)?tb (?:infection|infected|naive|converters?|(?:recent )?expos\w+)|"
                r"(?:household |close |tb |healthy )*contacts?\b|exposed|"
                r"(?:non )?progressors?|at risk"),
    ("tb", r"(?:active |pulmonary |extra ?pulmonary |culture confirmed |confirmed |smear positive |"
           r"drug resistant |mdr |untreated |miliary )*(?:tb|tuberculosis|tuberculous)"
           r"(?: (?:disease|meningitis|patients?|positive))?|a ?tb|e?ptb|tbm|mtb"),
    # Infections by name.
    ("severe_malaria", r"(?:severe|cerebral|complicated) malaria(?:l an(?:a)?emia)?"),
    ("malaria", r"(?:uncomplicated |mild |acute |asymptomatic )?malaria|p falciparum|"
                r"plasmodium(?: falciparum| vivax)?"),
    ("severe_dengue", r"severe dengue|dengue (?:ha?emorrhagic fever|shock syndrome)"),
    ("dengue", r"dengue(?: fever| virus)?(?: infection)?"),
    ("covid", r"covid(?: ?19| 2019)?|sars cov ?2?|ncov"),
    ("coronavirus", r"(?:seasonal |human |other )?coronavirus(?:es)?|cov other|other cov|hcov"),
    ("influenza", r"(?:pandemic |severe |seasonal )?(?:influenza(?: virus)?(?: ?[ab])?|flu|h1n1)"),
    ("rsv", r"rsv|respiratory syncytial virus|bronchiolitis"),
    ("rhinovirus", r"(?:human )?rhinovirus(?:es)?|hrv"),
    ("adenovirus", r"adenovir(?:us|al|uses)|h?adv|had v"),
    ("enterovirus", r"enterovir(?:us|al|uses)"),
    ("zika", r"zika(?: virus)?"),
    ("ebola", r"ebola(?: virus)?|marburg"),
    ("hepatitis", r"(?:chronic )?hepatitis(?: [bc])?|hbv|hcv"),
    ("measles", r"measles"),
    ("herpes", r"hhv ?6?|herpes(?:virus)?|ebv|epstein barr|cmv|cytomegalovirus|varicella|"
               r"mononucleosis"),
    ("hiv", r"hiv(?: ?1)?(?: infect(?:ed|ion))?|aids"),
    ("typhoid", r"typhoid|enteric fever|paratyphoid|s(?:almonella)? typhi"),
    ("scrub_typhus", r"scrub typhus|rickettsi\w+"),
    ("leptospirosis", r"leptospirosis"),
    ("lyme", r"lyme(?: disease)?|borreli\w+"),
    ("meningococcal", r"meningococc\w+(?: disease)?|neisseria meningitidis"),
    ("staph", r"staph(?:ylococc\w+)?(?: aureus)?|s aureus|mrsa|mssa"),
    ("strep", r"strep(?:tococc\w+)?(?: pneumoniae| pyogenes)?|s pneumoniae|s pyogenes|"
              r"pneumococc\w+|group a strep"),
    ("ecoli", r"e coli|escherichia coli"),
    ("other_parasite", r"schistosom\w+|leishmani\w+|helminth\w*|chagas|trypanosom\w+|filari\w+"),
    ("fungal", r"fung(?:al|us)(?: infections?)?|candid(?:a|emia|aemia|iasis)|aspergill\w+"),
    ("meningitis", r"(?:acute )?meningitis|encephalitis"),
    ("pneumonia", r"(?:community acquired |hospital acquired |ventilator associated |severe )*"
                  r"pneumonias?|\bcap\b|\bhap\b|\bvap\b|\bpna\b"),
    ("urinary_infection", r"uti|urinary tract infections?|pyelonephritis"),
    ("respiratory_infection", r"(?:acute |upper |lower )*respiratory (?:tract )?"
                              r"(?:infections?|illness)|a?lrti|urti?|ari\b"),
    ("bacterial", r"(?:serious |invasive |definite |confirmed |acute |systemic |proven |severe )*"
                  r"bacterial(?: infections?| disease)?|bacteri(?:um|a)|gram (?:positive|negative)"
                  r"(?: (?:bacterial |infections?))?|sbi"),
    ("viral", r"(?:definite |confirmed |acute |proven |severe )*vir(?:al|us)"
              r"(?: infections?| disease)?"),
    ("parasitic", r"parasit\w+"),
    ("infection", r"(?:systemic |acute |uncomplicated |mild |local |severe )*infect(?:ions?|ed)"
                  r"(?: patients?)?"),
    # Inflammation without infection.
    ("sirs", r"(?:non ?infectious |sterile )?(?:sirs|systemic inflammatory response"
             r"(?: syndrome)?)"),
    ("trauma", r"(?:severe |blunt |head |major |poly ?)*(?:trauma|traumatic)(?: injury)?|"
               r"injured|tbi\b"),
    ("burn", r"(?:severe )?burns?(?: injury| injuries| patients?)?|burned"),
    ("surgery", r"(?:post|pre) ?(?:surg(?:ical|ery)|operative|operation)|(?:cardiac |abdominal |"
                r"elective |major |after )*surg(?:ery|ical)(?: patients?)?|"
                r"cardiopulmonary bypass|cabg"),
    ("sle", r"(?:systemic )?lupus(?: erythematosus)?|[pa]?sle"),
    ("still", r"stills?(?: s)?(?: disease)?|(?:systemic |polyarticular )?juvenile (?:idiopathic |"
              r"rheumatoid )?arthritis|s?jia"),
    ("kawasaki", r"(?:complete |incomplete |acute )*kawasaki(?: s)?(?: disease)?"),
    ("hsp", r"henoch sch\w+ ?(?:purpura)?|iga vasculitis"),
    ("arthritis", r"(?:rheumatoid |psoriatic |osteo ?)?arthritis|spondylo\w+|gout"),
    ("ibd", r"crohn\w*(?: s)?(?: disease)?|ulcerative colitis|inflammatory bowel disease|ibd"),
    ("sarcoidosis", r"(?:active |non active |inactive |pulmonary )*sarcoid(?:osis)?"),
    ("autoimmune", r"vasculitis|granulomatosis|beh ?cets?|sj(?:o|oe)?gren\w*(?: s)?(?: syndrome)?|"
                   r"systemic sclerosis|scleroderma|dermatomyositis|c(?:o)?eliac\w*"),
    ("psoriasis", r"psoria\w+"),
    ("multiple_sclerosis", r"multiple sclerosis"),
    ("pancreatitis", r"pancreatitis"),
    ("cardiac_arrest", r"cardiac arrest|out of hospital arrest"),
    ("anaphylaxis", r"anaphyla\w+"),
    ("misc", r"mis c\b|multisystem inflammatory syndrome(?: in children)?"),
    ("ards", r"ards|acute lung injury|ali\b|acute respiratory distress(?: syndrome)?"),
    # Other illness.
    ("other_disease", r"other (?:[a-z]+ )?(?:diseases?|conditions?|illness(?:es)?)|ofi|"
                      r"disease controls?"),
    ("asthma", r"(?:acute )?asthma(?:tics?)?(?: exacerbation)?|wheez\w+"),
    ("copd", r"copd|chronic obstructive"),
    ("stroke", r"(?:ischa?emic )?stroke|tia"),
    ("heart_disease", r"myocardial infarction|coronary artery disease|heart failure|stemi|"
                      r"coronary"),
    ("cancer", r"\w*(?:carcinoma|leuka?emia|lymphoma|myeloma|melanoma|sarcoma)|cancer|tumou?r|"
               r"malignan\w+|cll|aml"),
    ("neurological", r"parkinson\w*|alzheimer\w*|\bals\b|amyotrophic lateral sclerosis|autism|"
                     r"schizophreni\w+|huntington\w*|depress(?:ion|ed|ive)"),
    ("diabetes", r"(?:pre ?)?diabet(?:es|ic)(?: mellitus)?(?: type)?|t[12]dm?|type [12] diabetes|"
                 r"\bdm\b"),
    ("convalescent", r"convalescen(?:t|ce)|recover(?:ed|y|ing)|follow ?up|\bfu\b|cured|resolved|"
                     r"(?:post|after|end of) (?:treatment|therapy)|remission|long covid|"
                     r"\d+ (?:week|month)s? (?:of )?(?:treatment|therapy)|"
                     r"(?:\d+ )?\d+ (?:week|month|year)s? (?:after|post|later)"
                     r"(?! (?:the )?(?:onset|symptom|admission|injury|burn|trauma|surgery))|"
                     r"(?:after|post) (?:the )?(?:acute|hospital|discharge|infection|illness)"),
    ("ill_control", r"(?:icu|picu|intensive care|critically ill|hospital(?:i[sz]ed)?|surgical|"
                    r"symptomatic|febrile|ventilated|inpatient) controls?|controls? "
                    r"(?:icu|picu|gi|hospital(?:i[sz]ed)?|surgical)\b|"
                    r"(?:ctrl|ctl) (?:icu|gi|abdo|surg)"),
    # Health.
    ("healthy", r"health(?:y|ly)|hlthy|hlty|(?:never |non )diseased|no disease|"
                r"disease free|unaffected|well child(?:ren)?|volunteers?|asymptomatic healthy|"
                r"normals?(?= ?(?:$|\d|controls?|ctrl|subjects?|volunteers?|donors?|individuals?|"
                r"health|child|adult|infants?|neonates?|pregnan|samples?|groups?|persons?|people|"
                r"men\b|women\b|male|female|rep\b|whole|blood|pa?xgene|or\b|and\b|n\b|id\b))"),
    ("sensitised", r"(?:tst|igra|qft|quantiferon|ppd|elispot|mantoux) (?:test )?pos(?:itive)?"),
    ("control", r"controls?|ctrls?|ctls?|cntrls?|cntls?|contr"),
    ("patient", r"patients?|cases?|subjects? with disease|diseased|affected|ill\b|pts?"),
)  # fmt: skip

CLEAR_ABBREVIATIONS = frozenset(
    {
        "tb", "ptb", "eptb", "atb", "tbm", "mtb", "ltbi", "ltb", "ltbis", "sirs", "sle", "psle",
        "asle", "rsv", "hiv", "covid", "flu", "seps", "ctrl", "ctrls", "ctl", "ctls", "cntrl",
        "cntl", "contr", "hlty", "hlthy", "jia", "sjia", "ibd", "hrv", "sbi", "ards", "fu",
        "copd", "uti",
    }
)  # fmt: skip
"""Short forms with one meaning in blood series, a little less sure than the word itself."""

CONTEXT_ABBREVIATIONS: dict[str, tuple[str, str]] = {
    "hc": ("healthy", r"health|control"),
    "hcs": ("healthy", r"health|control"),
    "hv": ("healthy", r"volunteer|health"),
    "hd": ("healthy", r"healthy donor|donor"),
    "hs": ("healthy", r"healthy subject"),
    "hi": ("healthy", r"healthy individual"),
    "hctrl": ("healthy", r"health|control"),
    "nc": ("healthy", r"normal control|normal children"),
    "ss": ("septic_shock", r"septic shock"),
    "sep": ("sepsis", r"sepsis|septic"),
    "shock": ("septic_shock", r"septic shock"),
    "kd": ("kawasaki", r"kawasaki"),
    "od": ("other_disease", r"other disease|tubercul|\btb\b"),
    "gas": ("strep", r"group a strep|streptoc"),
    "db": ("bacterial", r"bacterial"),
    "dv": ("viral", r"viral|virus"),
    "dhf": ("severe_dengue", r"dengue"),
    "dss": ("severe_dengue", r"dengue"),
    "df": ("dengue", r"dengue"),
    "cm": ("severe_malaria", r"cerebral malaria"),
    "ra": ("arthritis", r"rheumatoid"),
    "ms": ("multiple_sclerosis", r"multiple sclerosis"),
    "uc": ("ibd", r"ulcerative"),
    "sarc": ("sarcoidosis", r"sarcoid"),
    "inf": ("infection", r"infection"),
    "ns": ("nonsurvivor", r"non ?surviv"),
}
"""Short forms that mean this only where the series' own text speaks of it: concept, that text."""

_FLAGS = {
    "negated": re.compile(
        r"(?:\b(?:no|non|not|without|never|absence of|free of|free from|negative for|neither|nor|"
        r"ruled out(?: for)?|un)(?: (?:evidence of|signs? of|known|clinical|active|current|"
        r"confirmed|any|of|a|systemic|the))*|\brule out) $"
    ),
    "negated_after": re.compile(
        r"^ (?:(?:status|test|infection) )?(?:negative|neg|free|excluded|ruled out|absent|none|"
        r"unlikely|no$)\b(?! control)"
    ),
    "uncertain": re.compile(
        r"\b(?:suspected|suspicion of|suspects?|possible|possibly|probable|probably|presumed|"
        r"potential(?:ly)?(?: for)?|subclinical|incipient|risk (?:of|for)|likely|indeterminate|"
        r"equivocal|unconfirmed)(?: \w+)? $|\b(?:pre|before|prior to)(?: the)? $"
    ),
    "past": re.compile(
        r"\b(?:history of|previous(?:ly)?|prior|past|post|after|treated|former|recovered from|"
        r"cured|ex)(?: (?:active|pulmonary|severe|icu))? $"
    ),
}
_AFTER_UNCERTAIN = re.compile(
    r"^ (?:mimics?\b|like\b|progressors?\b|suspects?|suspected|suspicion|unconfirmed|"
    r"indeterminate|risk)"
)


def plain(text: str) -> str:
    """Bring a value to lower-case words parted by single blanks."""
    text = text[:400].replace("’", "'")
    text = re.sub(r"(?i)covid[-_ ]?(?:20)?19", " covid ", text)
    text = re.sub(r"(?i)sars[-_ ]?cov[-_ ]?2?", " covid ", text)
    text = re.sub(r"(?i)(?<![a-z])h?cov(?![a-z])", lambda match: match[0].lower(), text)
    text = re.sub(r"(?i)\bh[135]n[1-9]\b|\bph1n1\b", " influenza ", text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    text = re.sub(r"(?<=[A-Z])(?=[A-Z][a-z]{2})", " ", text)
    text = re.sub(r"(?<=[A-Z])-(?=[A-Z]+[+-](?![A-Za-z0-9]))", " negative ", text)
    text = re.sub(r"[=:]\s*0\s*$|(?<=[A-Za-z0-9])\s-\s*$", " negative ", text)
    text = re.sub(r"(?i)\bnon(?=sep[ts]|infect|covid|tb\b)", "non ", text)
    text = re.sub(r"\(\s*\+\s*\)|\+(?=$|[\s)\],;/_|])", " positive ", text)
    text = re.sub(r"(?<=[A-Za-z0-9])\s?\(\s*-\s*\)|(?<=[A-Za-z0-9])-(?=$|[)\],;/_|])",
                  " negative ", text)  # fmt: skip
    text = re.sub(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", text)
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())


@cache
def phrases() -> re.Pattern[str]:
    """All phrases as one expression; the name of the group that matched is the concept."""
    # A group may stand once in an expression, so the names of repeated concepts carry a number.
    parts = [
        rf"(?P<c{number}_{concept}>{words})" for number, (concept, words) in enumerate(_PHRASES)
    ]
    return re.compile(r"\b(?:" + "|".join(parts) + r")(?![a-z0-9])")


def concept_of_group(group: str) -> str:
    """Return the concept that a group of :func:`phrases` stands for."""
    return group.split("_", 1)[1]


def ancestors(concept: str) -> list[str]:
    """The concept and what it is a kind of, from narrow to broad."""
    chain = [concept]
    while (parent := PARENTS.get(chain[-1])) is not None:
        chain.append(parent)
    return chain


def is_a(concept: str, broader: str) -> bool:
    """Say whether ``concept`` is ``broader`` or a kind of it."""
    return broader in ancestors(concept)


def flags_around(text: str, start: int, end: int) -> set[str]:
    """Say whether the words at ``start:end`` are negated, uncertain or of the past."""
    before, after = text[:start], text[end:]
    flags = set()
    if _FLAGS["negated"].search(before) or _FLAGS["negated_after"].search(after):
        flags.add("negated")
    if _FLAGS["uncertain"].search(before) or _AFTER_UNCERTAIN.search(after):
        flags.add("uncertain")
    if _FLAGS["past"].search(before) and not re.match(r" (?:onset|diagnosis|admission)", after):
        flags.add("past")
    if re.match(r" (?:treated|cured|recovered|convalescen)", after):
        flags.add("past")
    return flags
