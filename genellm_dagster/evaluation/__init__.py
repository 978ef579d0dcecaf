"""Folds, metrics with intervals, comparison of models and of age strata.

What does not live here: the models judged, and how the numbers are shown (reports).
"""
