"""NCBI GEO: addresses, a polite client, its file formats and the search for series.

Not here: how a cohort is read (``studies/``) and what is done with the values (``expression/``).
"""
