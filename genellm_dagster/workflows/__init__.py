"""What takes several rooms: a stratum put together, folds fitted and tracked, a new cohort scored.

Callable from a notebook; no Dagster here, and no computation that one room alone could do.
"""
