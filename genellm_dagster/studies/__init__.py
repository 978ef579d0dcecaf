"""Study and cohort descriptions: their YAML files, their rules, and the sample sheets they give.

Not here: what GEO serves (``geo``), expression values (``expression``), Dagster (``defs``).
"""
