"""Tests of the study report."""
