"""GeneLLM on Dagster: age-stratified transcriptome language models from public whole-blood series.

One folder is one room of the house; docs/architecture.md shows how they lie. Nothing is imported
here.
"""
