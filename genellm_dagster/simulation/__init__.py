"""Simulated cohorts with planted truth, written as the GEO files a real study would have.

Reading such files, and judging what a model found in them, lives elsewhere (geo, evaluation).
"""
