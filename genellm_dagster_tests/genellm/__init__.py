"""Tests of backbone, prefix, adapter, training and prediction."""
