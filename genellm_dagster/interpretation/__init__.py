"""What the model leans on: attributions of samples and genes, signatures, maps of the samples.

How well the model does, and how strata compare, is judged in ``evaluation/``.
"""
