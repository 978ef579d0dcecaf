"""MLflow: one run a stratum and study with one nested run a fold, and the registry of adapters.

What is measured and whether an adapter deserves to be champion is decided elsewhere.
"""
