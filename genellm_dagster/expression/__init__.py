"""Expression tables: ids to symbols, log scale, collapse, normalisation, QC, overlap, vocabulary.

Not here: reading GEO's files (geo), decisions on samples (studies), tokens and models.
"""
