"""The age question, one part a file: each takes what strata gave and returns JSON-safe numbers.

What makes predictions for it (training across strata) is not here but in ``workflows/transfer``.
"""
