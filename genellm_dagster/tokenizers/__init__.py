"""Profiles to token profiles: which genes, in which order, with which value, the backbone reads.

No weights live here: how a token becomes an embedding is the business of ``genellm/``.
"""
